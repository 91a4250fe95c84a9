"""A token bucket: how often something may happen, with room for a burst."""

from __future__ import annotations

import time
from collections.abc import Callable


class TokenBucket:
    """Holds up to `burst` tokens and gains `per_second`. Not for several threads at once."""

    def __init__(self, burst: float, per_second: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._burst, self._per_second, self._clock = burst, per_second, clock
        self._tokens, self._at = burst, clock()

    def take(self) -> bool:
        """Takes one token, if there is one."""
        now = self._clock()
        self._tokens = min(self._burst, self._tokens + self._per_second * max(0.0, now - self._at))
        self._at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
