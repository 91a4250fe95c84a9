"""Long calls end with UNAVAILABLE when the server stops, so that their callers continue at its successor."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import TypeVar

from service.errors import Draining

T = TypeVar("T")


class Stopping:
    """Tells long calls that the server is about to stop."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self._listeners: dict[Callable[[], object], None] = {}  # an ordered set

    @property
    def is_set(self) -> bool:
        """Whether the long calls end."""
        return self._event.is_set()

    @property
    def awaited(self) -> bool:
        """Whether anybody listens."""
        return bool(self._listeners)

    def set(self) -> None:
        """Ends the long calls."""
        self._event.set()
        for listener in tuple(self._listeners):
            listener()

    def listen(self, listener: Callable[[], object]) -> None:
        """Has `listener` called by `set`, until `forget`."""
        self._listeners[listener] = None

    def forget(self, listener: Callable[[], object]) -> None:
        """Ends `listen`. Does nothing where it has ended."""
        self._listeners.pop(listener, None)

    async def each(self, source: AsyncIterator[T]) -> AsyncGenerator[T, None]:
        """The items of `source`. Raises Draining when the server stops. Takes an item from `source` only when one is asked
        for."""
        while (item := await self.first(_next(source))) is not None:
            yield item[0]

    async def first(self, work: Awaitable[T]) -> T:
        """The result of `work`. Where the server stops first, cancels `work` and raises Draining."""
        task = asyncio.ensure_future(work)
        stopping = asyncio.ensure_future(self._event.wait())
        try:
            await asyncio.wait({task, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            raise Draining
        finally:
            stopping.cancel()
            if not task.done():
                task.cancel()
                await asyncio.wait({task})


async def _next(source: AsyncIterator[T]) -> tuple[T] | None:
    """The next item in a tuple, or None at the end."""
    try:
        return (await anext(source),)
    except StopAsyncIteration:
        return None
