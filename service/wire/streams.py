"""Answers the requests of a bidirectional stream side by side, and sends replies as they complete."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Generic, Protocol, TypeVar

from grpc import aio

from service.errors import DeadlineExceeded, Draining
from service.wire.stopping import Stopping

EOF: object = aio.EOF  # type: ignore[attr-defined]  # the stubs do not know it

Request = TypeVar("Request")
Reply = TypeVar("Reply")


class UnderWay(Protocol):
    """A request that is being answered."""

    def cancel(self) -> Any:
        """The caller has left, or the stream has ended."""


class Stream(Generic[Request, Reply]):
    """One stream. `begin` gets each request and this object, and makes sure that `reply` is called once for it: at once, or
    later by an object that it puts into `under_way` and that `reply` takes out again."""

    def __init__(
        self, context: Any, begin: Callable[[Request, Stream[Request, Reply]], None], limit: int, stopping: Stopping
    ) -> None:
        """At most `limit` requests are read before their replies have been sent, so that neither a fast sender nor a slow reader
        makes the server hold more. Once `stopping` is set, no request begins."""
        self.under_way: set[UnderWay] = set()
        self._context = context
        self._begin = begin
        self._free = limit
        self._limit = limit
        self._stopping = stopping
        self._replies: deque[Reply] = deque()
        self._failed: asyncio.Task[Reply] | None = None
        self._wake_writer: asyncio.Future[None] | None = None
        self._wake_reader: asyncio.Future[None] | None = None

    def reply(self, message: Reply, request: UnderWay | None = None) -> None:
        """Sends a reply; `request` is what was under way for it."""
        if request is not None:
            self.under_way.discard(request)
        self._replies.append(message)
        self._notify_writer()

    def start(self, answer: Coroutine[Any, Any, Reply]) -> None:
        """Has a coroutine answer a request. An exception of it ends the stream."""
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
            self._notify_writer()

    async def run(self) -> None:
        """Runs until the caller has sent all requests and got all replies. An exception of `begin` or of a read ends it, and so
        does cancelling it; requests that are under way are then cancelled. Raises DeadlineExceeded where the caller's time is
        over when all replies were sent: gRPC, which cancels the call for that, may be a moment late. Raises Draining where the
        server stops, once what had begun is answered: then a request without a reply has not begun."""
        reader = asyncio.create_task(self._read())
        reader.add_done_callback(self._notify_writer)
        self._stopping.listen(self._notify_writer)
        replies, write = self._replies, self._context.write
        try:
            while True:
                while replies:
                    await write(replies.popleft())
                    self._free += 1
                    if self._wake_reader is not None and not self._wake_reader.done():
                        self._wake_reader.set_result(None)
                if self._failed is not None:
                    self._failed.result()
                complete = reader.done() and reader.result()  # raises what ended it
                if self._free == self._limit:
                    if complete:
                        if self._context.time_remaining() == 0:
                            raise DeadlineExceeded("before the stream had ended")
                        return
                    if self._stopping.is_set:
                        raise Draining
                self._wake_writer = asyncio.get_running_loop().create_future()
                await self._wake_writer
                self._wake_writer = None
        finally:
            self._stopping.forget(self._notify_writer)
            reader.cancel()
            left = tuple(self.under_way)
            for request in left:
                request.cancel()
            await asyncio.wait([reader, *(request for request in left if isinstance(request, asyncio.Task))])

    async def _read(self) -> bool:
        """Gives whether the caller has sent all requests; False where the server stops first."""
        read, begin = self._context.read, self._begin
        while (request := await read()) is not EOF:
            if not self._free:
                self._wake_reader = asyncio.get_running_loop().create_future()
                await self._wake_reader
            if self._stopping.is_set:
                return False
            self._free -= 1
            begin(request, self)
        return True

    def _notify_writer(self, _: object = None) -> None:
        if self._wake_writer is not None and not self._wake_writer.done():
            self._wake_writer.set_result(None)
