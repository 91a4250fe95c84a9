"""Answers a bidirectional stream's requests side by side, and sends replies as they complete."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Generic, Protocol, TypeVar

from grpc import aio

from service.errors import DeadlineExceeded

EOF: object = aio.EOF  # type: ignore[attr-defined]  # the stubs do not know it

Request = TypeVar("Request")
Reply = TypeVar("Reply")


class Answering(Protocol):
    """A request in work."""

    def cancel(self) -> Any:
        """Its caller has left."""


class Stream(Generic[Request, Reply]):
    """One stream. `begin` gets each request and this object, and sees to it that `reply` is called once for it: at once, or from
    something that it puts into `under_way` and that `reply` takes out again."""

    def __init__(self, context: Any, begin: Callable[[Request, Stream[Request, Reply]], None], limit: int) -> None:
        """At most `limit` requests are taken before their replies have been sent, so neither a fast sender nor a slow reader
        makes the server hold more."""
        self.under_way: set[Answering] = set()
        self._context = context
        self._begin = begin
        self._free = limit
        self._limit = limit
        self._replies: deque[Reply] = deque()
        self._failed: asyncio.Task[Reply] | None = None
        self._wake: asyncio.Future[None] | None = None  # of who writes
        self._room: asyncio.Future[None] | None = None  # of who reads

    def reply(self, message: Reply, answering: Answering | None = None) -> None:
        """Sends a reply; `answering` is what was under way for it."""
        if answering is not None:
            self.under_way.discard(answering)
        self._replies.append(message)
        self._look()

    def start(self, answer: Coroutine[Any, Any, Reply]) -> None:
        """Has a request answered by a coroutine. What it raises ends the stream."""
        task = asyncio.create_task(answer)
        self.under_way.add(task)
        task.add_done_callback(self._answered)

    def _answered(self, task: asyncio.Task[Reply]) -> None:
        if task.cancelled():
            return
        if task.exception() is None:
            self.reply(task.result(), task)
        else:
            self._failed = self._failed or task
            self._look()

    async def run(self) -> None:
        """Until the caller has sent all and got all. What `begin` or a read raises ends it; so does whoever cancels it, and
        what is under way is cancelled in turn, and stays in `under_way`. Raises DeadlineExceeded where the caller's time is
        over at the end, though all was sent: gRPC, which cancels for that, may be a moment late."""
        reader = asyncio.create_task(self._read())
        reader.add_done_callback(self._look)
        replies, write = self._replies, self._context.write
        try:
            while True:
                while replies:
                    await write(replies.popleft())
                    self._free += 1
                    if self._room is not None and not self._room.done():
                        self._room.set_result(None)
                if self._failed is not None:
                    self._failed.result()
                if reader.done():
                    reader.result()  # raises what ended it
                    if self._free == self._limit:
                        if self._context.time_remaining() == 0:
                            raise DeadlineExceeded("before the stream had ended")
                        return
                self._wake = asyncio.get_running_loop().create_future()
                await self._wake
                self._wake = None
        finally:
            reader.cancel()
            left = tuple(self.under_way)
            for answering in left:
                answering.cancel()
            await asyncio.wait([reader, *(answering for answering in left if isinstance(answering, asyncio.Task))])

    async def _read(self) -> None:
        read, begin = self._context.read, self._begin
        while (request := await read()) is not EOF:
            if not self._free:
                self._room = asyncio.get_running_loop().create_future()
                await self._room
            self._free -= 1
            begin(request, self)

    def _look(self, _: object = None) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)
