"""Measures a tuned model on held-out data, beside a baseline and beside the incumbent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.training.data.token_tags import span_labels
from service.training.evaluation import baseline as naive
from service.training.evaluation import detection_metrics, metrics, segmentation_metrics
from service.training.evaluation.intervals import (
    Statistic,
    Value,
    bootstrap,
    jackknife_blocks,
    no_check,
    resamples_for,
    share_interval,
)
from service.training.evaluation.measurements import (
    Baseline,
    ClassMetrics,
    Evaluation,
    IncumbentComparison,
    MetricChange,
    NotCompared,
    Predictions,
    ReliabilityBin,
    has_several_classes,
    is_classification,
)
from service.training.failures import CannotTrain
from service.training.job_spec import OBJECT_DETECTION, SEGMENTATION, TOKEN_CLASSIFICATION

MAX_CLASS_SHARE = 0.7
"""If one class has a larger share of the held-out data, guessing it gives a high accuracy, and macro F1 is the primary metric."""

SHARES = frozenset({"accuracy", "subset_accuracy"})
"""Metrics that are a share of independent examples."""


def evaluate(
    task: str,
    labels: tuple[str, ...],
    held_out: Predictions,
    train_targets: NDArray[Any],
    *,
    seed: int,
    incumbent: Predictions | NotCompared | None = None,
    baseline_outputs: NDArray[Any] | None = None,
    baseline_kind: str = "",
    check: Callable[[], None] = no_check,
) -> Evaluation:
    """Measures held-out predictions.

    Args:
        train_targets: the baseline learns from them. Classes or numbers; for forecasting the absolute errors of the seasonal
            naive forecast inside the training series, which MASE divides by; for text-generation token ids.
        incumbent: the incumbent's predictions for the same examples in the same order, or why there are none.
        baseline_outputs: of a baseline that `train_targets` alone do not give, in the form of `held_out.outputs`: the seasonal
            naive forecast, the untuned base's likelihoods, counts of spans or pixels, or judged boxes.
        baseline_kind: what `baseline_outputs` are, where the task alone does not say so.
        check: called now and then, since intervals of many examples take long. It may raise, to end the work.

    Raises:
        CannotTrain: the model gives no finite numbers, or the primary metric is undefined.
    """
    examples = len(held_out.targets)
    if count := _count_not_finite(held_out):
        raise CannotTrain(f"the trained model gives no finite numbers for {count} of {examples} held-out examples")
    if isinstance(incumbent, Predictions) and (count := _count_not_finite(incumbent)):
        incumbent = NotCompared(f"it gives no finite numbers for {count} of the {examples} held-out examples")
    comparison = None
    statistics = _statistics(task, held_out, train_targets)
    kind, outputs = _baseline(task, labels, held_out, train_targets, baseline_outputs)
    kind = baseline_kind or kind
    primary, higher_is_better = _primary(task, held_out)
    values = _values(task, held_out, train_targets)
    if primary not in values:
        raise CannotTrain(f"{primary} has no value on the {examples} held-out examples, so the result cannot be judged")
    if isinstance(incumbent, Predictions):
        comparison = _compare(task, primary, held_out, incumbent, train_targets, seed, check)
    evaluation = Evaluation(
        task=task,
        labels=labels,
        examples=examples,
        metrics={
            name: share_interval(value, examples)
            if name in SHARES
            else _interval(value, statistics[name], held_out, seed, least=0.0, check=check)
            for name, value in values.items()
        },
        without_value=tuple(name for name in statistics if name not in values),
        baseline=Baseline(kind, _values(task, replace(held_out, outputs=outputs), train_targets)),
        primary=primary,
        higher_is_better=higher_is_better,
        incumbent=comparison,
        not_compared=incumbent.reason if isinstance(incumbent, NotCompared) else "",
    )
    if has_several_classes(task, held_out.targets):
        return _with_several_classes(evaluation, held_out)
    if task == TOKEN_CLASSIFICATION:
        return _with_span_labels(evaluation, held_out)
    if task == OBJECT_DETECTION:
        return replace(evaluation, per_class=detection_metrics.by_class(labels, held_out.outputs, held_out.targets))
    if task == SEGMENTATION:
        return replace(evaluation, per_class=segmentation_metrics.by_class(labels, held_out.outputs))
    return _with_classes(evaluation, held_out) if is_classification(task) else evaluation


def metric_change(task: str, before: Predictions, after: Predictions, *, seed: int) -> MetricChange:
    """The change of the primary metric between two runtimes of the same network, on the same examples.

    For tasks with a class or a number for each example. The interval of the change is that of a paired bootstrap.
    """
    primary, higher_is_better = _primary(task, before)
    no_targets = np.zeros(0)
    compared = _compare(task, primary, after, before, no_targets, seed)
    value = _values(task, after, no_targets)[primary]
    return MetricChange(primary, higher_is_better, compared.metrics[primary], value, compared.difference)


def _count_not_finite(predictions: Predictions) -> int:
    """The number of examples with an output that is not finite."""
    outputs = np.asarray(predictions.outputs)
    return int((~np.isfinite(outputs).reshape(len(outputs), -1).all(axis=1)).sum()) if outputs.size else 0


def _statistics(task: str, predictions: Predictions, train_targets: NDArray[Any]) -> dict[str, Statistic]:
    outputs, targets = predictions.outputs, predictions.targets
    if has_several_classes(task, targets):
        return metrics.multi_label(outputs, targets)
    if is_classification(task):
        return metrics.classification(outputs, targets)
    if task == TOKEN_CLASSIFICATION:
        return metrics.spans(outputs, targets)
    if task == OBJECT_DETECTION:
        return detection_metrics.detection(outputs, targets)
    if task == SEGMENTATION:
        return segmentation_metrics.segmentation(outputs)
    if task == "time-series-forecasting":
        return metrics.forecast(outputs, targets, train_targets)
    if task == "text-generation":
        return metrics.language(outputs, targets)
    return metrics.regression(outputs, targets)


def _value(statistic: Statistic, examples: int) -> float:
    return float(statistic(np.ones((1, examples)))[0])


def _interval(
    value: float,
    statistic: Statistic,
    measured: Predictions,
    seed: int,
    least: float = -np.inf,
    check: Callable[[], None] = no_check,
) -> Value:
    """`least`: the lowest possible value. A bootstrap never goes below it."""
    if measured.blocks is None:
        resamples = resamples_for(np.size(measured.outputs))
        return bootstrap(value, statistic, len(measured.targets), seed=seed, resamples=resamples, check=check)
    return jackknife_blocks(value, statistic, measured.blocks, least)


def _values(task: str, predictions: Predictions, train_targets: NDArray[Any]) -> dict[str, float]:
    """The metrics that are defined."""
    statistics = _statistics(task, predictions, train_targets)
    values = {name: _value(statistic, len(predictions.targets)) for name, statistic in statistics.items()}
    return {name: value for name, value in values.items() if np.isfinite(value)}


def _primary(task: str, held_out: Predictions) -> tuple[str, bool]:
    """The primary metric, and whether higher is better."""
    if has_several_classes(task, held_out.targets):
        return "mean_average_precision", True
    if is_classification(task):
        largest = np.bincount(np.asarray(held_out.targets, np.int64)).max() / len(held_out.targets)
        return ("macro_f1" if largest > MAX_CLASS_SHARE else "accuracy"), True
    if task == TOKEN_CLASSIFICATION:
        return "f1", True
    if task == OBJECT_DETECTION:
        return "map", True
    if task == SEGMENTATION:
        return "mean_iou", True
    return ("bits_per_character" if task == "text-generation" else "mae"), False


def _baseline(
    task: str,
    labels: tuple[str, ...],
    held_out: Predictions,
    train_targets: NDArray[Any],
    outputs: NDArray[Any] | None,
) -> tuple[str, NDArray[Any]]:
    """The baseline's name and outputs; `outputs` are those that the caller has computed."""
    examples = len(held_out.targets)
    if has_several_classes(task, held_out.targets):
        return "each class by its share", naive.class_shares(train_targets, examples)
    if is_classification(task):
        return "always the commonest class", naive.commonest_class(train_targets, len(labels), examples)
    if task == TOKEN_CLASSIFICATION:
        if outputs is None:
            raise ValueError("spans need the counts of the baseline")
        return "each word's most frequent tag", outputs
    if task == OBJECT_DETECTION:
        if outputs is None:
            raise ValueError("boxes need the judged boxes of the baseline")
        return "always the same box", outputs
    if task == SEGMENTATION:
        if outputs is None:
            raise ValueError("pixels need the counts of the baseline")
        return "everywhere the commonest class", outputs
    if task == "time-series-forecasting":
        if outputs is None:
            raise ValueError("a forecast needs the outputs of the seasonal naive baseline")
        return "seasonal naive", outputs
    if task == "text-generation":
        if outputs is None:
            return "letters by frequency", np.full(examples, naive.unigram(train_targets))
        return "the base model, untuned", outputs
    return "always the mean", naive.mean_target(train_targets, examples)


