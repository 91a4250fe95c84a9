"""Which task and method fit a base and a data set. No torch here: the server asks before it queues a job."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from model_zoo.cards.card import Card
from model_zoo.cards.weight_source import InitialSource
from service.datasets.dataset import DatasetInfo, DatasetKind
from service.datasets.overrides import CLASSIFICATION, REGRESSION, UNLABELLED
from service.errors import InvalidInput
from service.training.hyperparameters import resolve
from service.training.job_spec import JobSpec, Method

RECIPES: dict[DatasetKind, tuple[str, ...]] = {
    DatasetKind.IMAGE_FOLDER: ("image",),
    DatasetKind.AUDIO_FOLDER: ("spectrogram",),
    DatasetKind.TEXT: ("text", "characters"),
    DatasetKind.TABLE: ("row",),
    DatasetKind.IMAGE_TABLE: ("image",),
    DatasetKind.SERIES: ("series",),
    DatasetKind.PLAIN_TEXT: ("characters",),
}
"""Kinds of recipe a base must have to read a kind of data."""

DATA = {
    DatasetKind.IMAGE_FOLDER: "pictures",
    DatasetKind.AUDIO_FOLDER: "sounds",
    DatasetKind.TEXT: "texts",
    DatasetKind.TABLE: "a table",
    DatasetKind.IMAGE_TABLE: "pictures with a table",
    DatasetKind.SERIES: "series",
    DatasetKind.PLAIN_TEXT: "plain text",
}

TAKES = {
    "image": "pictures, or pictures with a table",
    "spectrogram": "sounds",
    "text": "texts",
    "characters": "texts, or plain text",
    "row": "a table",
    "series": "series",
}


def plan(base: Card, dataset: DatasetInfo, spec: JobSpec) -> JobSpec:
    """The job as it will run: with task and method chosen, its hyperparameters checked.

    Raises:
        InvalidInput: ``spec.base``, ``spec.task``, ``spec.method``, ``spec.dataset_id`` or ``spec.hyperparameters.<name>``
            does not fit the rest.
    """
    _check_base(base, dataset.kind)
    task = _task(dataset, spec.task)
    method = _method(base, task, spec.method)
    resolve(method, task, base, dataset.report.examples, spec.hyperparameters)
    return spec.model_copy(update={"task": task, "method": method})


def judge(base: Card, spec: JobSpec, kinds: Sequence[DatasetKind] = ()) -> None:
    """What `plan` would refuse whatever the data are: a user hears of it before he sends them.

    Args:
        kinds: of which the data to come may be; none where any may come.

    Raises:
        InvalidInput: as `plan`.
    """
    _check_base(base, *kinds)
    readable = [kind for kind in kinds or RECIPES if base.recipe.kind in RECIPES[kind]]
    by_kind = (CLASSIFICATION, REGRESSION, UNLABELLED)
    possible = list(dict.fromkeys(task_of[kind] for task_of in by_kind for kind in readable if kind in task_of))
    if spec.task and spec.task not in possible:
        raise InvalidInput(
            "spec.task", f"{base.name!r} cannot learn {_cut(spec.task)!r}; {_meant(spec.task, possible)}"
        )
    refusals: list[InvalidInput] = []
    for task in [spec.task] if spec.task else possible:
        try:
            resolve(_method(base, task, spec.method), task, base, 1, spec.hyperparameters)
        except InvalidInput as error:
            refusals.append(error)
        else:
            return
    raise refusals[0]


def _check_base(base: Card, *kinds: DatasetKind) -> None:
    takes = TAKES.get(base.recipe.kind)
    if takes is None:
        raise InvalidInput("spec.base", f"{base.name!r} cannot be fine-tuned: it has no features that a head could use")
    if kinds and not any(base.recipe.kind in RECIPES[kind] for kind in kinds):
        held = " or ".join(DATA[kind] for kind in kinds)
        raise InvalidInput("spec.base", f"{base.name!r} learns from {takes}, and the data set holds {held}")


def _task(dataset: DatasetInfo, asked: str) -> str:
    fits = tasks(dataset)
    if not fits:
        raise InvalidInput(
            "spec.dataset_id", f"for {DATA[dataset.kind]} the target must be a number, and it is a class"
        )
    if dataset.labels and len(dataset.labels) < 2:
        raise InvalidInput("spec.dataset_id", f"expected at least 2 classes, got only {dataset.labels[0]!r}")
    if not asked:
        return fits[0]
    if asked not in fits:
        other = {CLASSIFICATION.get(dataset.kind), REGRESSION.get(dataset.kind)} - {None, fits[0]}
        read = "classes" if dataset.labels else "numbers"
        again = asked in other and dataset.kind in (DatasetKind.TEXT, DatasetKind.TABLE)
        hint = f"; their targets were read as {read}: upload them with this task to decide" if again else ""
        raise InvalidInput("spec.task", f"{_cut(asked)!r} does not fit these data{hint or f'; {_meant(asked, fits)}'}")
    return asked


def _meant(asked: str, fits: Sequence[str]) -> str:
    near = difflib.get_close_matches(asked[:64], fits, n=1, cutoff=0.6)
    return f"did you mean {near[0]!r}?" if near else f"expected {_either(fits)}"


def tasks(dataset: DatasetInfo) -> tuple[str, ...]:
    """What can be learned from a data set, the likeliest first."""
    kind = dataset.kind
    if kind in UNLABELLED:
        return (UNLABELLED[kind],)
    found = CLASSIFICATION.get(kind) if dataset.labels else REGRESSION.get(kind)
    return () if found is None else (found,)


def methods(base: Card, task: str) -> tuple[Method, ...]:
    """What a base can be tuned by, the one that `auto` takes first.

    A frozen backbone is tried first where there is one: its features are computed once, the head is trained in seconds and
    rides along with its base in serving. Whoever has the data and the time asks for `full`.
    """
    if isinstance(base.source, InitialSource) or task == "text-generation":
        return (Method.FULL,)
    if base.architecture.builder == "transformers":
        return (Method.HEAD, Method.LORA, Method.FULL)
    return (Method.HEAD, Method.FULL)


def _method(base: Card, task: str, asked: Method) -> Method:
    fits = methods(base, task)
    if asked is Method.AUTO:
        return fits[0]
    if asked not in fits:
        if isinstance(base.source, InitialSource):
            why = f"{base.name!r} has no trained weights to build on"
        elif task == "text-generation":
            why = "a language model has no head to train alone"
        else:
            why = f"{base.name!r} is no Transformer, whose linear layers low-rank updates are for"
        raise InvalidInput("spec.method", f"{why}; expected {_either([m.value for m in fits])}, got {asked.value}")
    return asked


def _cut(text: str) -> str:
    return text if len(text) <= 64 else f"{text[:63]}…"


def _either(names: Sequence[str]) -> str:
    return " or ".join(repr(name) for name in names)
