"""How long a broken connection is tried anew: pauses that grow, counted from the last time that something came of it."""

from __future__ import annotations

import random

from service.client.channel import Retry
from service.client.errors import Unavailable, ZooClientError

RECONNECTS = 30
"""Attempts after a connection broke; with the pauses of `Retry` as it is, about a minute: a server starts anew meanwhile."""


class Patience:
    """Counts attempts in vain. Owned by one call."""

    def __init__(self, retry: Retry) -> None:
        self._retry = retry
        self._failed = 0
        self._most = retry.attempts  # a server that was never there is told soon

    def progressed(self) -> None:
        """Something came of it: begin counting anew."""
        self._failed = 0
        self._most = RECONNECTS if self._retry.attempts > 1 else 1

    def pause(self, error: ZooClientError) -> float:
        """How many seconds to wait before the next attempt. Raises `error` where another cannot help, or too many failed."""
        self._failed += 1
        if not isinstance(error, Unavailable) or self._failed >= self._most:
            raise error
        longest = min(self._retry.initial_backoff_s * 2.0 ** (self._failed - 1), self._retry.max_backoff_s)
        return longest * random.uniform(0.8, 1.2)  # noqa: S311 (spreads callers in time, guards nothing)
