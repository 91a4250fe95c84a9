"""The caller's decisions about the data; they take precedence over inference."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

from service.datasets.dataset import DatasetKind
from service.datasets.formatting import quoted
from service.datasets.readers.inferred_facts import Infer, ignore_inferred
from service.datasets.readers.parsed_example import TargetKind
from service.errors import InvalidInput

CLASSIFICATION = {
    DatasetKind.IMAGE_FOLDER: "image-classification",
    DatasetKind.AUDIO_FOLDER: "audio-classification",
    DatasetKind.TEXT: "text-classification",
    DatasetKind.TABLE: "tabular-classification",
    DatasetKind.SPANS: "token-classification",
    DatasetKind.BOXES: "object-detection",
    DatasetKind.MASKS: "image-segmentation",
}

REGRESSION = {
    DatasetKind.IMAGE_FOLDER: "regression",
    DatasetKind.AUDIO_FOLDER: "regression",
    DatasetKind.TEXT: "regression",
    DatasetKind.TABLE: "tabular-regression",
    DatasetKind.IMAGE_TABLE: "image-tabular-regression",
}

UNLABELLED = {
    DatasetKind.SERIES: "time-series-forecasting",
    DatasetKind.PLAIN_TEXT: "text-generation",
}
"""The task learned from each kind of data, by its Hugging Face id: for a class, a number, or no target."""

MULTI_LABEL = (DatasetKind.IMAGE_FOLDER, DatasetKind.AUDIO_FOLDER, DatasetKind.TEXT)
"""Kinds of data whose examples may have several classes each; their task is that of one class."""

BY_TARGET = {TargetKind.CLASS: CLASSIFICATION, TargetKind.NUMBER: REGRESSION, TargetKind.NONE: UNLABELLED}


@dataclass(frozen=True, slots=True)
class Overrides:
    """The caller's decisions, and the callback for inferred facts."""

    target: TargetKind | None = None
    """The kind of target; None if it is to be inferred."""
    kinds: tuple[DatasetKind, ...] = ()
    """The kinds of data that are possible; empty if all are."""
    infer: Infer = ignore_inferred

    def kind_of(self, kind: DatasetKind | None, among: Sequence[DatasetKind]) -> DatasetKind | None:
        """The given `kind`, else the only possible one among some kinds; None if it is to be inferred."""
        left = [one for one in among if one in self.kinds]
        return kind or (left[0] if len(left) == 1 else None)


NO_OVERRIDES = Overrides()


def overrides_for_task(task: str, kind: DatasetKind | None, infer: Infer = ignore_inferred) -> Overrides:
    """The decisions that follow from a task. Raises InvalidInput for an unknown task, or one for another kind of data."""
    if not task:
        return Overrides(infer=infer)
    found = [(target, of) for target, by_kind in BY_TARGET.items() for of, name in by_kind.items() if name == task]
    if not found:
        known = sorted({name for by_kind in BY_TARGET.values() for name in by_kind.values()})
        near = difflib.get_close_matches(task[:64], known, n=1)
        meant = f"did you mean {near[0]!r}?" if near else f"expected one of {', '.join(known)}"
        raise InvalidInput("header.task", f"there is no task {quoted(task)} to learn; {meant}")
    kinds = tuple(of for _, of in found)
    if kind is not None and kind not in kinds:
        raise InvalidInput("header.task", f"{quoted(task)} is not learned from data of the kind {kind}")
    return Overrides(found[0][0], kinds, infer)


def task_names(kind: DatasetKind) -> tuple[str, str]:
    """The tasks for a kind of data: with a class as target, and with a number."""
    return CLASSIFICATION.get(kind, "classification"), REGRESSION.get(kind, "regression")
