"""95 % confidence intervals of metrics.

independent examples   the bootstrap (Efron 1979), percentile method
shares, as accuracy    the score interval (Wilson 1927): 20 correct of 20 do not prove that all examples will be correct
dependent examples     the jackknife over blocks (Künsch 1989); windows of a series, for instance, depend on their neighbours
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLES, LEAST_RESAMPLES = 1000, 100
FULL_DECISIONS = 100_000
"""Decisions, examples × classes, beyond which fewer resamples are drawn: an interval of so many is narrow, and takes minutes."""
COVERAGE = 0.95
CHUNK_ELEMENTS = 4_000_000
"""Indices that are drawn at once: bounds the memory of many examples × many resamples."""
MIN_BLOCKS = 3
"""Fewer blocks do not show how much blocks differ."""
NORMAL_QUANTILE = 1.959964
"""95 % of a normal distribution's values are within so many standard deviations of its mean."""

Statistic = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""Weights of the examples `(resamples, n)`, how often each was drawn → the metric of each resample."""


@dataclass(frozen=True, slots=True)
class Value:
    """A metric, and an interval that contains its value on other held-out examples of the same kind with 95 % confidence.

    `low` and `high` equal `value` if there are too few examples.
    """

    value: float
    low: float
    high: float


def resamples_for(decisions: int) -> int:
    """The resamples for so many decisions, which are examples × classes: 1000, and 100 from a million decisions on."""
    return max(LEAST_RESAMPLES, min(RESAMPLES, RESAMPLES * FULL_DECISIONS // max(decisions, 1)))


def no_check() -> None:
    """Never asks a computation to end."""


def bootstrap(
    value: float,
    statistic: Statistic,
    examples: int,
    *,
    seed: int,
    resamples: int = RESAMPLES,
    check: Callable[[], None] = no_check,
) -> Value:
    """The bootstrap interval of a metric. Same seed, same interval.

    Resamples for which the metric is undefined (NaN) are left out. `check` is called before each part of them, and may raise.
    """
    if examples < 2 or not np.isfinite(value):
        return Value(value, value, value)
    generator = np.random.default_rng(seed)
    rows = max(1, min(resamples, CHUNK_ELEMENTS // examples))
    parts = []
    for start in range(0, resamples, rows):
        check()
        count = min(rows, resamples - start)
        picks = generator.integers(0, examples, size=(count, examples))
        offsets = np.arange(count)[:, None] * examples
        weights = np.bincount((picks + offsets).ravel(), minlength=count * examples).reshape(count, examples)
        parts.append(statistic(weights.astype(np.float64)))
    values = np.concatenate(parts)
    values = values[np.isfinite(values)]
    if not len(values):
        return Value(value, value, value)
    low, high = np.quantile(values, [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2])
    # All resampled values of a biased metric (macro F1) may be on one side of the value; the interval must still contain it.
    return Value(value, min(float(low), value), max(float(high), value))


def share_interval(value: float, examples: int) -> Value:
    """The score interval of a share of independent examples, 0..1."""
    if examples < 2 or not np.isfinite(value):
        return Value(value, value, value)
    shrink = 1 + NORMAL_QUANTILE**2 / examples
    middle = (value + NORMAL_QUANTILE**2 / (2 * examples)) / shrink
    spread = value * (1 - value) / examples + NORMAL_QUANTILE**2 / (4 * examples**2)
    half = NORMAL_QUANTILE * float(np.sqrt(spread)) / shrink
    # At 0 and 1 the bound equals the value, except for rounding.
    return Value(value, max(0.0, min(middle - half, value)), min(1.0, max(middle + half, value)))


def jackknife_blocks(value: float, statistic: Statistic, blocks: NDArray[np.int64], least: float = -np.inf) -> Value:
    """The interval of a metric over dependent examples: the metric is computed without each block in turn.

    Blocks must be independent of each other, or nearly. Since there are often few, the quantile is Student's.

    Args:
        blocks: the number of each example's block, 0 … blocks - 1, `(n,)`.
        least: the lowest possible value of the metric.
    """
    count = int(blocks.max()) + 1 if len(blocks) else 0
    if count < MIN_BLOCKS or not np.isfinite(value):
        return Value(value, value, value)
    values = statistic((blocks != np.arange(count)[:, None]).astype(np.float64))  # (blocks,)
    values = values[np.isfinite(values)]
    if len(values) < MIN_BLOCKS:
        return Value(value, value, value)
    error = float(np.sqrt((len(values) - 1) * values.var()))
    half = student_quantile(len(values) - 1) * error
    return Value(value, max(least, value - half), value + half)


def student_quantile(freedom: int) -> float:
    """`NORMAL_QUANTILE` of Student's distribution: Abramowitz and Stegun 26.7.5, 3 % too small at 2 degrees of freedom."""
    z, v = NORMAL_QUANTILE, float(freedom)
    first, second = z**3 + z, 5 * z**5 + 16 * z**3 + 3 * z
    return z + first / (4 * v) + second / (96 * v**2) + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * v**3)
