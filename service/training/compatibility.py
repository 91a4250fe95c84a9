"""Which task and method fit a base and a data set. No torch here: the server checks a job before it queues it."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence

from model_zoo.cards.card import Card
from model_zoo.cards.recipes import RowRecipe
from model_zoo.cards.weight_source import InitialSource
from service.datasets.dataset import DatasetInfo, DatasetKind
from service.datasets.overrides import CLASSIFICATION, REGRESSION, UNLABELLED
from service.errors import InvalidInput
from service.training.hyperparameters import resolve
from service.training.job_spec import OBJECT_DETECTION, SEGMENTATION, JobSpec, Method

RECIPE_KINDS: dict[DatasetKind, tuple[str, ...]] = {
    DatasetKind.IMAGE_FOLDER: ("image",),
    DatasetKind.AUDIO_FOLDER: ("spectrogram", "filter_bank", "sound"),
    DatasetKind.TEXT: ("text", "characters"),
    DatasetKind.TABLE: ("row",),
    DatasetKind.IMAGE_TABLE: ("image",),
    DatasetKind.SERIES: ("series",),
    DatasetKind.PLAIN_TEXT: ("characters",),
    DatasetKind.SPANS: ("text",),
    DatasetKind.BOXES: ("image",),
    DatasetKind.MASKS: ("image",),
}
"""By kind of data set: the kinds of recipe that a base must have to read it."""

DATA_NAMES = {
    DatasetKind.IMAGE_FOLDER: "pictures",
    DatasetKind.AUDIO_FOLDER: "sounds",
    DatasetKind.TEXT: "texts",
    DatasetKind.TABLE: "a table",
    DatasetKind.IMAGE_TABLE: "pictures with a table",
    DatasetKind.SERIES: "series",
    DatasetKind.PLAIN_TEXT: "plain text",
    DatasetKind.SPANS: "texts with labelled spans",
    DatasetKind.BOXES: "pictures with boxes",
    DatasetKind.MASKS: "pictures with masks",
}
"""For errors, by kind of data set."""

INPUT_NAMES = {
    "image": "pictures, or pictures with a table",
    "spectrogram": "sounds",
    "filter_bank": "sounds",
    "sound": "sounds",
    "text": "texts",
    "characters": "texts, or plain text",
    "row": "a table",
    "series": "series",
}
"""For errors, by kind of recipe: the data that a base learns from. Bases with other recipes cannot be fine-tuned."""


WITHOUT_FEATURES = frozenset(
    {"automatic-speech-recognition", "fill-mask", "image-segmentation", "keypoint-detection", "object-detection"}
)
"""Tasks whose networks give no vector for a whole input."""

DETECTORS = frozenset({"nanodet"})
"""Builders of networks that learn boxes, and nothing else."""

TOKEN_ENCODERS = frozenset({"AutoModel", "AutoModelForSequenceClassification", "AutoModelForTokenClassification"})
"""Automatic classes of transformers whose networks give a vector for each token of a text."""

MASK_ENCODERS = ("efficientnet", "tf_efficientnet", "mobilenetv2_", "mobilenetv3_")
"""Beginnings of the names of timm's networks that learn masks: those with `conv_stem`, `bn1` and `blocks`."""

MOST_LISTED = 6
"""Columns that an error names."""

ENCODER_HINT = "; pull its encoder beside it, with the task feature-extraction and another name"
"""For networks that transcribe."""


def plan(base: Card, dataset: DatasetInfo, spec: JobSpec) -> JobSpec:
    """The specification with task and method chosen. Checks its hyperparameters.

    Raises:
        InvalidInput: ``spec.base``, ``spec.task``, ``spec.method``, ``spec.dataset_id`` or ``spec.hyperparameters.<name>``
            does not fit the rest.
    """
    _check_base(base, dataset.kind)
    if dataset.columns.text_pair and base.recipe.kind != "text":
        raise InvalidInput(
            "spec.base", f"{base.name!r} reads one text at a time, and the data set holds pairs of texts"
        )
    _check_columns(base, dataset)
    task = _choose_task(dataset, spec.task)
    method = _choose_method(base, task, spec.method)
    resolve(method, task, base, dataset.report.examples, spec.hyperparameters)
    return spec.model_copy(update={"task": task, "method": method})


