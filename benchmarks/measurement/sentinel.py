"""The sentinel beside each measurement: a measurement during which the machine changed is discarded and made again."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

LIMIT = 0.05
"""Largest drift of the sentinel between before and after a measurement."""
TRIES = 3
"""A measurement is made at most so many times. The last one is kept even if the sentinel drifted, and is counted as unsteady."""

Reading = dict[str, float]
"""Rates of the sentinel's work by the number of threads (`one`, `all`)."""


@dataclass
class Sentinel:
    """Guards measurements, and counts those that were discarded. `read` takes about 0.3 s of all cores.

    The reading after a measurement is not used before the next one, since other processes are paused and resumed in between.
    """

    read: Callable[[], Reading]
    tries: int = TRIES
    limit: float = LIMIT
    measured: int = 0
    """Measurements that were kept."""
    discarded: int = 0
    """Measurements that were made again."""
    unsteady: int = 0
    """Measurements that were kept although the sentinel drifted at every try."""
    readings: list[Reading] = field(default_factory=list)
    """Of the kept measurements, before and after each."""

    def guard(self, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Measure until the sentinel is steady. The figures get `drift`, and `tries` if there were several."""
        for attempt in range(1, self.tries + 1):
            before = self.read()
            figures = measure()
            after = self.read()
            figures["drift"] = drift(before, after)
            if figures["drift"] <= self.limit:
                break
            self.discarded += attempt < self.tries
        self.unsteady += figures["drift"] > self.limit
        self.measured += 1
        self.readings += [before, after]
        return figures if attempt == 1 else {**figures, "tries": attempt}

    def record(self) -> dict[str, Any]:
        """The counts for the report, and the range of the readings: the slowest ÷ the fastest, by number of threads."""
        spans = {
            name: min(one[name] for one in self.readings) / max(one[name] for one in self.readings)
            for name in (self.readings[0] if self.readings else {})
        }
        counts = {"measured": self.measured, "discarded": self.discarded, "unsteady": self.unsteady}
        guarded = self.limit < math.inf
        return {**counts, "guarded": guarded, "limit": self.limit, "slowest_to_fastest": spans}


def drift(before: Reading, after: Reading) -> float:
    """The largest relative change of a rate."""
    return max(abs(after[name] / before[name] - 1.0) for name in before)


def unguarded() -> Sentinel:
    """A sentinel that is always steady: for quick runs, and where a case is only tried out."""
    return Sentinel(lambda: {"one": 1.0, "all": 1.0}, tries=1, limit=math.inf)
