"""Admission to preprocessing: a bounded number of permits, and the rows that are on their way to a queue.

Both are ordered by effective deadline; `scheduler/policy.py` says what that is.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from bisect import bisect_left, bisect_right


class PrioritySemaphore:
    """A semaphore whose waiters are served by effective deadline, then by age. Belongs to the event loop."""

    def __init__(self, count: int) -> None:
        self.free = count
        """Permits that are left. Negative while more are held than a count that was lowered allows."""
        self._count = count
        self._waiters: list[tuple[float, int, asyncio.Future[None]]] = []
        self._age = itertools.count()

    async def acquire(self, effective_deadline: float) -> None:
        """Takes a permit; the caller must `release` it. A waiter that is cancelled leaves the line."""
        if self.free > 0:
            self.free -= 1
        else:
            await self._wait(effective_deadline)

    def release(self) -> None:
        """Gives a permit back."""
        self.free += 1
        self._admit_waiters()

    def resize(self, count: int) -> None:
        """Changes the number of permits. Held permits stay; with more permits, waiters are let in at once."""
        self.free += count - self._count
        self._count = count
        self._admit_waiters()

    async def _wait(self, effective_deadline: float) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiters, (effective_deadline, next(self._age), turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # cancelled after the permit was given
                self.release()
            raise

    def _admit_waiters(self) -> None:
        """Gives free permits to the first waiters that still want one."""
        while self.free > 0 and self._waiters:
            _, _, turn = heapq.heappop(self._waiters)
            if not turn.done():
                self.free -= 1
                turn.set_result(None)


class PendingRows:
    """Rows that were admitted and have not reached their queue, by effective deadline. A new row goes behind equal ones."""

    def __init__(self) -> None:
        self._deadlines: list[float] = []  # one a row, sorted

    def add(self, effective_deadline: float, rows: int) -> None:
        """Rows were admitted."""
        at = bisect_right(self._deadlines, effective_deadline)
        self._deadlines[at:at] = [effective_deadline] * rows

    def remove(self, effective_deadline: float, rows: int) -> None:
        """Rows that were added with this effective deadline are in the queue now, or never will be."""
        at = bisect_left(self._deadlines, effective_deadline)
        del self._deadlines[at : at + rows]

    def __bool__(self) -> bool:
        return bool(self._deadlines)

    def count_before(self, effective_deadline: float) -> int:
        """How many of them go before a row that arrives now."""
        return bisect_right(self._deadlines, effective_deadline)


class PreprocessAdmission:
    """The part of a model's admission that is about preprocessing. A base shares it with its heads."""

    def __init__(self, permits: int) -> None:
        self.permits = PrioritySemaphore(permits)
        """A request holds a permit from before the preprocessing of a part until its rows are answered. A permit is for one call
        of `Task.preprocess`: an image, a recording, or a chunk of texts, of which even a full one is small."""
        self.pending = PendingRows()