def check_before_upload(base: Card, spec: JobSpec, kinds: Sequence[DatasetKind] = ()) -> None:
    """Refuses what `plan` would refuse for any data, so that a user learns it before the upload.

    Args:
        kinds: the possible kinds of the data set; empty if it may be of any kind.

    Raises:
        InvalidInput: as `plan`.
    """
    _check_base(base, *kinds)
    readable = [kind for kind in kinds or RECIPE_KINDS if base.recipe.kind in RECIPE_KINDS[kind]]
    boxes = base.architecture.builder in DETECTORS
    readable = [kind for kind in readable if (kind is DatasetKind.BOXES) == boxes]
    readable = [kind for kind in readable if kind is not DatasetKind.MASKS or learns_masks(base)]
    by_kind = (CLASSIFICATION, REGRESSION, UNLABELLED)
    possible = list(dict.fromkeys(task_of[kind] for task_of in by_kind for kind in readable if kind in task_of))
    if spec.task and spec.task not in possible:
        raise InvalidInput(
            "spec.task", f"{base.name!r} cannot learn {_shown_name(spec.task)!r}; {_suggestion(spec.task, possible)}"
        )
    refusals: list[InvalidInput] = []
    for task in [spec.task] if spec.task else possible:
        try:
            resolve(_choose_method(base, task, spec.method), task, base, 1, spec.hyperparameters)
        except InvalidInput as error:
            refusals.append(error)
        else:
            return
    raise refusals[0]


def _check_base(base: Card, *kinds: DatasetKind) -> None:
    if base.architecture.builder == "onnx":
        raise InvalidInput(
            "spec.base",
            f"{base.name!r} cannot be fine-tuned: it is an ONNX file, whose weights ONNX Runtime does not train",
        )
    if base.recipe.kind == "record":
        raise InvalidInput(
            "spec.base",
            f"{base.name!r} cannot be fine-tuned: it has learned pictures with columns of its own; "
            "a model of pictures, such as 'fashion_cnn', learns them with any columns",
        )
    if base.architecture.builder in DETECTORS:
        if kinds and DatasetKind.BOXES not in kinds:
            data = " or ".join(DATA_NAMES[kind] for kind in kinds)
            raise InvalidInput(
                "spec.base", f"{base.name!r} learns from pictures with boxes, and the data set holds {data}"
            )
        return
    if kinds == (DatasetKind.BOXES,):
        raise InvalidInput("spec.base", f"{base.name!r} does not learn boxes; use 'nanodet', which does")
    if kinds == (DatasetKind.MASKS,) and not learns_masks(base):
        raise InvalidInput("spec.base", f"{base.name!r} does not learn masks; use 'efficientnet_lite0', which does")
    inputs = INPUT_NAMES.get(base.recipe.kind)
    if inputs is None or base.task in WITHOUT_FEATURES:
        hint = ENCODER_HINT if base.task == "automatic-speech-recognition" else ""
        if base.raw_input == "image":
            hint = "; boxes are learned by 'nanodet', masks and classes by 'efficientnet_lite0'"
        raise InvalidInput(
            "spec.base", f"{base.name!r} cannot be fine-tuned: it has no features that a head could use{hint}"
        )
    if kinds == (DatasetKind.SPANS,) and base.family != "transformer":
        raise InvalidInput(
            "spec.base", f"{base.name!r} is no Transformer, which labels of tokens need; use an encoder of texts"
        )
    if base.task == "time-series-forecasting" and not isinstance(base.source, InitialSource):
        raise InvalidInput(
            "spec.base", f"{base.name!r} cannot be fine-tuned: it forecasts series of its own length; use 'series_gru'"
        )
    auto_class = base.architecture.arguments.get("auto_class", "AutoModel")
    if kinds == (DatasetKind.SPANS,) and base.recipe.kind == "text" and auto_class not in TOKEN_ENCODERS:
        raise InvalidInput(
            "spec.base", f"{base.name!r} gives a vector for a whole text, none for each token; use an encoder of texts"
        )
    if kinds and not any(base.recipe.kind in RECIPE_KINDS[kind] for kind in kinds):
        data = " or ".join(DATA_NAMES[kind] for kind in kinds)
        raise InvalidInput("spec.base", f"{base.name!r} learns from {inputs}, and the data set holds {data}")


def learns_masks(base: Card) -> bool:
    """Whether a base is an encoder of which `Segmenter` makes a network for masks."""
    name = base.architecture.arguments.get("model_name")
    return base.architecture.builder == "timm" and isinstance(name, str) and name.startswith(MASK_ENCODERS)


