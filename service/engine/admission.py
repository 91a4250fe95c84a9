"""A bounded number of places, and a line before them in which claims go first. See `scheduler/policy.py` for what a claim is."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from bisect import bisect_left, bisect_right
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class PrioritySemaphore:
    """As a semaphore, but who waits goes by claim, then by age. Lives on the event loop."""

    def __init__(self, count: int) -> None:
        self.free = count
        """Below zero while more are inside than a smaller count allows."""
        self._count = count
        self._line: list[tuple[float, int, asyncio.Future[None]]] = []
        self._age = itertools.count()

    @asynccontextmanager
    async def one(self, claim: float) -> AsyncIterator[None]:
        """A place for the block. Whoever is cancelled in the line leaves it."""
        if self.free > 0:
            self.free -= 1
        else:
            await self._wait(claim)
        try:
            yield
        finally:
            self._pass_on()

    def resize(self, count: int) -> None:
        """Another number of places. Nobody is sent away; with more of them, those in the line come in."""
        self.free += count - self._count
        self._count = count
        self._let_in()

    async def _wait(self, claim: float) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._line, (claim, next(self._age), turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # cancelled with the place already in hand
                self._pass_on()
            raise

    def _pass_on(self) -> None:
        self.free += 1
        self._let_in()

    def _let_in(self) -> None:
        """Free places go to those who are first in the line and still want one."""
        while self.free > 0 and self._line:
            _, _, turn = heapq.heappop(self._line)
            if not turn.done():
                self.free -= 1
                turn.set_result(None)


class PendingRows:
    """Rows that were let in and have yet to reach their queue, by claim: who comes now is behind those with an earlier one."""

    def __init__(self) -> None:
        self._claims: list[float] = []  # one a row, in order

    def add(self, claim: float, rows: int) -> None:
        """Rows that are let in."""
        at = bisect_right(self._claims, claim)
        self._claims[at:at] = [claim] * rows

    def remove(self, claim: float, rows: int) -> None:
        """Rows that were added with this claim: they are in the queue now, or never will be."""
        at = bisect_left(self._claims, claim)
        del self._claims[at : at + rows]

    def __bool__(self) -> bool:
        return bool(self._claims)

    def before(self, claim: float) -> int:
        """How many go before a row that comes now."""
        return bisect_right(self._claims, claim)
