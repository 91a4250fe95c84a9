"""What a caller wants learned from data. It decides over what is guessed."""

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
"""What is learned from each kind of data, by its Hugging Face id: where the target is a class, a number, or none."""

BY_TARGET = {TargetKind.CLASS: CLASSIFICATION, TargetKind.NUMBER: REGRESSION, TargetKind.NONE: UNLABELLED}


@dataclass(frozen=True, slots=True)
class Overrides:
    """What decides over a guess, and who hears of guesses."""

    target: TargetKind | None = None
    """What the target is to be read as; None where that is found out."""
    kinds: tuple[DatasetKind, ...] = ()
    """Of which the data must be; none where any will do."""
    infer: Infer = ignore_inferred

    def kind_of(self, kind: DatasetKind | None, among: Sequence[DatasetKind]) -> DatasetKind | None:
        """`kind` where it is said, else the only one of some kinds that may be; None where that is to be found out."""
        left = [one for one in among if one in self.kinds]
        return kind or (left[0] if len(left) == 1 else None)


NO_OVERRIDES = Overrides()


def overrides_for_task(task: str, kind: DatasetKind | None, infer: Infer = ignore_inferred) -> Overrides:
    """What a task says of the data. Raises InvalidInput for one that nobody knows, or that another kind of data is for."""
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
    """What is learned from data of a kind if the target is a class, and if it is a number."""
    return CLASSIFICATION.get(kind, "classification"), REGRESSION.get(kind, "regression")
