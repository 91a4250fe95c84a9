"""The parts of grpcio's core that the frontend uses. No other module knows `grpc._cython.cygrpc`.

These classes are what grpcio's own synchronous server is written with, but they are not a public interface. So the probe
(`probe.py`) tries them before a server depends on them.
"""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from grpc import aio
from grpc._cython import cygrpc  # type: ignore[attr-defined]  # the stubs leave it out

Event = Any
"""What `CoreQueue.next` gives: its `tag` is what the operation was started with."""
Tag = Callable[[Event], None]
"""Called with the event of a completed operation, on the thread that polls the queue."""
Metadata = Sequence[tuple[str, str | bytes]]

_NO_FLAGS = 0
_NO_METADATA: Metadata = ()
_FAR_FUTURE_S = 1e15
"""Seconds since the epoch. The core gives a deadline beyond this for a call without one."""
_LONG_AGO_S = 1.0
"""The same. A deadline of now would wait up to a millisecond, since the core rounds it up."""
BUFFER_HINT = 1
"""Flag of a message that another one follows at once: the core may send both in one packet."""


class Unsupported(Exception):
    """This release of grpcio does not have what the frontend needs."""


class CoreQueue:
    """A completion queue on the core server inside a grpc.aio server. Construct it before the server starts."""

    def __init__(self, server: aio.Server) -> None:
        """Raises Unsupported."""
        # The core server is an attribute of a Cython class, which Python code cannot name; the collector finds it.
        inner = getattr(server, "_server", None)
        found = [part for part in gc.get_referents(inner) if type(part) is cygrpc.Server]
        if len(found) != 1:
            raise Unsupported(f"expected one core server inside grpc.aio's, got {len(found)}")
        self._server = found[0]
        self._queue = cygrpc.CompletionQueue()
        self._server.register_completion_queue(self._queue)
        self._requesting = threading.Lock()
        self._closed = False

    def register(self, method: str) -> None:
        """Takes calls of a method away from grpc.aio. `method`: `/package.Service/Method`. Before the server starts."""
        self._server.register_method(method)

    def request(self, method: str, tag: Tag) -> None:
        """Completes with the next call of a method. Raises ValueError after `close`."""
        with self._requesting:
            if self._closed:
                raise ValueError("the queue is closed")
            self._server.request_registered_call(self._queue, self._queue, method, tag)

    def close(self) -> None:
        """Requests no more calls. Call it before the server stops: a request that is under way on another thread while grpc.aio
        frees the core's server would use freed memory. Returns once none is under way."""
        with self._requesting:
            self._closed = True

    def next(self, timeout_s: float) -> Event | None:
        """The next completed operation; None after a timeout. With 0 it does not wait."""
        event = self._queue.poll(time.time() + timeout_s if timeout_s else _LONG_AGO_S)
        return None if event.completion_type == cygrpc.CompletionType.queue_timeout else event

    def shutdown(self) -> None:
        """Ends the queue. A batch that is started afterwards aborts the process."""
        self._queue.shutdown()
        while self._queue.poll(time.time() + 1.0).completion_type != cygrpc.CompletionType.queue_shutdown:
            pass


class CoreCall:
    """A call that the core accepted. Operations complete on the queue, with the tags that they are given."""

    __slots__ = ("_call", "deadline", "metadata")

    def __init__(self, event: Event) -> None:
        self._call = event.call
        self.metadata: Metadata = event.invocation_metadata
        until = event.call_details.deadline
        self.deadline: float | None = None if until > _FAR_FUTURE_S else time.monotonic() + until - time.time()
        """On the clock of `time.monotonic()`; None where the client set none."""

    def name_of_peer(self) -> str:
        """The client's address, as gRPC names it."""
        peer: bytes = self._call.peer()
        return peer.decode("ascii", "replace")

    def read(self, tag: Tag) -> None:
        """Reads the next message; see `message`."""
        _start(self._call, (cygrpc.ReceiveMessageOperation(_NO_FLAGS),), tag)

    def watch_close(self, tag: Tag) -> None:
        """Completes when the call has ended; see `cancelled`. Without this the core never frees an unanswered call."""
        _start(self._call, (cygrpc.ReceiveCloseOnServerOperation(_NO_FLAGS),), tag)

    def send_metadata(self, tag: Tag) -> None:
        """Sends the initial metadata, once, before the first `send`."""
        _start(self._call, (cygrpc.SendInitialMetadataOperation(_NO_METADATA, _NO_FLAGS),), tag)

    def send(self, message: bytes, tag: Tag, flags: int = _NO_FLAGS) -> None:
        """Sends one message of a stream. At most one `send` is under way."""
        _start(self._call, (cygrpc.SendMessageOperation(message, flags),), tag)

    def reply(self, message: bytes, tag: Tag) -> None:
        """Answers a unary call with one message and the status OK."""
        operations = (
            cygrpc.SendInitialMetadataOperation(_NO_METADATA, _NO_FLAGS),
            cygrpc.SendMessageOperation(message, _NO_FLAGS),
            cygrpc.SendStatusFromServerOperation(_NO_METADATA, 0, b"", _NO_FLAGS),
        )
        _start(self._call, operations, tag)

    def end(self, code: int, message: str, trailers: Metadata, tag: Tag, *, first: bool) -> None:
        """Ends the call with a status. `first`: nothing was sent before."""
        status = cygrpc.SendStatusFromServerOperation(trailers, code, message.encode(), _NO_FLAGS)
        if first:
            _start(self._call, (cygrpc.SendInitialMetadataOperation(_NO_METADATA, _NO_FLAGS), status), tag)
        else:
            _start(self._call, (status,), tag)

    def cancel(self) -> None:
        """Ends the call at once, without a status of ours."""
        self._call.cancel()


def message(event: Event) -> bytes | None:
    """The message of a completed `read`; None where the client sends no more, or has left."""
    data: bytes | None = event.batch_operations[0].message()
    return data


def cancelled(event: Event) -> bool:
    """Of a completed `watch_close`: whether the call ended without our status reaching the client."""
    return bool(event.batch_operations[0].cancelled())


def _start(call: Any, operations: tuple[Any, ...], tag: Tag) -> None:
    # The core returns an error instead of raising it. The operation then never completes.
    error = call.start_server_batch(operations, tag)
    if error:
        raise RuntimeError(f"the core refused an operation: {error}")
