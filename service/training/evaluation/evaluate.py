"""What a tuned model is worth on data it has never seen, beside a baseline and beside what is served now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.training.evaluation import baseline as naive
from service.training.evaluation import metrics
from service.training.evaluation.intervals import (
    Statistic,
    Value,
    bootstrap,
    by_blocks,
    share_interval,
)
from service.training.failures import CannotTrain

MOSTLY = 0.7
"""Where one class is more than this share of the held-out data, guessing it looks good, and macro F1 decides instead."""


@dataclass(frozen=True, slots=True)
class Predictions:
    """What a model gave for held-out examples, and what would have been right; n examples.

    classification   outputs: logits `(n, classes)`; targets: class indices `(n,)`
    regression       outputs and targets `(n,)`, in the units of the data
    forecasting      outputs and targets `(n, horizon, channels)`, in the units of the data
    text-generation  outputs: mean negative log-likelihood of a window's tokens, nats `(n,)`; targets: how many tokens
                     each window has `(n,)`
    """

    outputs: NDArray[Any]
    targets: NDArray[Any]
    indices: tuple[int, ...]
    """Of the examples, in the dataset."""
    blocks: NDArray[np.int64] | None = None
    """Which of them depend on each other, as windows of a series do that overlap: the number of each one's block, `(n,)`. None
    where each stands for itself."""


@dataclass(frozen=True, slots=True)
class NotCompared:
    """What is served now could not be measured on the same examples."""

    reason: str
    """Half a sentence for the user: `it knows other classes`."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """What costs nothing, measured on the same examples."""

    kind: str
    """In words: `always the commonest class`, `always the mean`, `seasonal naive`, `the base model, untuned`."""
    metrics: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Incumbent:
    """The version that is served now, measured on the same examples."""

    metrics: Mapping[str, float]
    difference: Value
    """Ours minus the rival's, of the primary metric, by a paired bootstrap."""


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
class ClassFigures:
    """One class."""

    label: str
    precision: float
    recall: float
    f1: float
    support: int
    """Held-out examples of this class."""