def _check_columns(base: Card, dataset: DatasetInfo) -> None:
    """Refuses columns that a network with trained weights for other ones does not read."""
    if not isinstance(base.recipe, RowRecipe) or isinstance(base.source, InitialSource):
        return
    known = [column.name for column in base.recipe.numbers] + [column.name for column in base.recipe.categories]
    if other := [column.name for column in dataset.inputs if column.name not in known]:
        raise InvalidInput(
            "spec.base",
            f"{base.name!r} has learned the columns {_listed(known)}, and the data set has {_listed(other)}; "
            "use 'tabular_mlp', which learns any columns",
        )


def _choose_task(dataset: DatasetInfo, requested: str) -> str:
    fits = tasks(dataset)
    if not fits:
        raise InvalidInput(
            "spec.dataset_id", f"for {DATA_NAMES[dataset.kind]} the target must be a number, and it is a class"
        )
    if dataset.labels and len(dataset.labels) < 2 and dataset.kind not in (DatasetKind.SPANS, DatasetKind.BOXES):
        raise InvalidInput("spec.dataset_id", f"expected at least 2 classes, got only {dataset.labels[0]!r}")
    if not requested:
        return fits[0]
    if requested not in fits:
        raise InvalidInput(
            "spec.task", f"{_shown_name(requested)!r} does not fit these data; {_task_hint(dataset, requested, fits)}"
        )
    return requested


def _task_hint(dataset: DatasetInfo, requested: str, fits: Sequence[str]) -> str:
    """The task that the user may have meant, or that another upload of the same data would allow."""
    other_tasks = {CLASSIFICATION.get(dataset.kind), REGRESSION.get(dataset.kind)} - {None, fits[0]}
    if requested in other_tasks and dataset.kind in (DatasetKind.TEXT, DatasetKind.TABLE):
        targets = "classes" if dataset.labels else "numbers"
        return f"their targets were read as {targets}: upload them with this task to decide"
    return _suggestion(requested, fits)


def _suggestion(requested: str, fits: Sequence[str]) -> str:
    near = difflib.get_close_matches(requested[:64], fits, n=1, cutoff=0.6)
    return f"did you mean {near[0]!r}?" if near else f"expected {_either(fits)}"


def tasks(dataset: DatasetInfo) -> tuple[str, ...]:
    """The tasks that a data set allows, the most likely first."""
    kind = dataset.kind
    if kind in UNLABELLED:
        return (UNLABELLED[kind],)
    task = CLASSIFICATION.get(kind) if dataset.labels else REGRESSION.get(kind)
    return () if task is None else (task,)


def methods(base: Card, task: str) -> tuple[Method, ...]:
    """The methods that a base allows. `auto` takes the first.

    A frozen backbone comes first if there is one: its features are computed once, the head trains in seconds, and many heads
    share their base in serving. Users with enough data and time choose `full`.
    """
    if isinstance(base.source, InitialSource) or task in ("text-generation", OBJECT_DETECTION, SEGMENTATION):
        return (Method.FULL,)
    if base.architecture.builder in ("transformers", "transformers_auto") and base.family == "transformer":
        return (Method.HEAD, Method.FULL) if _reads_own_weights(base) else (Method.HEAD, Method.LORA, Method.FULL)
    return (Method.HEAD, Method.FULL)


def _choose_method(base: Card, task: str, requested: Method) -> Method:
    fits = methods(base, task)
    if requested is Method.AUTO:
        return fits[0]
    if requested not in fits:
        if isinstance(base.source, InitialSource):
            why = f"{base.name!r} has no trained weights to build on"
        elif task == "text-generation":
            why = "a language model has no head to train alone"
        elif task == OBJECT_DETECTION:
            why = "a detector learns in all its layers"
        elif task == SEGMENTATION:
            why = "a head for masks reads maps of all sizes, and learns with them"
        elif _reads_own_weights(base):
            why = f"the attention of {base.name!r} reads its weights itself, past any low-rank updates beside them"
        else:
            why = f"{base.name!r} is no Transformer, whose linear layers low-rank updates are for"
        raise InvalidInput("spec.method", f"{why}; expected {_either([m.value for m in fits])}, got {requested.value}")
    return requested


def _reads_own_weights(base: Card) -> bool:
    """Whether the attention does not call its linear layers, so that updates beside them would change nothing."""
    config = base.architecture.arguments.get("config")
    return isinstance(config, Mapping) and config.get("model_type") == "wavlm"


def _shown_name(text: str) -> str:
    return text if len(text) <= 64 else f"{text[:63]}…"


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(_shown_name(name) for name in names[:MOST_LISTED])
    return shown if len(names) <= MOST_LISTED else f"{shown} and {len(names) - MOST_LISTED} more"


def _either(names: Sequence[str]) -> str:
    return " or ".join(repr(name) for name in names)
