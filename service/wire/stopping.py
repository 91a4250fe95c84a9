"""Long calls end when the server goes away, with UNAVAILABLE, so that their callers go on at its successor."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
from typing import TypeVar

from service.errors import Draining

T = TypeVar("T")


class Stopping:
    """Whether the server is about to stop, as calls that would last beyond that are told it."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def set(self) -> None:
        """From now on such calls end."""
        self._event.set()

    async def each(self, source: AsyncIterator[T]) -> AsyncGenerator[T, None]:
        """What `source` gives, until it ends or the server stops; then raises Draining. Draws only what it gives out."""
        while (item := await self.first(_next(source))) is not None:
            yield item[0]

    async def first(self, work: Awaitable[T]) -> T:
        """What `work` gives. Where the server stops first, `work` is cancelled and Draining raised."""
        doing = asyncio.ensure_future(work)
        stopping = asyncio.ensure_future(self._event.wait())
        try:
            await asyncio.wait({doing, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if doing.done():
                return doing.result()
            raise Draining
        finally:
            stopping.cancel()
            if not doing.done():
                doing.cancel()
                await asyncio.wait({doing})


async def _next(source: AsyncIterator[T]) -> tuple[T] | None:
    """The next item in a box, or None at the end."""
    try:
        return (await anext(source),)
    except StopAsyncIteration:
        return None
