"""Metrics as functions of the examples' weights, so that one formula gives both a metric and its interval.

A weight is how often an example counts. Each function takes weights `(resamples, n)` and gives `(resamples,)`; weights of one
give the metric itself.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.training.evaluation.intervals import Statistic

Floats = NDArray[np.float64]

RELIABILITY_BINS = 10
"""Of a reliability diagram, equally wide."""
MIN_PROBABILITY = 1e-15


def probabilities(logits: NDArray[Any]) -> Floats:
    """Softmax of `(n, classes)` in float64."""
    shifted = np.asarray(logits, np.float64)
    shifted = np.exp(shifted - shifted.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True), np.float64)


def classification(logits: NDArray[Any], targets: NDArray[Any]) -> dict[str, Statistic]:
    """Of `(n, classes)` logits and `(n,)` class indices: accuracy, macro_f1, log_loss (nats), ece."""
    probability = probabilities(logits)
    classes, predicted = logits.shape[1], logits.argmax(axis=1)
    correct = (predicted == targets).astype(np.float64)
    log_loss = -np.log(np.maximum(probability[np.arange(len(targets)), targets], MIN_PROBABILITY))
    return {
        "accuracy": mean_of(correct),
        "macro_f1": _macro_f1(predicted, targets, classes),
        "log_loss": mean_of(log_loss),
        "ece": _calibration_error(probability.max(axis=1), correct),
    }


def multi_label(logits: NDArray[Any], targets: NDArray[Any]) -> dict[str, Statistic]:
    """Of logits and several classes, 1 or 0, `(n, classes)`: mean_average_precision, micro_f1, macro_f1, subset_accuracy and
    log_loss (nats, mean of the classes). A class counts as named from probability 0.5 on, which is a logit of 0."""
    x, flags = np.asarray(logits, np.float64), np.asarray(targets, np.float64)
    named = (x >= 0).astype(np.float64)
    log_loss = np.logaddexp(0.0, np.where(flags > 0, -x, x)).mean(axis=1)
    hits, either = named * flags, named + flags

    def micro_f1(weights: Floats) -> Floats:
        both = weights @ either.sum(axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(np.where(both > 0, 2.0 * (weights @ hits.sum(axis=1)) / both, np.nan))

    return {
        "mean_average_precision": _mean_average_precision(x, flags),
        "micro_f1": micro_f1,
        "macro_f1": _mean_f1(hits, either),
        "subset_accuracy": mean_of((named == flags).all(axis=1).astype(np.float64)),
        "log_loss": mean_of(log_loss),
    }


def spans(counts: NDArray[Any], true: NDArray[Any]) -> dict[str, Statistic]:
    """Of counts of spans by example and label, as `Predictions` has them: f1, precision, recall over all spans, and macro_f1
    over the labels that occur or are marked. A span is found if boundaries and label are right (strict, as seqeval counts)."""
    hits = np.asarray(counts[..., 0], np.float64)
    marked, truth = np.asarray(counts[..., 1], np.float64), np.asarray(true, np.float64)

    def ratio(part: Floats, whole: Floats) -> Statistic:
        def value(weights: Floats) -> Floats:
            with np.errstate(divide="ignore", invalid="ignore"):
                total = weights @ whole
                return np.asarray(np.where(total > 0, (weights @ part) / total, np.nan))

        return value

    found = hits.sum(axis=1)
    return {
        "f1": ratio(2.0 * found, (marked + truth).sum(axis=1)),
        "precision": ratio(found, marked.sum(axis=1)),
        "recall": ratio(found, truth.sum(axis=1)),
        "macro_f1": _mean_f1(hits, marked + truth),
    }


def average_precision(scores: Floats, flags: Floats, weights: Floats) -> Floats:
    """The sum over thresholds of precision × gain in recall (as in scikit-learn) for one class, `(resamples,)`; NaN where no
    example has it. Examples of equal scores count together.

    Args:
        scores, flags: `(n,)`; a flag is 1 or 0.
        weights: of the examples, `(resamples, n)`.
    """
    order = np.argsort(-scores, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))  # the last example of each score
    weights = weights[:, order]
    having = np.cumsum(weights * flags[order], axis=1)[:, ends]
    named = np.cumsum(weights, axis=1)[:, ends]
    gained = np.diff(having, axis=1, prepend=0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        precision = np.where(named > 0, having / named, 0.0)
        return np.asarray((precision * gained).sum(axis=1) / having[:, -1])


def _mean_average_precision(scores: Floats, flags: Floats) -> Statistic:
    """Mean over the classes that some example has."""

    def mean(weights: Floats) -> Floats:
        total = np.zeros(len(weights))
        count = np.zeros(len(weights))
        for k in range(scores.shape[1]):
            if not flags[:, k].any():
                continue
            values = average_precision(scores[:, k], flags[:, k], weights)
            defined = np.isfinite(values)
            total[defined] += values[defined]
            count += defined
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(total / count)

    return mean


def regression(outputs: NDArray[Any], targets: NDArray[Any]) -> dict[str, Statistic]:
    """Of `(n,)` numbers: mae, rmse (units of the target), r2."""
    y = np.asarray(targets, np.float64).reshape(len(targets), -1).mean(axis=1)
    errors = np.asarray(outputs, np.float64).reshape(len(targets), -1).mean(axis=1) - y

    def rmse(weights: Floats) -> Floats:
        return np.asarray(np.sqrt(weights @ errors**2 / weights.sum(axis=1)))

    def r2(weights: Floats) -> Floats:
        total = weights.sum(axis=1)
        mean = weights @ y / total
        # Centred first: targets of 2,000 ± 5 would lose their digits in the difference of squares.
        centred = y - y.mean()
        spread = weights @ centred**2 - total * (mean - y.mean()) ** 2
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(np.where(spread > 0, 1.0 - weights @ errors**2 / spread, np.nan))

    return {"mae": mean_of(np.abs(errors)), "rmse": rmse, "r2": r2}


def forecast(outputs: NDArray[Any], targets: NDArray[Any], naive_errors: NDArray[Any]) -> dict[str, Statistic]:
    """Of `(n, horizon, channels)`: mae, rmse (units of the series), smape (%, 0..200), mase.

    MASE (Hyndman and Koehler 2006) divides each channel's error by the seasonal naive forecast's inside the training series.
    """
    y, f = np.asarray(targets, np.float64), np.asarray(outputs, np.float64)
    errors = np.abs(f - y)
    size = np.abs(y) + np.abs(f)
    relative = np.divide(200.0 * errors, size, out=np.zeros_like(errors), where=size > 0)
    naive = np.abs(np.asarray(naive_errors, np.float64))
    naive = naive.reshape(-1, y.shape[2]) if naive.ndim > 1 and naive.shape[-1] == y.shape[2] else naive.reshape(-1, 1)
    scale = naive.mean(axis=0) if len(naive) else np.full(1, np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        scaled = np.where(scale > 0, errors / scale, np.nan)
    squares = (errors**2).mean(axis=(1, 2))

    def rmse(weights: Floats) -> Floats:
        return np.asarray(np.sqrt(weights @ squares / weights.sum(axis=1)))

    statistics = {"mae": mean_of(errors.mean(axis=(1, 2))), "rmse": rmse, "smape": mean_of(relative.mean(axis=(1, 2)))}
    # A constant series has no naive error to divide by.
    return statistics if np.isnan(scaled).any() else {**statistics, "mase": mean_of(scaled.mean(axis=(1, 2)))}


def language(outputs: NDArray[Any], tokens: NDArray[Any]) -> dict[str, Statistic]:
    """Of windows' mean negative log-likelihoods `(n,)` in nats and their numbers of tokens: bits_per_character, perplexity."""
    counts = np.asarray(tokens, np.float64)
    sums = np.asarray(outputs, np.float64) * counts

    def bits(weights: Floats) -> Floats:
        return np.asarray((weights @ sums) / (weights @ counts) / np.log(2))

    return {"bits_per_character": bits, "perplexity": lambda weights: np.exp2(np.minimum(bits(weights), 1000.0))}


