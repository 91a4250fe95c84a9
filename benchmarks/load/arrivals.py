"""Arrival times of requests and lengths of their texts. The same seed gives the same load to every participant."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

REVIEW_MEAN_LOG, REVIEW_SIGMA_LOG = 3.7, 0.85
"""Of the log-normal distribution: median 40 tokens, mean 58, one in ten over 120, as in short reviews of films and products."""
SHORTEST, LONGEST = 3, 200
"""Tokens, with the begin and end tokens."""


def poisson(rate: float, seconds: float, seed: int) -> NDArray[np.float64]:
    """Times in seconds, ascending, of a Poisson process of `rate` a second over `seconds`."""
    generator = np.random.default_rng(seed)
    expected = rate * seconds
    gaps = generator.exponential(1.0 / rate, int(expected + 8.0 * np.sqrt(expected) + 16.0))
    times = np.cumsum(gaps)
    within: NDArray[np.float64] = times[times < seconds]
    return within


def review_lengths(count: int, seed: int) -> NDArray[np.int64]:
    """Tokens of `count` texts: log-normal, drawn again if outside SHORTEST..LONGEST."""
    generator = np.random.default_rng(seed)
    lengths = np.empty(0, np.int64)
    while len(lengths) < count:
        drawn = np.rint(generator.lognormal(REVIEW_MEAN_LOG, REVIEW_SIGMA_LOG, count)).astype(np.int64)
        lengths = np.concatenate([lengths, drawn[(drawn >= SHORTEST) & (drawn <= LONGEST)]])
    return lengths[:count]


def largest_rate(holds: Callable[[float], bool], low: float, high: float, steps: int) -> float:
    """The largest rate in `low`..`high` for which `holds` is true, by bisection in `steps` trials; 0 if there is none.

    The answer is always a rate that was tried.
    """
    best = 0.0
    if holds(high):
        return high
    for _ in range(steps - 1):
        middle = (low + high) / 2.0
        if holds(middle):
            best = low = middle
        else:
            high = middle
    return best
