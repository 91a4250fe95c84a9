"""What an evaluation takes and gives: predictions on held-out examples, and the metrics measured on them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.training.evaluation.intervals import Value
from service.training.job_spec import TOKEN_CLASSIFICATION


def is_classification(task: str) -> bool:
    """Whether the answer is one of several classes, or several of them, for a whole example."""
    return task.endswith("-classification") and task != TOKEN_CLASSIFICATION


def has_several_classes(task: str, targets: NDArray[Any]) -> bool:
    """Whether the targets of a classification are any number of classes for each example."""
    return is_classification(task) and np.asarray(targets).ndim == 2


@dataclass(frozen=True, slots=True)
class Predictions:
    """A model's outputs for n held-out examples, and the targets.

    classification   outputs: logits `(n, classes)`; targets: class indices `(n,)`, or, of several classes, 1 for each and 0 for
                     the others, `(n, classes)`
    token-classif.   outputs: spans that were found, and that were marked at all, by label, `(n, labels, 2)`; targets: true
    spans by label,
                     `(n, labels)`
    object-detection outputs: found boxes, `(n, most boxes, COLUMNS)` of `detection_metrics.py`; targets: true boxes by label,
                     `(n, labels)`
    image-segment.   outputs: pixels by true and by found class, `(n, classes, classes)`; targets: by true class, `(n, classes)`
    regression       outputs and targets `(n,)`, in the units of the data
    forecasting      outputs and targets `(n, horizon, channels)`, in the units of the data
    text-generation  outputs: mean negative log-likelihood of a window's tokens, nats `(n,)`; targets: the number of tokens of
                     each window `(n,)`
    """

    outputs: NDArray[Any]
    targets: NDArray[Any]
    indices: tuple[int, ...]
    """Of the examples, in the dataset."""
    blocks: NDArray[np.int64] | None = None
    """The block of each example, `(n,)`: examples of one block depend on each other, as overlapping windows of a series do. None
    if all examples are independent."""


@dataclass(frozen=True, slots=True)
class NotCompared:
    """The incumbent could not be measured on the same examples."""

    reason: str
    """Half a sentence for the user: `it knows other classes`."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """A prediction that needs no training, measured on the same examples."""

    kind: str
    """For the user: `always the commonest class`, `always the mean`, `seasonal naive`, `the base model, untuned`."""
    metrics: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class IncumbentComparison:
    """The version that is served now, measured on the same examples."""

    metrics: Mapping[str, float]
    difference: Value
    """The new version's primary metric minus the incumbent's, by a paired bootstrap."""


@dataclass(frozen=True, slots=True)
class MetricChange:
    """The primary metric of a network on one runtime and on another, on the same examples."""

    metric: str
    higher_is_better: bool
    before: float
    after: float
    change: Value
    """After minus before."""


@dataclass(frozen=True, slots=True)
class ClassMetrics:
    """One class. The field names are keys of `report.json`."""

    label: str
    precision: float
    recall: float
    f1: float
    support: int
    """Held-out examples of this class, or true boxes or pixels."""
    average_precision: float | None = None
    """Where an example may have several classes, or boxes (that overlap by half): the area under the curve of precision over
    recall."""
    iou: float | None = None
    """Of classes of pixels: intersection over union."""


def class_of_counts(
    label: str, right: int, found: int, true: int, *, average_precision: float | None = None, iou: float | None = None
) -> ClassMetrics:
    """A class of which so many parts are found, so many are true, and so many are both."""
    precision, recall = right / found if found else 0.0, right / true if true else 0.0
    f1 = 2 * right / (found + true) if found + true else 0.0
    return ClassMetrics(label, precision, recall, f1, true, average_precision, iou)


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """One bin of a reliability diagram (DeGroot and Fienberg 1983). The field names are keys of `report.json`."""

    low: float
    high: float
    confidence: float
    """Mean of the highest probabilities in the bin."""
    accuracy: float
    """Share of correct predictions among them."""
    count: int


@dataclass(frozen=True, slots=True)
class ColumnImportance:
    """One column of a table. The field names are keys of `report.json`."""

    column: str
    importance: float
    """What the primary metric loses when the column is shuffled, mean over the repeats; infinite if the network then gives no
    finite numbers."""
    spread: float
    """Standard deviation over the repeats."""


@dataclass(frozen=True, slots=True)
class ColumnImportances:
    """The importance of each column of a table. The field names are keys of `report.json`."""

    metric: str
    """The primary metric."""
    higher_is_better: bool
    value: float
    """Of the metric on these rows, with every column as it is."""
    rows: int
    """Held-out rows that were shuffled."""
    held_out: int
    """Held-out rows in all."""
    repeats: int
    columns: tuple[ColumnImportance, ...]
    """The most important first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """All measurements of a new version."""

    task: str
    labels: tuple[str, ...]
    examples: int
    metrics: Mapping[str, Value]
    baseline: Baseline
    primary: str
    """Name of the metric by which versions are compared."""
    higher_is_better: bool
    incumbent: IncumbentComparison | None = None
    not_compared: str = ""
    """Why the incumbent was not measured; empty if it was, or if nothing is served."""
    per_class: tuple[ClassMetrics, ...] = ()
    confusion: NDArray[np.int64] | None = None
    """Rows: the true class; columns: the predicted class."""
    without_value: tuple[str, ...] = ()
    """Metrics that are undefined on these examples and left out, such as r2 of identical targets."""
    ece: float | None = None
    """Expected calibration error."""
    bins: tuple[ReliabilityBin, ...] = ()
    column_importance: ColumnImportances | None = None
    """Of a table, alone or beside photos."""

    @property
    def multi_label(self) -> bool:
        """Whether an example may have several classes."""
        return is_classification(self.task) and "subset_accuracy" in self.metrics

    def metric_values(self) -> dict[str, float]:
        """The metrics without their intervals."""
        return {name: value.value for name, value in self.metrics.items()}
