"""Answers a bidirectional stream's requests side by side, and sends replies as they complete."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable
from typing import TypeVar

Request = TypeVar("Request")
Reply = TypeVar("Reply")


async def as_completed(
    requests: AsyncIterable[Request], answer: Callable[[Request], Awaitable[Reply]], limit: int
) -> AsyncGenerator[Reply, None]:
    """Yields one reply for each request, in order of completion.

    At most `limit` requests are taken before their replies have been sent, so neither a fast sender nor a slow reader
    makes the server hold more. `answer` turns its own failures into replies; if it raises, the stream ends with that
    error. Closing this iterator, or cancelling the task that waits on it, cancels whatever is in flight.
    """
    slots = asyncio.Semaphore(limit)
    replies: asyncio.Queue[Reply | None] = asyncio.Queue()  # bounded by the slots; None marks the end

    async def one(request: Request) -> None:
        replies.put_nowait(await answer(request))

    async def read() -> None:
        try:
            async with asyncio.TaskGroup() as group:
                async for request in requests:
                    await slots.acquire()
                    group.create_task(one(request))
        finally:
            replies.put_nowait(None)

    reader = asyncio.create_task(read())
    try:
        while (reply := await replies.get()) is not None:
            yield reply
            slots.release()
        try:
            await reader
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None
    finally:
        reader.cancel()
        await asyncio.wait([reader])