def mean_of(values: Floats) -> Statistic:
    """The weighted mean of one number for each example."""
    return lambda weights: np.asarray(weights @ values / weights.sum(axis=1))


def _macro_f1(predicted: NDArray[Any], targets: NDArray[Any], classes: int) -> Statistic:
    """Mean of the classes' F1, over the classes that occur or are predicted (as in scikit-learn)."""
    true_hot, predicted_hot = _one_hot(targets, classes), _one_hot(predicted, classes)
    return _mean_f1(true_hot * predicted_hot, true_hot + predicted_hot)


def _mean_f1(hits: Floats, either: Floats) -> Statistic:
    """Mean F1 of the classes that occur or are named. `(n, classes)` each: whether an example's class was found, and how often it
    occurs among truth and answer."""

    def macro_f1(weights: Floats) -> Floats:
        seen = weights @ either
        with np.errstate(divide="ignore", invalid="ignore"):
            total = np.where(seen > 0, 2.0 * (weights @ hits) / seen, 0.0).sum(axis=1)
            return np.asarray(total / (seen > 0).sum(axis=1))  # NaN where no class is seen

    return macro_f1


def _calibration_error(confidence: Floats, correct: Floats) -> Statistic:
    """Expected calibration error (Guo et al. 2017, arXiv:1706.04599) over equally wide bins."""
    inside = _one_hot(bin_of(confidence), RELIABILITY_BINS)
    gaps = inside * (confidence - correct)[:, None]
    return lambda weights: np.asarray(np.abs(weights @ gaps).sum(axis=1) / weights.sum(axis=1))


def bin_of(confidence: Floats) -> NDArray[np.int64]:
    """The bin of each probability."""
    return np.minimum((confidence * RELIABILITY_BINS).astype(np.int64), RELIABILITY_BINS - 1)


def _one_hot(indices: NDArray[Any], count: int) -> Floats:
    hot = np.zeros((len(indices), count))
    hot[np.arange(len(indices)), np.asarray(indices, np.int64)] = 1.0
    return hot
