"""How sure a measured figure is, to 95 %: the bootstrap over held-out examples (Efron 1979), percentile method; for a share of
them, as accuracy is, the score interval (Wilson 1927), which knows that 20 right of 20 do not prove that all will be; and for
examples that depend on their neighbours, as windows of a series do, the jackknife over blocks of them (Künsch 1989)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 1000
COVERAGE = 0.95
BLOCK_ELEMENTS = 4_000_000
"""Indices drawn at once: bounds the memory of many examples × many resamples."""


@dataclass(frozen=True, slots=True)
class Value:
    """A figure, and the interval that holds 95 % of what other held-out examples of the same kind would have given.

    `low` and `high` equal `value` where there are too few examples to resample.
    """

    value: float
    low: float
    high: float


NORMAL_QUANTILE = 1.959964
"""Of a normal distribution's values 95 % are no further from its mean, in standard deviations."""

Statistic = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""Weights of the examples `(resamples, n)`, how often each was drawn → the figure for each resample."""


def bootstrap(value: float, statistic: Statistic, examples: int, *, seed: int, resamples: int = RESAMPLES) -> Value:
    """The interval of a figure that can be computed from how often each example was drawn. Same seed, same interval.

    Resamples for which the figure is not defined (NaN) are left out.
    """
    if examples < 2 or not np.isfinite(value):
        return Value(value, value, value)
    drawn = np.random.default_rng(seed)
    rows = max(1, min(resamples, BLOCK_ELEMENTS // examples))
    found = []
    for start in range(0, resamples, rows):
        count = min(rows, resamples - start)
        picks = drawn.integers(0, examples, size=(count, examples))
        offsets = np.arange(count)[:, None] * examples
        weights = np.bincount((picks + offsets).ravel(), minlength=count * examples).reshape(count, examples)
        found.append(statistic(weights.astype(np.float64)))
    figures = np.concatenate(found)
    figures = figures[np.isfinite(figures)]
    if not len(figures):
        return Value(value, value, value)
    low, high = np.quantile(figures, [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2])
    # The resampled figures of a biased one (macro F1) may all lie on one side; the interval still holds what was seen.
    return Value(value, min(float(low), value), max(float(high), value))


def share_interval(value: float, examples: int) -> Value:
    """A share of independent examples, 0..1, with its score interval."""
    if examples < 2 or not np.isfinite(value):
        return Value(value, value, value)
    shrink = 1 + NORMAL_QUANTILE**2 / examples
    middle = (value + NORMAL_QUANTILE**2 / (2 * examples)) / shrink
    spread = value * (1 - value) / examples + NORMAL_QUANTILE**2 / (4 * examples**2)
    half = NORMAL_QUANTILE * float(np.sqrt(spread)) / shrink
    # At 0 and 1 the bound is the value itself, but for rounding.
    return Value(value, max(0.0, min(middle - half, value)), min(1.0, max(middle + half, value)))


LEAST_BLOCKS = 3
"""Of fewer nobody can tell how unlike they are."""


def by_blocks(value: float, statistic: Statistic, blocks: NDArray[np.int64], least: float = -np.inf) -> Value:
    """The interval of a figure over examples that depend on their neighbours: it is computed without each block in turn.

    Blocks should be independent of each other, or nearly. There are often few, so that the quantile is Student's.

    Args:
        blocks: the number of each example's block, 0 … blocks - 1, `(n,)`.
        least: that the figure can be.
    """
    count = int(blocks.max()) + 1 if len(blocks) else 0
    if count < LEAST_BLOCKS or not np.isfinite(value):
        return Value(value, value, value)
    figures = statistic((blocks != np.arange(count)[:, None]).astype(np.float64))  # (blocks,)
    figures = figures[np.isfinite(figures)]
    if len(figures) < LEAST_BLOCKS:
        return Value(value, value, value)
    error = float(np.sqrt((len(figures) - 1) * figures.var()))
    half = student_quantile(len(figures) - 1) * error
    return Value(value, max(least, value - half), value + half)


def student_quantile(freedom: int) -> float:
    """As `NORMAL_QUANTILE`, of Student's distribution: Abramowitz and Stegun 26.7.5, 3 % too small at 2 degrees of freedom."""
    z, v = NORMAL_QUANTILE, float(freedom)
    first, second = z**3 + z, 5 * z**5 + 16 * z**3 + 3 * z
    return z + first / (4 * v) + second / (96 * v**2) + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * v**3)
