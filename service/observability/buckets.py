"""Where the buckets of a histogram end: classic bounds, and the exponential ones of Prometheus's native histograms.

Observations are counted in fine buckets, which end at every bound of both kinds. Each fine bucket lies within one classic and
within one native bucket, so one search a value serves both, and a scrape adds up those that the scraper asks for.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise

SCHEMA = 3
"""Resolution of the native buckets: each ends at 2^(2^-3) = 1.09 times the end of the one before, so a quantile is off by 4 % at
most."""
_PER_DOUBLING = 2**SCHEMA


@dataclass(frozen=True, slots=True)
class NativeBuckets:
    """The buckets of a native histogram that are not empty."""

    zero_threshold: float
    """Values up to this one are in the zero bucket."""
    zero_count: int
    counts: tuple[tuple[int, int], ...]
    """Index of a bucket, and its count, by ascending index. Bucket `i` ends at 2^(i · 2^-SCHEMA)."""


@dataclass(frozen=True, slots=True)
class Buckets:
    """Bounds of one or more histograms. Immutable."""

    classic: tuple[float, ...]
    """Upper bounds, ascending. A bucket without a bound follows."""
    smallest: int
    """The zero bucket ends at 2^smallest."""
    largest: int
    """Values above 2^largest share one native bucket."""
    fine: tuple[float, ...] = field(init=False)
    """All bounds, ascending."""
    _classic_ends: tuple[int, ...] = field(init=False, repr=False)
    """Position in `fine` of each classic bound."""
    _native_ends: tuple[int, ...] = field(init=False, repr=False)
    """Position in `fine` of each native bound, that of the zero bucket first."""

    def __post_init__(self) -> None:
        native = [
            math.ldexp(2.0 ** (step / _PER_DOUBLING), exponent)
            for exponent in range(self.smallest, self.largest)
            for step in range(_PER_DOUBLING)
        ] + [math.ldexp(1.0, self.largest)]
        fine = tuple(sorted({*map(float, self.classic), *native}))
        for name, value in {
            "fine": fine,
            "_classic_ends": tuple(bisect_left(fine, bound) for bound in self.classic),
            "_native_ends": tuple(bisect_left(fine, bound) for bound in native),
        }.items():
            object.__setattr__(self, name, value)

    def cumulative(self, counts: Sequence[int]) -> list[int]:
        """Values up to each classic bound, then all values. `counts`: of each fine bucket, one more than `fine` has bounds."""
        below = list(accumulate(counts))
        return [*(below[end] for end in self._classic_ends), below[-1]]

    def native(self, counts: Sequence[int]) -> NativeBuckets:
        """The native buckets. `counts`: of each fine bucket."""
        below = list(accumulate(counts))
        ends = [*(below[end] for end in self._native_ends), below[-1]]
        first = self.smallest * _PER_DOUBLING + 1
        found = [(first + i, after - before) for i, (before, after) in enumerate(pairwise(ends))]
        return NativeBuckets(
            math.ldexp(1.0, self.smallest), ends[0], tuple((index, count) for index, count in found if count)
        )
