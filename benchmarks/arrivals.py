"""When requests come and how long their texts are. Seeded: the same seed gives the same load to every participant."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

REVIEW_MEAN_LOG, REVIEW_SIGMA_LOG = 3.7, 0.85
"""Of the log-normal: a median of 40 tokens, a mean of 58, one in ten over 120; as short reviews of films and products are."""
SHORTEST, LONGEST = 3, 200
"""Tokens, with the two that mark begin and end."""


def poisson(rate: float, seconds: float, seed: int) -> NDArray[np.float64]:
    """Times in seconds, ascending, of a Poisson process of `rate` a second over `seconds`."""
    generator = np.random.default_rng(seed)
    expected = rate * seconds
    gaps = generator.exponential(1.0 / rate, int(expected + 8.0 * np.sqrt(expected) + 16.0))
    times = np.cumsum(gaps)
    kept: NDArray[np.float64] = times[times < seconds]
    return kept


def review_lengths(count: int, seed: int) -> NDArray[np.int64]:
    """Tokens of `count` texts: log-normal, drawn again where outside SHORTEST..LONGEST."""
    generator = np.random.default_rng(seed)
    kept = np.empty(0, np.int64)
    while len(kept) < count:
        drawn = np.rint(generator.lognormal(REVIEW_MEAN_LOG, REVIEW_SIGMA_LOG, count)).astype(np.int64)
        kept = np.concatenate([kept, drawn[(drawn >= SHORTEST) & (drawn <= LONGEST)]])
    return kept[:count]


def largest_rate(holds: Callable[[float], bool], low: float, high: float, steps: int) -> float:
    """The largest rate in `low`..`high` at which `holds`, by bisection in `steps` trials; 0 where none did.

    A rate that held is the answer, never one between trials.
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
