"""Tries the frontend before a server depends on it, in a child process: what it is built on may change with any grpcio.

    python -m service.wire.frontend.probe      exits with 0 where everything works; else prints what does not

A success is remembered under ZOO_HOME for this grpcio, Python and machine, so that only the first start takes the time. A
failure is not: it may have been the machine's.
"""

from __future__ import annotations

import asyncio
import os
import platform
import sys
import tempfile
from collections.abc import Awaitable
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
from grpc import aio

from model_zoo import strict_json
from service.errors import QueueFull, ZooError
from service.processes import AsyncChildProcess
from service.wire.frontend.calls import MODEL_KEY, UnaryCall
from service.wire.frontend.core import Unsupported
from service.wire.frontend.frontend import Frontend
from service.wire.frontend.streams import StreamCall
from service.wire.status import DETAILS_KEY
from service.wire.stopping import Stopping

RESULT = "frontend.json"
"""In ZOO_HOME."""
REVISION = 1
"""Of the frontend's use of the core. Raise it where that changes, so that remembered results do not count."""
TIMEOUT_S = 30.0
"""For the whole probe, and for each step within it a third of this."""

SERVICE = "/zoo.probe.Probe/"
ECHO, WAIT, STREAM, OTHER = (SERVICE + name for name in ("Echo", "Wait", "Stream", "Other"))
LARGEST_MESSAGE = 1 << 20


async def works(home: Path) -> str:
    """Empty where the frontend works with this grpcio; else one clause that says what does not."""
    mark = _mark()
    path = home / RESULT
    if strict_json.read_object(path) == mark:
        return ""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ZOO_")}
    try:
        child = await AsyncChildProcess.start((sys.executable, "-P", "-m", __name__), env=environment)
    except OSError:
        return "the process that tries it does not start"
    try:
        async with asyncio.timeout(TIMEOUT_S):
            said = await child.read_line()
            code = await child.wait()
    except TimeoutError:
        return "the process that tries it does not end"
    finally:
        await child.end()
    if code or said != b"ok":
        return (said or b"").decode("utf-8", "replace") or f"the process that tries it ended with code {code}"
    await asyncio.to_thread(_remember, path, mark)
    return ""


def _mark() -> dict[str, object]:
    return {
        "revision": REVISION,
        "grpcio": grpc.__version__,
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
    }


def _remember(path: Path, mark: dict[str, object]) -> None:
    with suppress(OSError):  # the next start tries again
        with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=".frontend-", delete=False) as file:
            file.write(strict_json.text(mark))
        try:
            Path(file.name).replace(path)
        except OSError:
            Path(file.name).unlink()


# ── in the child process ──────────────────────────────────────────────────────────────────────────────────────────


class Failed(Exception):
    """A step did not do what the frontend needs."""


class _Echo:
    """Serves a stream: every message comes back."""

    def __init__(self, call: StreamCall) -> None:
        self._call = call

    def begin(self, data: bytes) -> None:
        """See StreamHandler."""
        self._call.reply(_Bytes(data))

    def ended(self, error: BaseException | None) -> None:
        """See StreamHandler."""


