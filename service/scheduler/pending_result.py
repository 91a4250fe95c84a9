"""The promise of an answer for one request's rows: filled row by row from batches, and told once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from service.errors import ZooError
from service.types import Row

Told = Callable[[Sequence[Row | ZooError]], None]
"""Called once with all outcomes, in the order of the rows."""


class PendingResult:
    """`size` rows that may ride in several batches. Whoever asks for them either waits or is `told`. Touched by the event loop's
    thread only."""

    __slots__ = ("_future", "_left", "_missing", "_told", "results")

    def __init__(self, size: int, told: Told | None = None) -> None:
        self.results: list[Row | ZooError | None] = [None] * size
        self._missing = size
        self._told = told
        self._future: asyncio.Future[None] | None = None
        self._left = False
        if not size and told is not None:
            told(())

    @property
    def settled(self) -> bool:
        """Whether nobody waits any more: every row is there, or the caller left."""
        return self._left or not self._missing or (self._future is not None and self._future.done())

    def fill(self, index: int, outcome: Row | ZooError) -> None:
        """Gives row `index` its outcome. A row is filled once; a caller who left is normal and changes nothing."""
        if self.settled or self.results[index] is not None:
            return
        self.results[index] = outcome
        self._missing -= 1
        if self._missing:
            return
        if self._told is not None:
            told, self._told = self._told, None  # or the two would keep each other, and the outcomes with them
            told(self._outcomes())
        elif self._future is not None:
            self._future.set_result(None)

    def leave(self) -> None:
        """The caller left: nobody is told any more."""
        self._left = True
        self._told = None

    async def wait(self) -> Sequence[Row | ZooError]:
        """All outcomes, in the order of the rows. Cancelled, it has left."""
        if self._missing:
            self._future = asyncio.get_running_loop().create_future()
            try:
                await self._future
            except asyncio.CancelledError:
                self.leave()
                raise
        return self._outcomes()

    def _outcomes(self) -> Sequence[Row | ZooError]:
        return [outcome for outcome in self.results if outcome is not None]
