"""Calls of a model to copy: by the command, the SDK, grpcurl and Triton's client. Each is right for the model's raw input, and
runs as it is."""

from __future__ import annotations

import math
import shlex
from typing import TYPE_CHECKING, Any

from model_zoo import strict_json
from service.addresses import is_unix
from service.cli.inputs.training_table import sample_row
from service.cli.options import DEFAULT_SERVER
from service.cli.rendering.sample_tensors import (
    array,
    document,
    is_too_long,
    made_by_python,
    ones,
    ones_of_python,
    row_shape,
    tensor_message,
)
from service.cli.sample_inputs import SampleInput, sample_path

if TYPE_CHECKING:
    from service.cli.local_catalog import LocalModel
    from service.client import ModelInfo, TableColumn

FILES = ("image", "audio", "video", "volume", "record")
"""Raw inputs that a file holds, or a part of them."""
OPTIONS: dict[str, dict[str, Any]] = {
    "text-generation": {"max_new_tokens": 20},
    "zero-shot-classification": {"candidate_labels": ["sports", "weather"]},
    "zero-shot-image-classification": {"candidate_labels": ["cat", "dog"]},
}
"""Options that a call of a task is shown with, by their names in `PredictOptions`."""
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
_MOST_STEPS = 4
"""Steps of a series that are written out."""


def sample_calls(
    model: ModelInfo | LocalModel, server: str, tls: bool = False, sample: SampleInput | None = None
) -> dict[str, str]:
    """`cli`, `python`, `grpcurl` and `tritonclient` → the text of a call. `sample`: of the model's card, where it is known."""
    shown = _Shown(model, sample or SampleInput())
    return {
        "cli": _cli(shown, server),
        "python": _python(shown, server),
        "grpcurl": _grpcurl(shown, server, tls),
        "tritonclient": _tritonclient(shown, server, tls),
    }


class _Shown:
    """A model with its sample input."""

    def __init__(self, model: ModelInfo | LocalModel, sample: SampleInput) -> None:
        self.model = model
        self.path = sample_path(model.raw_input, sample.file) if model.raw_input in FILES else ""
        told = sample.text or getattr(model, "sample_text", "")
        self.text = told or (
            "any [MASK] sentence" if model.task == "fill-mask" else QUERY if model.task == "text-ranking" else TEXT
        )
        columns: tuple[TableColumn, ...] = getattr(model, "columns", ())
        self.row = sample_row(columns) or dict(sample.row) or {"COLUMN": 1.0}


def _cli(shown: _Shown, server: str) -> str:
    model = shown.model
    where = "" if server == DEFAULT_SERVER else f"--server {shlex.quote(server)} "
    options = "".join(_flag(name, value) for name, value in _options(model).items())
    first, given = _argument(shown)
    if _learned_pairs(model):
        options = f" --text-pair {shlex.quote(SECOND_OF_PAIR)}{options}"
    return f"{first}zoo predict {where}{model.name} {given}{options}"


def _argument(shown: _Shown) -> tuple[str, str]:
    """What stands before the command, and its argument."""
    model = shown.model
    match model.raw_input:
        case "image" | "audio" | "video" | "volume":
            return "", shlex.quote(shown.path)
        case "text" if model.task == "text-ranking":
            return "", f"--query {shlex.quote(QUERY)} {shlex.quote(TEXT)}"
        case "text":
            return "", shlex.quote(shown.text)
        case "row":
            return "", shlex.quote(strict_json.text(shown.row))
        case "record":
            return "", shlex.quote(strict_json.text({"image": shown.path, "row": shown.row}))
        case "series":
            steps, channels = _series_shape(model)
            step = f"[float(i)] * {channels}" if channels > 1 else "float(i)"
            return document(
                lambda: [[float(i)] * channels if channels > 1 else float(i) for i in range(steps)],
                f"[{step} for i in range({steps})]",
                steps * channels,
            )
        case _:
            parts = (f"{strict_json.text(tensor.name)}: {ones_of_python(tensor)}" for tensor in model.inputs)
            return document(
                lambda: {tensor.name: ones(row_shape(tensor)) for tensor in model.inputs},
                f"{{{', '.join(parts)}}}",
                sum(math.prod(row_shape(tensor)) for tensor in model.inputs),
            )


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


