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
    hits = true_hot * predicted_hot

    def macro_f1(weights: Floats) -> Floats:
        seen = weights @ true_hot + weights @ predicted_hot
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(np.nanmean(np.where(seen > 0, 2.0 * (weights @ hits) / seen, np.nan), axis=1))

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
