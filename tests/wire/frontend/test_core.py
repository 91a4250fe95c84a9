"""The parts of grpcio's core do what the frontend builds on."""

import asyncio
import threading
from typing import Any

import pytest
from grpc import aio

from service.wire.frontend.calls import UnaryCall
from service.wire.frontend.core import CoreQueue, Unsupported
from tests.support.wire.frontend_methods import KeptCalls, Methods, served

pytestmark = pytest.mark.asyncio


class Hollow:
    """A server without a core server inside."""

    def __init__(self) -> None:
        self._server = object()


@pytest.mark.parametrize("server", [object(), Hollow()])
async def test_server_without_a_core_server_is_unsupported(server: Any) -> None:
    with pytest.raises(Unsupported, match="expected one core server"):
        CoreQueue(server)


async def test_queue_gives_nothing_after_its_timeout() -> None:
    server = aio.server()
    queue = CoreQueue(server)
    server.add_insecure_port("127.0.0.1:0")
    await server.start()
    assert queue.next(0.01) is None
    await server.stop(None)
    queue.shutdown()


async def test_request_after_the_close_raises() -> None:
    server = aio.server()
    queue = CoreQueue(server)
    queue.register("/a.B/C")
    server.add_insecure_port("127.0.0.1:0")
    await server.start()
    queue.close()
    with pytest.raises(ValueError, match="closed"):
        queue.request("/a.B/C", lambda _: None)
    await server.stop(None)
    queue.shutdown()


class SlowServer:
    """A core server in which a request takes until it is told to go on."""

    def __init__(self) -> None:
        self.entered, self.go_on = threading.Event(), threading.Event()

    def request_registered_call(self, *_: object) -> None:
        self.entered.set()
        assert self.go_on.wait(60)


async def test_close_returns_once_no_request_is_under_way() -> None:
    queue = CoreQueue(aio.server())
    slow = SlowServer()
    queue._server = slow
    request = asyncio.ensure_future(asyncio.to_thread(queue.request, "/a.B/C", lambda _: None))
    await asyncio.to_thread(slow.entered.wait, 60)
    close = asyncio.ensure_future(asyncio.to_thread(queue.close))
    done, _ = await asyncio.wait([close], timeout=0.05)
    assert not done
    slow.go_on.set()
    await asyncio.gather(request, close)


async def test_call_knows_its_peer_metadata_and_deadline() -> None:
    kept = KeptCalls()
    async with served(Methods(kept)) as s:
        call = s.call(b"x", metadata=(("name", "value"), ("name-bin", b"\xff\0")))
        (inside,) = await kept.come()
        metadata = dict(inside.core.metadata)
        assert (metadata["name"], metadata["name-bin"]) == ("value", b"\xff\0")
        assert inside.core.name_of_peer().startswith("ipv4:127.0.0.1:")
        assert inside.core.deadline is None
        inside.reply(b"")
        await call


async def test_operation_that_the_core_refuses_raises() -> None:
    raised = list[str]()

    def twice(call: UnaryCall) -> None:
        call.reply(b"answer")
        with pytest.raises(RuntimeError, match="the core refused an operation") as caught:
            call.core.reply(b"another", lambda _: None)
        raised.append(str(caught.value))

    async with served(Methods(twice)) as s:
        assert await s.call(b"x") == b"answer"
        await s.until_idle()
    assert len(raised) == 1