def _python(shown: _Shown, server: str) -> str:
    model = shown.model
    options = "".join(f", {name}={value!r}" for name, value in _options(model).items())
    lines = ["from service.client import Client", "", f"with Client({server!r}) as zoo:"]
    match model.raw_input:
        case "image" | "audio" | "video" | "volume":
            value = f"Path({shown.path!r})"
        case "text" if model.task == "text-ranking":
            value = repr({"query": QUERY, "documents": [TEXT]})
        case "text" if _learned_pairs(model):
            value = repr({"text": shown.text, "text_pair": SECOND_OF_PAIR})
        case "text":
            value = repr(shown.text)
        case "row":
            value = repr(shown.row)
        case "series":
            value = _series(model)
        case "record":
            value = f"{{'image': Path({shown.path!r}), 'row': {shown.row!r}}}"
        case _:
            value = "{" + ", ".join(f"{tensor.name!r}: {array(tensor, rows=False)}" for tensor in model.inputs) + "}"
    imports = (
        ["import numpy as np", ""] if "np." in value else ["from pathlib import Path", ""] if "Path(" in value else []
    )
    call = f"    [answer] = zoo.predict({model.name!r}, [{value}]{options})"
    return "\n".join([*imports, *lines, call, "    print(answer)"])


def _grpcurl(shown: _Shown, server: str, tls: bool) -> str:
    model = shown.model
    files: list[str] = []
    instance: dict[str, Any]
    match model.raw_input:
        case "image" | "audio" | "video" | "volume":
            files = [shown.path]
            instance = {model.raw_input: _CONTENT}
        case "text" if model.task == "text-ranking":
            instance = {"ranking": {"query": QUERY, "documents": [TEXT]}}
        case "text" if _learned_pairs(model):
            instance = {"textPair": {"text": shown.text, "textPair": SECOND_OF_PAIR}}
        case "text":
            instance = {"text": shown.text}
        case "row":
            instance = {"row": shown.row}
        case "series":
            steps, channels = _series_shape(model)
            instance = {"series": {"values": [float(i) for i in range(steps * channels)], "channels": channels}}
        case "record":
            files = [shown.path]
            instance = {"record": {"parts": {"image": {"image": _CONTENT}, "row": {"row": shown.row}}}}
        case _:
            instance = {"tensors": {"tensors": {tensor.name: tensor_message(tensor) for tensor in model.inputs}}}
    message: dict[str, Any] = {"model": model.name, "instances": [instance]}
    options = {_camel(name): value for name, value in _options(model).items()}
    text = strict_json.text({**message, **({"options": options} if options else {})})
    where = f"-unix {shlex.quote(server.removeprefix('unix:'))}" if is_unix(server) else shlex.quote(server)
    call = f"grpcurl {'' if tls else '-plaintext '}-d @ {where} zoo.v1.Prediction/Predict"
    if is_too_long(text):
        return f"{made_by_python(text)} | {call}"
    if not files:  # a photo would be too long for an argument of a command, but not for the shell's own printf
        return f"printf '%s' {shlex.quote(text)} | {call}"
    pattern = text.replace("\\", "\\\\").replace("%", "%%").replace(_escaped_twice(_CONTENT), "%s")
    quoted = shlex.quote(pattern)
    return f'printf {quoted} "$(base64 -w0 {shlex.quote(files[0])})" | {call}'


def _tritonclient(shown: _Shown, server: str, tls: bool) -> str:
    model = shown.model
    lines = ["import numpy as np", "import tritonclient.grpc as triton", ""]
    match model.raw_input:
        case "image" | "audio" | "video" | "volume":
            value = f"Path({shown.path!r}).read_bytes()"
        case "text":
            value = f"{shown.text!r}.encode()"
        case "row":
            value = f"json.dumps({shown.row!r}).encode()"
        case "series":
            value = f"json.dumps({_series(model, as_list=True)}).encode()"
        case "record":
            image = f"base64.b64encode(Path({shown.path!r}).read_bytes()).decode()"
            value = f"json.dumps({{'image': {image}, 'row': {shown.row!r}}}).encode()"
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
            shape = [1, *row_shape(tensor)]
            lines += [
                f"inputs.append(triton.InferInput({tensor.name!r}, {shape}, {tensor.datatype!r}))",
                f"inputs[-1].set_data_from_numpy({array(tensor, rows=True)})",
            ]
    output = model.outputs[0].name if model.outputs else "output"
    chosen = f", parameters={_options(model)!r}" if KERNEL in _options(model) and value else ""
    lines.append(f"print(client.infer({model.name!r}, inputs{chosen}).as_numpy({output!r}))")
    return "\n".join(lines)


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


def _escaped_twice(character: str) -> str:
    """A character beyond ASCII as it is in JSON, with the backslash doubled."""
    return strict_json.text(character).strip('"').replace("\\", "\\\\")


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)
