"""Whether a canary does as well as the stable version. Pure; the clock is injected.

Both are watched over the same time window. A canary leaves its bounds when so many of its calls fail by its own fault, or when
its slow calls are so much slower, that chance does not explain it. Errors of callers do not count.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Bounds:
    """When a canary loses its share."""

    window_s: float = 300.0
    """Calls that ended earlier are forgotten."""
    least_calls: int = 20
    """Fewest calls of each version before they are compared, so that one unlucky call decides nothing."""
    most_calls: int = 1000
    """Most calls of each version that are remembered."""
    error_rate: float = 0.05
    """Share of the canary's calls that may fail beyond the share of stable's."""
    least_errors: int = 3
    latency_ratio: float = 2.0
    """Most ratio of the canary's 95th percentile of latency to stable's."""
    latency_slack_s: float = 0.010
    """A smaller difference is never too large."""


class _Window:
    """The latest calls of one version."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._calls: deque[tuple[float, bool, float]] = deque()
        self.errors = 0

    def add(self, now: float, fault: bool, seconds: float) -> None:
        self._calls.append((now, fault, seconds))
        self.errors += fault
        while len(self._calls) > self._bounds.most_calls or self._calls[0][0] < now - self._bounds.window_s:
            self.errors -= self._calls.popleft()[1]

    def __len__(self) -> int:
        return len(self._calls)

    @property
    def error_rate(self) -> float:
        return self.errors / max(len(self._calls), 1)

    def p95(self) -> float:
        seconds = sorted(seconds for _, _, seconds in self._calls)
        return seconds[min(len(seconds) - 1, int(0.95 * len(seconds)))]


class CanaryWatch:
    """Compares a canary with stable, call by call. Belongs to the event loop."""

    LATENCY_CHECK_CALLS = 8
    """Calls of the canary between two comparisons of latency: sorting costs tens of microseconds."""

    def __init__(self, bounds: Bounds, clock: Callable[[], float] = time.monotonic) -> None:
        self._bounds = bounds
        self._clock = clock
        self._stable, self._canary = _Window(bounds), _Window(bounds)
        self._calls_until_check = self.LATENCY_CHECK_CALLS

    def observe(self, is_canary: bool, fault: bool, seconds: float) -> str | None:
        """Adds a call that ended. Returns why the canary must lose its share, with figures; None while it may keep it."""
        (self._canary if is_canary else self._stable).add(self._clock(), fault, seconds)
        return self._problem(fault) if is_canary else None

    def _problem(self, fault: bool) -> str | None:
        bounds, stable, canary = self._bounds, self._stable, self._canary
        if len(canary) < bounds.least_calls:
            return None
        usual = stable.error_rate  # 0 while stable has no calls: many errors need no comparison
        if fault and canary.errors >= bounds.least_errors and canary.error_rate > usual + bounds.error_rate:
            return (
                f"{canary.errors} of its last {len(canary)} calls failed ({canary.error_rate:.1%}); of the stable version's "
                f"{usual:.1%} did, and {bounds.error_rate:.1%} more is allowed"
            )
        self._calls_until_check -= 1
        if self._calls_until_check > 0 or len(stable) < bounds.least_calls:
            return None
        self._calls_until_check = self.LATENCY_CHECK_CALLS
        slow, usual_s = canary.p95(), stable.p95()
        if slow > usual_s * bounds.latency_ratio and slow > usual_s + bounds.latency_slack_s:
            return (
                f"the 95th percentile of its latency is {slow * 1e3:.1f} ms; that of the stable version is "
                f"{usual_s * 1e3:.1f} ms, and {bounds.latency_ratio:g} times that is allowed"
            )
        return None
