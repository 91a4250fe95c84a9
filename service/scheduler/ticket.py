"""The promise of an answer for one request's rows: filled row by row from batches, awaited once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from service.errors import ZooError
from service.types import Row


class Ticket:
    """One await for `size` rows that may ride in several batches. Touched by the event loop's thread only."""

    __slots__ = ("_future", "_missing", "results")

    def __init__(self, size: int, loop: asyncio.AbstractEventLoop) -> None:
        self.results: list[Row | ZooError | None] = [None] * size
        self._missing = size
        self._future: asyncio.Future[None] = loop.create_future()
        if not size:
            self._future.set_result(None)

    @property
    def settled(self) -> bool:
        """Whether nobody waits any more: every row is there, or the caller left."""
        return self._future.done()

    def fill(self, index: int, outcome: Row | ZooError) -> None:
        """Gives row `index` its outcome. A row is filled once; a caller who left is normal and changes nothing."""
        if self._future.done() or self.results[index] is not None:
            return
        self.results[index] = outcome
        self._missing -= 1
        if not self._missing:
            self._future.set_result(None)

    async def wait(self) -> Sequence[Row | ZooError]:
        """All outcomes, in the order of the rows."""
        await self._future
        return [outcome for outcome in self.results if outcome is not None]