@dataclass(frozen=True, slots=True)
class Bin:
    """One bin of a reliability diagram (DeGroot and Fienberg 1983)."""

    low: float
    high: float
    confidence: float
    """Mean of the winning probabilities that fell into it."""
    accuracy: float
    """Share of them that were right."""
    count: int


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Everything that was measured."""

    task: str
    labels: tuple[str, ...]
    examples: int
    metrics: Mapping[str, Value]
    baseline: Baseline
    primary: str
    """Name of the metric by which versions are compared."""
    higher_is_better: bool
    rival: Incumbent | None = None
    not_compared: str = ""
    """Why there is no rival although something is served; empty where nothing is, or it was measured."""
    per_class: tuple[ClassFigures, ...] = ()
    confusion: NDArray[np.int64] | None = None
    """Rows: what it was; columns: what the model said."""
    without_value: tuple[str, ...] = ()
    """Metrics that are left out, because they have no value on these examples, as r2 of targets that are all alike."""
    ece: float | None = None
    bins: tuple[Bin, ...] = ()

    def figures(self) -> dict[str, float]:
        """The metrics without their intervals."""
        return {name: value.value for name, value in self.metrics.items()}


def evaluate(
    task: str,
    labels: tuple[str, ...],
    held_out: Predictions,
    train_targets: NDArray[Any],
    *,
    seed: int,
    rival: Predictions | NotCompared | None = None,
    baseline_outputs: NDArray[Any] | None = None,
) -> Evaluation:
    """Measures held-out predictions.

    Args:
        train_targets: what the baseline learns from. Classes or numbers; for forecasting the absolute errors of the
            seasonal naive forecast inside the training series, which MASE divides by; for text-generation token ids.
        baseline_outputs: of a baseline that cannot be had from `train_targets` alone, in the form of `held_out.outputs`: the
            seasonal naive forecast, or the untuned base's likelihoods.
        rival: what is served now, on the same examples in the same order, or why there is nothing to compare with.

    Raises:
        CannotTrain: the model gives no finite numbers, or the primary metric has no value.
    """
    examples = len(held_out.targets)
    if wild := _not_finite(held_out):
        raise CannotTrain(f"the trained model gives no finite numbers for {wild} of {examples} held-out examples")
    if isinstance(rival, Predictions) and (wild := _not_finite(rival)):
        rival = NotCompared(f"it gives no finite numbers for {wild} of the {examples} held-out examples")
    statistics = _statistics(task, held_out, train_targets)
    kind, outputs = _baseline(task, labels, held_out, train_targets, baseline_outputs)
    primary, higher_is_better = _primary(task, held_out)
    found = _figures(task, held_out, train_targets)
    if primary not in found:
        raise CannotTrain(f"{primary} has no value on the {examples} held-out examples, so the result cannot be judged")
    evaluation = Evaluation(
        task=task,
        labels=labels,
        examples=examples,
        metrics={
            name: share_interval(value, examples)
            if name == "accuracy"
            else _interval(value, statistics[name], held_out, seed, least=0.0)
            for name, value in found.items()
        },
        without_value=tuple(name for name in statistics if name not in found),
        baseline=Baseline(kind, _figures(task, replace(held_out, outputs=outputs), train_targets)),
        primary=primary,
        higher_is_better=higher_is_better,
        rival=_compare(task, primary, held_out, rival, train_targets, seed) if isinstance(rival, Predictions) else None,
        not_compared=rival.reason if isinstance(rival, NotCompared) else "",
    )
    return _with_classes(evaluation, held_out) if is_classification(task) else evaluation


def metric_change(task: str, before: Predictions, after: Predictions, *, seed: int) -> MetricChange:
    """What the primary metric loses or gains where the same examples are answered by another runtime of the same network.

    For tasks with a class or a number for each example. The interval of the change is that of a paired bootstrap.
    """
    primary, higher_is_better = _primary(task, before)
    nothing = np.zeros(0)
    found = _compare(task, primary, after, before, nothing, seed)
    return MetricChange(
        primary, higher_is_better, found.metrics[primary], _figures(task, after, nothing)[primary], found.difference
    )


def _not_finite(predictions: Predictions) -> int:
    """How many examples have an output that is no finite number."""
    outputs = np.asarray(predictions.outputs)
    return int((~np.isfinite(outputs).reshape(len(outputs), -1).all(axis=1)).sum()) if outputs.size else 0


def is_classification(task: str) -> bool:
    """Whether the answer is one of several classes."""
    return task.endswith("-classification")


def _statistics(task: str, predictions: Predictions, train_targets: NDArray[Any]) -> dict[str, Statistic]:
    outputs, targets = predictions.outputs, predictions.targets
    if is_classification(task):
        return metrics.classification(outputs, targets)
    if task == "time-series-forecasting":
        return metrics.forecast(outputs, targets, train_targets)
    if task == "text-generation":
        return metrics.language(outputs, targets)
    return metrics.regression(outputs, targets)


def _figure(statistic: Statistic, examples: int) -> float:
    return float(statistic(np.ones((1, examples)))[0])


def _interval(value: float, statistic: Statistic, measured: Predictions, seed: int, least: float = -np.inf) -> Value:
    """`least` that the figure can be; a bootstrap does not go beyond it by itself."""
    if measured.blocks is None:
        return bootstrap(value, statistic, len(measured.targets), seed=seed)
    return by_blocks(value, statistic, measured.blocks, least)


def _figures(task: str, predictions: Predictions, train_targets: NDArray[Any]) -> dict[str, float]:
    statistics = _statistics(task, predictions, train_targets)
    found = {name: _figure(statistic, len(predictions.targets)) for name, statistic in statistics.items()}
    return {name: value for name, value in found.items() if np.isfinite(value)}


def _primary(task: str, held_out: Predictions) -> tuple[str, bool]:
    if is_classification(task):
        commonest = np.bincount(np.asarray(held_out.targets, np.int64)).max() / len(held_out.targets)
        return ("macro_f1" if commonest > MOSTLY else "accuracy"), True
    return ("bits_per_character" if task == "text-generation" else "mae"), False


def _baseline(
    task: str,
    labels: tuple[str, ...],
    held_out: Predictions,
    train_targets: NDArray[Any],
    given: NDArray[Any] | None,
) -> tuple[str, NDArray[Any]]:
    examples = len(held_out.targets)
    if is_classification(task):
        return "always the commonest class", naive.commonest_class(train_targets, len(labels), examples)
    if task == "time-series-forecasting":
        if given is None:
            raise ValueError("a forecast is measured beside the seasonal naive one; hand it in")
        return "seasonal naive", given
    if task == "text-generation":
        if given is None:
            return "letters by frequency", np.full(examples, naive.unigram(train_targets))
        return "the base model, untuned", given
    return "always the mean", naive.mean_target(train_targets, examples)


def _compare(
    task: str, primary: str, ours: Predictions, theirs: Predictions, train_targets: NDArray[Any], seed: int
) -> Incumbent:
    if theirs.indices != ours.indices:
        raise ValueError("the rival must be measured on the same examples in the same order")
    a = _statistics(task, ours, train_targets)[primary]
    b = _statistics(task, theirs, train_targets)[primary]

    def both(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(a(weights) - b(weights))

    difference = _interval(_figure(both, len(ours.targets)), both, ours, seed)
    return Incumbent(_figures(task, theirs, train_targets), difference)


def _with_classes(evaluation: Evaluation, held_out: Predictions) -> Evaluation:
    classes = len(evaluation.labels)
    targets, said = np.asarray(held_out.targets, np.int64), held_out.outputs.argmax(axis=1)
    confusion = np.bincount(targets * classes + said, minlength=classes * classes).reshape(classes, classes)
    hits, support, guessed = np.diag(confusion), confusion.sum(axis=1), confusion.sum(axis=0)
    per_class = tuple(
        ClassFigures(label, _ratio(h, g), _ratio(h, s), _ratio(2 * h, g + s), s)
        for label, h, s, g in zip(evaluation.labels, hits.tolist(), support.tolist(), guessed.tolist(), strict=True)
    )
    confidence = metrics.probabilities(held_out.outputs).max(axis=1)
    return replace(
        evaluation,
        per_class=per_class,
        confusion=confusion,
        ece=evaluation.metrics["ece"].value,
        bins=_bins(confidence, said == targets),
    )


def _bins(confidence: NDArray[np.float64], right: NDArray[np.bool_]) -> tuple[Bin, ...]:
    where = metrics.bin_of(confidence)
    found = []
    for i in range(metrics.BINS):
        inside = where == i
        if inside.any():
            edges = i / metrics.BINS, (i + 1) / metrics.BINS
            found.append(Bin(*edges, float(confidence[inside].mean()), float(right[inside].mean()), int(inside.sum())))
    return tuple(found)


def _ratio(part: int, whole: int) -> float:
    return float(part / whole) if whole else 0.0
