"""Baselines: predictions that need no training. A useful model must beat them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def commonest_class(train_targets: NDArray[Any], classes: int, examples: int) -> Floats:
    """Logits `(examples, classes)` of the class frequencies in training, the same for every input.

    One is added to each count (Laplace), so that a class without training examples is improbable, not impossible.
    """
    counts = np.bincount(np.asarray(train_targets, np.int64), minlength=classes).astype(np.float64) + 1.0
    return np.tile(np.log(counts / counts.sum()), (examples, 1))


def class_shares(train_targets: NDArray[Any], examples: int) -> Floats:
    """Logits `(examples, classes)` of the share of training examples that have each of several classes, the same for every input.

    Args:
        train_targets: 1 for each class of an example and 0 for the others, `(n, classes)`.
    """
    flags = np.asarray(train_targets, np.float64)
    having = flags.sum(axis=0) + 1.0  # Laplace, as above
    return np.tile(np.log(having / (len(flags) + 2.0 - having)), (examples, 1))


def mean_target(train_targets: NDArray[Any], examples: int) -> Floats:
    """The mean of the training targets, for every example: `(examples,)`."""
    return np.full(examples, float(np.mean(train_targets)))


def seasonal_naive(contexts: NDArray[Any], horizon: int, season: int = 1) -> Floats:
    """Repeats the values of one season ago: `(n, context, channels)` → `(n, horizon, channels)`.

    With season 1, or a season longer than the context, it repeats the last value.
    """
    steps = contexts.shape[1]
    season = season if 1 <= season <= steps else 1
    positions = steps - season + np.arange(horizon) % season
    return np.asarray(contexts[:, positions], np.float64)


def naive_errors(series: NDArray[Any], season: int = 1) -> Floats:
    """Absolute errors of the seasonal naive forecast one season ahead inside a series `(steps, channels)`."""
    season = season if 1 <= season < len(series) else 1
    return np.abs(np.asarray(series[season:], np.float64) - np.asarray(series[:-season], np.float64))


def unigram(train_tokens: NDArray[Any]) -> float:
    """Entropy of the training tokens' frequencies, in nats: the score of a model that knows the letters but not their order."""
    counts = np.unique(np.asarray(train_tokens).ravel(), return_counts=True)[1].astype(np.float64)
    shares = counts / counts.sum()
    return float(-(shares * np.log(shares)).sum())
