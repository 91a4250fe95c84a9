"""The result of one request's rows: filled row by row from batches, and delivered once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from service.errors import ZooError
from service.types import Row

OnDone = Callable[[Sequence[Row | ZooError]], None]
"""Called once with all outcomes, in the order of the rows."""


class PendingResult:
    """The outcomes of `size` rows, which may run in several batches. The caller awaits `wait()` or gives `on_done`. Touched by
    the event loop's thread only."""

    __slots__ = ("_cancelled", "_future", "_missing", "_on_done", "results")

    def __init__(self, size: int, on_done: OnDone | None = None) -> None:
        self.results: list[Row | ZooError | None] = [None] * size
        self._missing = size
        self._on_done = on_done
        self._future: asyncio.Future[None] | None = None
        self._cancelled = False
        if not size and on_done is not None:
            on_done(())

    @property
    def settled(self) -> bool:
        """Whether no caller waits any more: every row has its outcome, or the caller left."""
        return self._cancelled or not self._missing or (self._future is not None and self._future.done())

    def fill(self, index: int, outcome: Row | ZooError) -> None:
        """Gives row `index` its outcome. A row is filled once; where the caller has left, nothing changes."""
        if self.settled or self.results[index] is not None:
            return
        self.results[index] = outcome
        self._missing -= 1
        if self._missing:
            return
        if self._on_done is not None:
            on_done, self._on_done = self._on_done, None  # or this object and the callback would keep each other alive
            on_done(self._outcomes())
        elif self._future is not None:
            self._future.set_result(None)

    def cancel(self) -> None:
        """The caller left: nothing is delivered any more."""
        self._cancelled = True
        self._on_done = None

    async def wait(self) -> Sequence[Row | ZooError]:
        """All outcomes, in the order of the rows. Cancelling the wait cancels the result."""
        if self._missing:
            self._future = asyncio.get_running_loop().create_future()
            try:
                await self._future
            except asyncio.CancelledError:
                self.cancel()
                raise
        return self._outcomes()

    def _outcomes(self) -> Sequence[Row | ZooError]:
        return [outcome for outcome in self.results if outcome is not None]
