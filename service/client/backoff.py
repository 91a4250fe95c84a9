"""Pauses between the attempts of a stream that the SDK opens again by itself."""

from __future__ import annotations

import random

from service.client.channel import Retry
from service.client.errors import Overloaded, Unavailable, ZooClientError

MAX_RECONNECTS = 30
"""Attempts after a stream has made progress. With the default pauses of `Retry` this is about a minute, in which a server can
restart."""


class Backoff:
    """Exponential backoff with jitter. It counts the failures since the last progress. Owned by one call."""

    def __init__(self, retry: Retry) -> None:
        self._retry = retry
        self._failures = 0
        self._max_attempts = retry.attempts  # a server that never answered is given up soon

    def reset(self) -> None:
        """The stream made progress: the count of failures starts again."""
        self._failures = 0
        self._max_attempts = MAX_RECONNECTS if self._retry.attempts > 1 else 1

    def next_pause(self, error: ZooClientError) -> float:
        """Seconds to wait before the next attempt: as the server says, else by the count of failures.

        Raises `error` if a retry cannot help or no attempts are left.
        """
        self._failures += 1
        temporary = isinstance(error, Unavailable) or (
            isinstance(error, Overloaded) and error.retry_after_s is not None
        )
        if not temporary or self._failures >= self._max_attempts:
            raise error
        if error.retry_after_s is not None:
            return error.retry_after_s * random.uniform(1.0, 1.2)  # noqa: S311 (as below)
        longest = min(self._retry.initial_backoff_s * 2.0 ** (self._failures - 1), self._retry.max_backoff_s)
        return longest * random.uniform(0.8, 1.2)  # noqa: S311 (spreads callers in time, guards nothing)
