"""Calls of a model to copy: by the command, the SDK, grpcurl and Triton's client. Each is right for the model's raw input."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from model_zoo import strict_json
from service.addresses import is_unix
from service.cli.options import DEFAULT_SERVER, EXAMPLES

if TYPE_CHECKING:
    from service.cli.local_catalog import LocalModel
    from service.client import ModelInfo, TableColumn, TensorSpec

OPTIONS: dict[str, dict[str, Any]] = {
    "text-generation": {"max_new_tokens": 20},
    "zero-shot-classification": {"candidate_labels": ["sports", "weather"]},
    "zero-shot-image-classification": {"candidate_labels": ["cat", "dog"]},
}
"""Options that a call of a task is shown with, by their names in `PredictOptions`."""
FILES = {"image": "photo.jpg", "audio": "speech.wav"}
TEXT, QUERY = "any sentence", "a question"
SECOND = {"text-ranking": TEXT, "zero-shot-classification": "This example is sports."}
"""The second text of models that read nothing but two together, by task."""
LABELLED_IMAGES = "zero-shot-image-classification"
SECOND_OF_PAIR = "another sentence"
FLAGS = {"candidate_labels": "label"}
"""Options whose flag has another name."""
KERNEL, SHARPEN = "kernel", "sharpen"
"""Input and option of filters of images, and a name that those of the zoo know."""
_CONTENT = "\ue000"
"""Stands for the content of a file in a message; a character of no meaning."""
_MOST_COLUMNS = 4
"""Columns of a row that are shown; the others are empty cells."""
_MOST_STEPS = 4
"""Steps of a series that are written out."""


def sample_calls(model: ModelInfo | LocalModel, server: str, tls: bool = False) -> dict[str, str]:
    """`cli`, `python`, `grpcurl` and `tritonclient` → the text of a call. Inputs are files `photo.jpg` and `speech.wav`."""
    return {
        "cli": _cli(model, server),
        "python": _python(model, server),
        "grpcurl": _grpcurl(model, server, tls),
        "tritonclient": _tritonclient(model, server, tls),
    }


def _cli(model: ModelInfo | LocalModel, server: str) -> str:
    where = "" if server == DEFAULT_SERVER else f"--server {shlex.quote(server)} "
    options = "".join(_flag(name, value) for name, value in _options(model).items())
    example = EXAMPLES.get(model.raw_input, "INPUT")
    if model.task in ("fill-mask", "text-ranking"):
        example = shlex.quote(_text(model)) if model.task == "fill-mask" else f"--query {shlex.quote(QUERY)} '{TEXT}'"
    if _learned_pairs(model):
        options = f" --text-pair {shlex.quote(SECOND_OF_PAIR)}{options}"
    return f"zoo predict {where}{model.name} {example}{options}"


def _learned_pairs(model: ModelInfo | LocalModel) -> bool:
    """Whether it was fine-tuned on pairs of texts, and takes nothing else."""
    return any(column.kind == "text_pair" for column in getattr(model, "columns", ()))


def _options(model: ModelInfo | LocalModel) -> dict[str, Any]:
    """Options of a call, by the task of the model, or because it takes a kernel."""
    if any(tensor.name == KERNEL for tensor in model.inputs):
        return {KERNEL: SHARPEN}
    return OPTIONS.get(model.task, {})


def _flag(name: str, value: Any) -> str:
    values = value if isinstance(value, list) else [value]
    return "".join(f" --{FLAGS.get(name, name).replace('_', '-')} {one}" for one in values)


def _text(model: ModelInfo | LocalModel) -> str:
    """A text; the makers of a model that finds masked tokens may write the mask otherwise, which its error says."""
    return "any [MASK] sentence" if model.task == "fill-mask" else QUERY if model.task == "text-ranking" else TEXT


def _python(model: ModelInfo | LocalModel, server: str) -> str:
    options = "".join(f", {name}={value!r}" for name, value in _options(model).items())
    lines = ["from service.client import Client", "", f"with Client({server!r}) as zoo:"]
    match model.raw_input:
        case "image" | "audio":
            value = f"Path({FILES[model.raw_input]!r})"
        case "text" if model.task == "text-ranking":
            value = repr({"query": QUERY, "documents": [TEXT]})
        case "text" if _learned_pairs(model):
            value = repr({"text": _text(model), "text_pair": SECOND_OF_PAIR})
        case "text":
            value = repr(_text(model))
        case "row":
            value = repr(_row(model))
        case "series":
            value = _series(model)
        case "record":
            value = f"{{'image': Path({FILES['image']!r}), 'row': {_row(model)!r}}}"
        case _:
            value = "{" + ", ".join(f"{tensor.name!r}: {_zeros(tensor, rows=False)}" for tensor in model.inputs) + "}"
    imports = (
        ["import numpy as np", ""] if "np." in value else ["from pathlib import Path", ""] if "Path(" in value else []
    )
    call = f"    [answer] = zoo.predict({model.name!r}, [{value}]{options})"
    return "\n".join([*imports, *lines, call, "    print(answer)"])


def _grpcurl(model: ModelInfo | LocalModel, server: str, tls: bool) -> str:
    files: list[str] = []
    instance: dict[str, Any]
    match model.raw_input:
        case "image" | "audio":
            files = [FILES[model.raw_input]]
            instance = {model.raw_input: _CONTENT}
        case "text" if model.task == "text-ranking":
            instance = {"ranking": {"query": QUERY, "documents": [TEXT]}}
        case "text" if _learned_pairs(model):
            instance = {"textPair": {"text": _text(model), "textPair": SECOND_OF_PAIR}}
        case "text":
            instance = {"text": _text(model)}
        case "row":
            instance = {"row": _row(model)}
        case "series":
            steps, channels = _series_shape(model)
            instance = {"series": {"values": [float(i) for i in range(steps * channels)], "channels": channels}}
        case "record":
            files = [FILES["image"]]
            instance = {"record": {"parts": {"image": {"image": _CONTENT}, "row": {"row": _row(model)}}}}
        case _:
            instance = {"tensors": {"tensors": {tensor.name: "…" for tensor in model.inputs}}}
    message: dict[str, Any] = {"model": model.name, "instances": [instance]}
    options = {_camel(name): value for name, value in _options(model).items()}
    text = strict_json.text({**message, **({"options": options} if options else {})})
    where = f"-unix {shlex.quote(server.removeprefix('unix:'))}" if is_unix(server) else shlex.quote(server)
    call = f"grpcurl {'' if tls else '-plaintext '}-d @ {where} zoo.v1.Prediction/Predict"
    if not files:  # a photo would be too long for an argument of a command, but not for the shell's own printf
        return f"printf '%s' {shlex.quote(text)} | {call}"
    pattern = text.replace("\\", "\\\\").replace("%", "%%").replace(_escaped_twice(_CONTENT), "%s")
    quoted = shlex.quote(pattern)
    return f'printf {quoted} "$(base64 -w0 {files[0]})" | {call}'


def _tritonclient(model: ModelInfo | LocalModel, server: str, tls: bool) -> str:
    lines = ["import numpy as np", "import tritonclient.grpc as triton", ""]
    match model.raw_input:
        case "image" | "audio":
            value = f"Path({FILES[model.raw_input]!r}).read_bytes()"
        case "text":
            value = f"{_text(model)!r}.encode()"
        case "row":
            value = f"strict_json.text({_row(model)!r}).encode()"
        case "series":
            value = f"strict_json.text({_series(model, as_list=True)}).encode()"
        case "record":
            image = f"base64.b64encode(Path({FILES['image']!r}).read_bytes()).decode()"
            value = f"strict_json.text({{'image': {image}, 'row': {_row(model)!r}}}).encode()"
        case _:
            value = ""
    modules = [f"import {module}" for module in ("base64", "json") if f"{module}." in value]
    modules += ["from pathlib import Path"] if "Path(" in value else []
    lines = [*modules, *([""] if modules else []), *lines]
    lines.append(f"client = triton.InferenceServerClient({server!r}{', ssl=True' if tls else ''})")
    if value:
        lines += [
            f"given = triton.InferInput({model.raw_input!r}, [1, 1], 'BYTES')",
            f"given.set_data_from_numpy(np.array([[{value}]], dtype=object))",
            "inputs = [given]",
        ]
        if model.task == LABELLED_IMAGES:
            texts = [f"This is a photo of {label}." for label in OPTIONS[model.task]["candidate_labels"]]
            lines += [
                f"inputs.append(triton.InferInput('text', [1, {len(texts)}], 'BYTES'))",
                f"inputs[-1].set_data_from_numpy(np.array([[text.encode() for text in {texts!r}]], dtype=object))",
            ]
        second = SECOND_OF_PAIR if _learned_pairs(model) else SECOND.get(model.task, "")
        if second:
            lines += [
                "inputs.append(triton.InferInput('text_pair', [1, 1], 'BYTES'))",
                f"inputs[-1].set_data_from_numpy(np.array([[{second!r}.encode()]], dtype=object))",
            ]
    else:
        lines.append("inputs = []")
        for tensor in model.inputs:
            shape = [1, *(max(size, 1) for size in tensor.shape[1:])]
            lines += [
                f"inputs.append(triton.InferInput({tensor.name!r}, {shape}, {tensor.datatype!r}))",
                f"inputs[-1].set_data_from_numpy({_zeros(tensor, rows=True)})",
            ]
    output = model.outputs[0].name if model.outputs else "output"
    chosen = f", parameters={_options(model)!r}" if KERNEL in _options(model) and value else ""
    lines.append(f"print(client.infer({model.name!r}, inputs{chosen}).as_numpy({output!r}))")
    return "\n".join(lines)


def _row(model: ModelInfo | LocalModel) -> dict[str, Any]:
    columns: tuple[TableColumn, ...] = getattr(model, "columns", ())
    cells = {column.name: column.categories[0] if column.categories else 1.0 for column in columns[:_MOST_COLUMNS]}
    return cells or {"COLUMN": 1.0}


def _series_shape(model: ModelInfo | LocalModel) -> tuple[int, int]:
    """Steps of the context, and channels."""
    shape = model.inputs[0].shape if model.inputs else ()
    steps, channels = (*shape[1:3], 1, 1)[:2]
    return max(steps, 1), max(channels, 1)


def _series(model: ModelInfo | LocalModel, as_list: bool = False) -> str:
    steps, channels = _series_shape(model)
    if channels > 1:
        numbers = f"np.arange({steps * channels}.0).reshape({steps}, {channels})"
        return f"{numbers}.tolist()" if as_list else numbers
    if steps <= _MOST_STEPS:
        return repr([float(i) for i in range(steps)])
    return f"[float(i) for i in range({steps})]"


def _zeros(tensor: TensorSpec, rows: bool) -> str:
    """An array of a tensor's shape; without the rows axis for `zoo.v1`."""
    kinds = {"FP32": "float32", "FP64": "float64", "FP16": "float16", "BOOL": "bool"}
    kind = kinds.get(tensor.datatype, tensor.datatype.lower())
    shape = tuple(max(size, 1) for size in tensor.shape[1:])
    return f"np.zeros({[*((1,) if rows else ()), *shape]}, np.{kind})"


def _escaped_twice(character: str) -> str:
    """A character beyond ASCII as it is in JSON, with the backslash doubled."""
    return strict_json.text(character).strip('"').replace("\\", "\\\\")


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)