def _compare(
    task: str,
    primary: str,
    ours: Predictions,
    theirs: Predictions,
    train_targets: NDArray[Any],
    seed: int,
    check: Callable[[], None] = no_check,
) -> IncumbentComparison:
    if theirs.indices != ours.indices:
        raise ValueError("the incumbent must be measured on the same examples in the same order")
    our_statistic = _statistics(task, ours, train_targets)[primary]
    their_statistic = _statistics(task, theirs, train_targets)[primary]

    def difference(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(our_statistic(weights) - their_statistic(weights))

    value = _value(difference, len(ours.targets))
    return IncumbentComparison(
        _values(task, theirs, train_targets), _interval(value, difference, ours, seed, check=check)
    )


def _with_classes(evaluation: Evaluation, held_out: Predictions) -> Evaluation:
    """The evaluation with its measurements by class and its calibration."""
    classes = len(evaluation.labels)
    targets, predicted = np.asarray(held_out.targets, np.int64), held_out.outputs.argmax(axis=1)
    confusion = np.bincount(targets * classes + predicted, minlength=classes * classes).reshape(classes, classes)
    hits, support, guessed = np.diag(confusion), confusion.sum(axis=1), confusion.sum(axis=0)
    per_class = tuple(
        ClassMetrics(label, _ratio(h, g), _ratio(h, s), _ratio(2 * h, g + s), s)
        for label, h, s, g in zip(evaluation.labels, hits.tolist(), support.tolist(), guessed.tolist(), strict=True)
    )
    confidence = metrics.probabilities(held_out.outputs).max(axis=1)
    return replace(
        evaluation,
        per_class=per_class,
        confusion=confusion,
        ece=evaluation.metrics["ece"].value,
        bins=_reliability_bins(confidence, predicted == targets),
    )


def _with_several_classes(evaluation: Evaluation, held_out: Predictions) -> Evaluation:
    """The evaluation with its measurements by class, each of which is named from probability 0.5 on."""
    named, flags = np.asarray(held_out.outputs) >= 0, np.asarray(held_out.targets) > 0
    hits, support, guessed = ((named & flags).sum(axis=0), flags.sum(axis=0), named.sum(axis=0))
    alike = np.ones((1, len(flags)))
    per_class = []
    for k, label in enumerate(evaluation.labels):
        h, g, s = int(hits[k]), int(guessed[k]), int(support[k])
        scores = np.asarray(held_out.outputs[:, k], np.float64)
        area = float(metrics.average_precision(scores, flags[:, k].astype(np.float64), alike)[0]) if s else None
        per_class.append(ClassMetrics(label, _ratio(h, g), _ratio(h, s), _ratio(2 * h, g + s), s, area))
    return replace(evaluation, per_class=tuple(per_class))


def _with_span_labels(evaluation: Evaluation, held_out: Predictions) -> Evaluation:
    """The evaluation with its measurements by label of spans; labels are those of the tags."""
    hits, marked = (np.asarray(held_out.outputs)[..., side].sum(axis=0).tolist() for side in (0, 1))
    true = np.asarray(held_out.targets).sum(axis=0).tolist()
    names = span_labels(evaluation.labels)
    per_class = tuple(
        ClassMetrics(label, _ratio(h, m), _ratio(h, t), _ratio(2 * h, m + t), int(t))
        for label, h, m, t in zip(names, hits, marked, true, strict=True)
    )
    return replace(evaluation, per_class=per_class)


def _reliability_bins(confidence: NDArray[np.float64], correct: NDArray[np.bool_]) -> tuple[ReliabilityBin, ...]:
    """The bins that are not empty."""
    bin_indices = metrics.bin_of(confidence)
    bins = []
    for i in range(metrics.RELIABILITY_BINS):
        inside = bin_indices == i
        if inside.any():
            edges = i / metrics.RELIABILITY_BINS, (i + 1) / metrics.RELIABILITY_BINS
            means = float(confidence[inside].mean()), float(correct[inside].mean())
            bins.append(ReliabilityBin(*edges, *means, int(inside.sum())))
    return tuple(bins)


def _ratio(part: int, whole: int) -> float:
    return float(part / whole) if whole else 0.0
