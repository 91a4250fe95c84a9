"""Times of batches, interpolated between known points."""

from __future__ import annotations

import math
from bisect import bisect_right
from itertools import pairwise

NORMAL_P99 = 2.326


class Table:
    """Interpolation between points, linear in rows and in length. Values below the least known length or number of rows have
    its time; values above the greatest are an error."""

    def __init__(self, text: str) -> None:
        """One line a point: length, rows, average ms and, if known, 99th percentile ms."""
        points = [[float(word) for word in line.split()] for line in text.strip().splitlines()]
        self.lengths = sorted({int(point[0]) for point in points})
        self.rows = sorted({int(point[1]) for point in points})
        self._seconds = {(int(length), int(rows)): mean / 1000.0 for length, rows, mean, *_ in points}
        self._known: dict[tuple[int, float], float] = {}
        strays = sorted(math.log(p99 / mean) / NORMAL_P99 for _, _, mean, *known in points for p99 in known)
        self.sigma = max(0.0, strays[len(strays) // 2]) if strays else 0.0
        """Of the log-normal distribution whose 99th percentile is as far from the average as at the median point of the table."""

    def seconds(self, rows: int, length: float) -> float:
        """Seconds of a batch. ValueError beyond the table."""
        found = self._known.get((rows, length))
        if found is None:
            if rows > self.rows[-1] or length > self.lengths[-1]:
                raise ValueError(f"nothing is known of {rows} rows of {length}")
            short, long, far = _between(self.lengths, length)
            few, many, much = _between(self.rows, rows)
            low, high = ((1.0 - much) * self._seconds[at, few] + much * self._seconds[at, many] for at in (short, long))
            found = self._known[rows, length] = (1.0 - far) * low + far * high
        return found

    @property
    def is_rising(self) -> bool:
        """Whether more rows, and longer rows, never take less time."""
        by_rows = (
            (self._seconds[at, few], self._seconds[at, many])
            for few, many in pairwise(self.rows)
            for at in self.lengths
        )
        by_length = (
            (self._seconds[short, at], self._seconds[long, at])
            for short, long in pairwise(self.lengths)
            for at in self.rows
        )
        return all(less <= more for pairs in (by_rows, by_length) for less, more in pairs)


def _between(grid: list[int], value: float) -> tuple[int, int, float]:
    """The neighbours of a value in a grid, and its position between them (0 to 1)."""
    above = min(max(bisect_right(grid, value), 1), len(grid) - 1)
    below = max(above - 1, 0)
    width = grid[above] - grid[below]
    return grid[below], grid[above], min(1.0, max(0.0, (value - grid[below]) / width)) if width else 0.0
