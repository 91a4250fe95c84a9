"""Small methods behind the frontend, without a pipeline."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest
from grpc import aio

from service.wire.frontend.calls import UnaryCall
from service.wire.frontend.frontend import Frontend
from service.wire.frontend.streams import StreamCall, StreamHandler
from service.wire.stopping import Stopping
from tests.support.wire.calls import until
from tests.support.wire.frontends import LIMIT_BYTES, Port, served_port

UNARY, STREAM = "/test.Frontend/Unary", "/test.Frontend/Stream"


class Bytes:
    """A message that is bytes."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def SerializeToString(self) -> bytes:  # as protobuf names it
        return self._data


def echo(call: UnaryCall) -> None:
    call.reply(call.message)


class EchoStream:
    """Every message comes back at once."""

    def __init__(self, call: StreamCall) -> None:
        self.call = call

    def begin(self, data: bytes) -> None:
        self.call.reply(Bytes(data))

    def ended(self, error: BaseException | None) -> None:
        """Shows a ZooError as it is."""
        if isinstance(error, Exception):
            raise error


class KeptStream(EchoStream):
    """Answers only what the test tells it to."""

    def __init__(self, call: StreamCall) -> None:
        super().__init__(call)
        self.messages: list[bytes] = []
        self.ends: list[BaseException | None] = []

    def begin(self, data: bytes) -> None:
        self.messages.append(data)

    def ended(self, error: BaseException | None) -> None:
        self.ends.append(error)
        super().ended(error)


@dataclass
class KeptCalls:
    """A handler that answers no call; the test does."""

    calls: list[UnaryCall] = field(default_factory=list)
    cancelled: list[UnaryCall] = field(default_factory=list)

    def __call__(self, call: UnaryCall) -> None:
        self.calls.append(call)
        call.on_cancel = lambda: self.cancelled.append(call)

    @property
    def messages(self) -> list[bytes]:
        return [call.message for call in self.calls]

    async def come(self, count: int = 1) -> Sequence[UnaryCall]:
        """The calls, once so many have come."""
        await until(lambda: len(self.calls) >= count)
        return self.calls


class KeptStreams:
    """Opens streams that the test answers."""

    def __init__(self) -> None:
        self.streams: list[KeptStream] = []

    def __call__(self, call: StreamCall) -> KeptStream:
        self.streams.append(KeptStream(call))
        return self.streams[-1]

    async def first(self, messages: int = 0) -> KeptStream:
        """The first stream, once so many messages have come."""
        await until(lambda: self.streams and len(self.streams[0].messages) >= messages)
        return self.streams[0]


@dataclass
class Methods:
    """One method of each kind."""

    unary: Callable[[UnaryCall], None] = echo
    open: Callable[[StreamCall], StreamHandler] = EchoStream
    limit: int = 8
    stopping: Stopping = field(default_factory=Stopping)

    def add_to_frontend(self, frontend: Frontend) -> None:
        frontend.add_unary(UNARY, self.unary)
        frontend.add_stream(STREAM, self.open, self.limit, self.stopping)


@dataclass
class Served:
    """A frontend behind a port, and a connection to it."""

    port: Port
    frontend: Frontend
    channel: aio.Channel

    def call(self, data: bytes, **options: Any) -> Any:
        return self.channel.unary_unary(UNARY)(data, **options)

    def begun(self, **options: Any) -> Any:
        """A unary call that has sent its headers. `write` its message, or none."""
        return self.channel.stream_unary(UNARY)(**options)

    def stream(self, *messages: bytes, **options: Any) -> Any:
        """A stream. Without messages, the test writes them."""
        return self.channel.stream_stream(STREAM)(iter(messages) if messages else None, **options)

    async def until_idle(self) -> None:
        """Returns once no call is open and nothing is held for one."""
        await until(lambda: not self.frontend._open)
        credit = self.frontend.credit
        assert (credit.reading, credit.reading_bytes, credit.held_bytes) == (0, 0, 0)


@asynccontextmanager
async def served(
    methods: Methods | None = None,
    limit_bytes: int = LIMIT_BYTES,
    options: Sequence[tuple[str, Any]] = (),
    **hooks: Any,
) -> AsyncIterator[Served]:
    """Serves methods; at the end no call may be left. `options`: of the server. `hooks`: see Frontend."""
    server = aio.server(options=options)
    async with served_port(server, methods or Methods(), limit_bytes=limit_bytes, **hooks) as port:
        assert port.frontend is not None
        async with port.channel(("grpc.use_local_subchannel_pool", 1)) as channel:
            yield Served(port, port.frontend, channel)


async def failure(call: Any) -> aio.AioRpcError:
    """The error of a call that must fail."""
    async with asyncio.timeout(30.0):
        with pytest.raises(aio.AioRpcError) as caught:
            await call
    return caught.value


async def code(call: Any) -> grpc.StatusCode:
    """The status code of a call that must fail."""
    return (await failure(call)).code()