class _Bytes:
    """A message that is bytes."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def SerializeToString(self) -> bytes:  # noqa: N802  # as protobuf names it
        """Its bytes."""
        return self._data


class _Other(grpc.GenericRpcHandler):  # type: ignore[type-arg]
    """A method that stays with grpc.aio."""

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:  # type: ignore[type-arg]
        """The handler; None for another method."""

        async def other(request: bytes, _: object) -> bytes:
            return b"other " + request

        return grpc.unary_unary_rpc_method_handler(other) if details.method == OTHER else None


async def probe() -> None:
    """Starts a server and calls it. Raises Failed, Unsupported, or whatever a missing name raises."""
    left = asyncio.Event()
    deadlines: list[float | None] = []

    def echo(call: UnaryCall) -> None:
        deadlines.append(call.deadline)
        call.reply(call.message)

    def wait(call: UnaryCall) -> None:
        call.on_cancel = left.set

    def gate(model: str, _: str) -> ZooError | None:
        return QueueFull(model, 1, 1, 0.25) if model == "full" else None

    server = aio.server(options=[("grpc.max_receive_message_length", LARGEST_MESSAGE), ("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers((_Other(),))
    frontend = Frontend(server, asyncio.get_running_loop(), 1 << 24, gate=gate)
    frontend.add_unary(ECHO, echo)
    frontend.add_unary(WAIT, wait)
    frontend.add_stream(STREAM, _Echo, 8, Stopping())
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    frontend.start()
    async with aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        await _step("a unary call", _unary(channel))
        _expect(deadlines[0] is None and deadlines[1] is not None, "deadlines do not reach the server")
        await _step("a method of grpc.aio beside it", _beside(channel))
        await _step("a stream", _stream(channel))
        await _step("a refusal before the message", _refusal(channel))
        await _step("a message above the limit", _too_large(channel))
        await _step("a deadline", _deadline(channel, left))
    frontend.close()
    await server.stop(0.0)
    await asyncio.to_thread(frontend.stop, TIMEOUT_S / 3)
    _expect(not frontend.running, "the frontend does not end")


async def _step(name: str, work: Awaitable[None]) -> None:
    try:
        async with asyncio.timeout(TIMEOUT_S / 3):
            await work
    except TimeoutError:
        raise Failed(f"{name} has no answer") from None
    except aio.AioRpcError as error:
        raise Failed(f"{name} ends as {error.code().name}") from None


def _unary_call(channel: aio.Channel, method: str) -> Any:
    return channel.unary_unary(method, None, None)  # bytes as they are


def _expect(condition: bool, problem: str) -> None:
    if not condition:
        raise Failed(problem)


async def _unary(channel: aio.Channel) -> None:
    call = _unary_call(channel, ECHO)
    for message, timeout in ((b"", None), (b"x" * 100_000, 60.0)):
        _expect(await call(message, timeout=timeout) == message, "a unary call gives another message back")
    together = [b"%d" % i for i in range(100)]
    _expect([*await asyncio.gather(*map(call, together))] == together, "replies of concurrent calls are mixed up")


async def _beside(channel: aio.Channel) -> None:
    _expect(await _unary_call(channel, OTHER)(b"x") == b"other x", "a method of grpc.aio gives another answer")


async def _stream(channel: aio.Channel) -> None:
    sent = [b"%d" % i for i in range(40)]
    call = channel.stream_stream(STREAM, None, None)(iter(sent))
    _expect([message async for message in call] == sent, "a stream gives other messages back")


async def _refusal(channel: aio.Channel) -> None:
    try:
        await _unary_call(channel, ECHO)(b"x", metadata=((MODEL_KEY, "full"),))
    except aio.AioRpcError as error:
        trailers: Any = error.trailing_metadata()  # pairs, which the stubs do not know
        names = [key for key, _ in trailers]
        ok = error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED and DETAILS_KEY in names
        _expect(ok, "a refusal loses its status or its details")
    else:
        raise Failed("a refused call is answered")


async def _too_large(channel: aio.Channel) -> None:
    try:
        await _unary_call(channel, ECHO)(b"x" * (2 * LARGEST_MESSAGE))
    except aio.AioRpcError as error:
        _expect(error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED, f"a message above the limit is {error.code().name}")
    else:
        raise Failed("a message above the limit is taken")


async def _deadline(channel: aio.Channel, left: asyncio.Event) -> None:
    try:
        await _unary_call(channel, WAIT)(b"x", timeout=0.05)
    except aio.AioRpcError as error:
        _expect(error.code() is grpc.StatusCode.DEADLINE_EXCEEDED, f"a passed deadline is {error.code().name}")
    await left.wait()  # the server hears that the caller has left


def main() -> None:
    """Prints `ok`, or what does not work, and ends the process: after a failure there may be no other way."""
    try:
        asyncio.run(probe())
        said = "ok"
    except (Failed, Unsupported) as error:
        said = str(error)
    except Exception as error:  # names that are gone, and the like
        said = f"it fails with {type(error).__name__}"
    sys.stdout.write(f"{said}\n")
    sys.stdout.flush()
    os._exit(said != "ok")


if __name__ == "__main__":
    main()
