"""How much the calls with one token may take: requests and rows a second, and requests at once.

Each rate is a token bucket that holds one second's worth, so a caller who keeps to the rate is never refused, whatever the
rhythm within a second. A request that is refused takes nothing.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, fields

from service.errors import RateLimited

SHORTEST_RETRY_S = 0.001
BUSY_RETRY_S = 0.1
"""When a request that found too many others at once may try again."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one token. 0: no limit, or the server's default where there is one."""

    requests_per_second: float = 0.0
    rows_per_second: float = 0.0
    concurrent_requests: int = 0
    jobs: int = 0
    """Jobs of the principal that have not ended."""
    datasets: int = 0
    """Datasets of the principal."""
    dataset_mib: int = 0
    """Size of all datasets of the principal."""

    def over(self, defaults: Limits) -> Limits:
        """These limits, with the defaults for those that are 0."""
        return Limits(**{one.name: getattr(self, one.name) or getattr(defaults, one.name) for one in fields(Limits)})


class _Bucket:
    """A token bucket. The caller holds a lock."""

    __slots__ = ("_level", "_rate", "_size", "_when")

    def __init__(self, rate: float, now: float) -> None:
        self._rate = rate
        self._size = max(rate, 1.0)
        self._level = self._size
        self._when = now

    def take(self, amount: float, now: float) -> float:
        """Takes `amount` if it is there, and gives 0; else gives the seconds until it is. An amount above the size waits for a
        full bucket; the level then falls below 0, and the next requests wait the longer."""
        level = min(self._size, self._level + (now - self._when) * self._rate)
        self._when = now
        lacking = min(amount, self._size) - level
        if lacking > 1e-9:
            self._level = level
            return lacking / self._rate
        self._level = level - amount
        return 0.0


class RateLimits:
    """Thread-safe. Counts what all calls with one token take on this server."""

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self.limits = limits
        self._most = limits.concurrent_requests
        self._clock = clock
        # Two locks, since calls are counted on the frontend's thread and rows on the event loop: a thread that waits for a lock
        # gives up the interpreter.
        self._lock, self._rows_lock = threading.Lock(), threading.Lock()
        now = clock()
        self._requests = _Bucket(limits.requests_per_second, now) if limits.requests_per_second else None
        self._rows = _Bucket(limits.rows_per_second, now) if limits.rows_per_second else None
        self._running = 0
        self._streams = 0

    @property
    def running(self) -> int:
        """Requests that have begun and not ended."""
        return self._running

    def begin(self) -> None:
        """Takes one request; `end` must follow once. Raises RateLimited, and takes nothing then."""
        with self._lock:
            if self._most and self._running >= self._most:
                raise RateLimited(f"the token has {self._running} requests under way, its limit", BUSY_RETRY_S)
            if self._requests is not None:
                self._take_call(self._requests)
            self._running += 1

    def begin_stream(self) -> None:
        """Opens a stream; `end_stream` must follow once. As many may be open as calls may be under way, and it is one call.
        Raises RateLimited, and takes nothing then."""
        with self._lock:
            if self._most and self._streams >= self._most:
                raise RateLimited(f"the token has {self._streams} streams open, its limit", BUSY_RETRY_S)
            if self._requests is not None:
                self._take_call(self._requests)
            self._streams += 1

    def end_stream(self) -> None:
        """A stream that was opened is over."""
        with self._lock:
            self._streams -= 1

    def end(self) -> None:
        """A request that began has ended."""
        with self._lock:
            self._running -= 1

    def _take_call(self, bucket: _Bucket) -> None:
        wait_s = bucket.take(1.0, self._clock())
        if wait_s:
            rate = self.limits.requests_per_second
            raise RateLimited(f"the token may send {rate:g} requests a second", max(wait_s, SHORTEST_RETRY_S))

    def take_rows(self, rows: int) -> None:
        """Takes the rows of a request. Raises RateLimited, and takes nothing then."""
        if self._rows is None:
            return
        with self._rows_lock:
            wait_s = self._rows.take(float(rows), self._clock())
            if wait_s:
                rate = self.limits.rows_per_second
                raise RateLimited(f"the token may send {rate:g} rows a second", max(wait_s, SHORTEST_RETRY_S))
