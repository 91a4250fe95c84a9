"""One unary call, and what every call of the frontend has.

The core's events come on the frontend's thread; replies and the caller's leaving are the event loop's. So no field has two
writers, and a call needs no lock.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol

from service.access.principal import ANYONE, Principal
from service.access.rate_limits import RateLimits
from service.errors import NotReady, ZooError
from service.wire.frontend.core import CoreCall, Event, Metadata, cancelled, message
from service.wire.frontend.credit import ReadCredit
from service.wire.status import code_of, status_of, trailers_of

MODEL_KEY, VERSION_KEY = "zoo-model", "zoo-version"
"""Metadata in which a client may repeat the model and the version of its message, so that it is refused before it is read."""

UNIMPLEMENTED = 12
"""The status code of a call with a wrong number of messages: https://grpc.github.io/grpc/core/md_doc_statuscodes.html"""


class Host(Protocol):
    """The part of the frontend that a call needs."""

    credit: ReadCredit

    def deliver(self, function: Callable[[Any], None], argument: Any) -> None:
        """Has the event loop call `function(argument)` soon. On the frontend's thread."""

    def finished(self, call: AnyCall) -> None:
        """The call has had its last event. On the frontend's thread."""

    def admitted(self, call: UnaryCall) -> None:
        """The principal of the call is known, and may use the method. On the frontend's thread."""

    def refuse(self, call: AnyCall, error: ZooError) -> None:
        """Refuses a call before anything of it was read, and counts it. On the frontend's thread."""

    def starve(self, call: StreamCaller) -> None:
        """A stream has no room for another message; its `feed` is called when there may be some. On the frontend's thread."""

    def check_room_for_stream(self) -> None:
        """Raises ServerBusy where as many streams are open as may be. On the frontend's thread."""

    def arrived(self, call: UnaryCall) -> None:
        """The message of a call was read, or will not come. On the frontend's thread."""

    def left_unread(self, call: UnaryCall) -> None:
        """The caller has left before the message was read. On the frontend's thread."""

    def left(self, call: AnyCall) -> None:
        """The event loop knows that the caller has left. From the loop."""


class StreamCaller(Protocol):
    """A stream, as the frontend feeds it."""

    def feed(self) -> None:
        """Reads the next message if there is room."""


class AnyCall(Protocol):
    """A call of either kind, as the frontend keeps it."""

    method: str
    core: CoreCall
    principal: Principal
    """Whose call it is. Set once, on the frontend's thread, before the event loop knows the call."""

    def admitted(self) -> None:
        """The call may begin. On the frontend's thread."""

    def refuse(self, error: ZooError) -> None:
        """Ends the call before anything of it was read. On the frontend's thread."""

    def stalled(self, before: float) -> bool:
        """Whether what is sent to the caller has waited for it since before a time of `time.monotonic()`. On the frontend's
        thread."""

    def settle(self) -> None:
        """Gives back what the call holds, if its last event has come. On the frontend's thread."""

    def cancel(self) -> None:
        """Ends it at once."""


class Caller:
    """Who calls, and the deadline."""

    __slots__ = ("core", "deadline", "method", "principal")

    def __init__(self, method: str, core: CoreCall) -> None:
        self.method = method
        self.core = core
        self.deadline = core.deadline
        self.principal = ANYONE

    def time_remaining(self) -> float | None:
        """Seconds until the deadline, at least 0; None where the client set none. As a grpc.aio context says it."""
        return None if self.deadline is None else max(0.0, self.deadline - time.monotonic())

    def code(self) -> int:
        """The status code so far; as a grpc.aio context says it."""
        return 0

    def invocation_metadata(self) -> Metadata:
        """What the caller sent beside the message; as a grpc.aio context says it."""
        return self.core.metadata

    def peer(self) -> str:
        """The caller's address; as a grpc.aio context says it."""
        return self.core.name_of_peer()


class UnaryCall(Caller):
    """One unary call. `message` is there when its handler is called; the handler sees to it that `reply` or `fail` is called
    once, unless `on_cancel` was called before."""

    __slots__ = (
        "_answered",
        "_answered_at",
        "_charge",
        "_closed",
        "_delivered",
        "_gone",
        "_handler",
        "_host",
        "_limits",
        "_read",
        "_sent",
        "accepted",
        "hint",
        "message",
        "on_cancel",
    )

    def __init__(self, method: str, core: CoreCall, host: Host, handler: Callable[[UnaryCall], None]) -> None:
        super().__init__(method, core)
        self.accepted = time.monotonic()
        """When the call came, before its message was read."""
        self.hint = _hint(core.metadata)
        """Model and version as the metadata name them; None where they name no model."""
        self.message = b""
        self.on_cancel: Callable[[], None] | None = None
        """Called on the event loop when the caller has left before the answer. Set by the handler."""
        self._host = host
        self._handler = handler
        self._charge = 0
        # written on the frontend's thread
        self._limits: RateLimits | None = None  # where it counts among the principal's calls at once
        self._read = False  # no event of a read is to come
        self._delivered = False  # the event loop knows the call
        self._closed = False
        self._sent = False
        # written by the event loop, or by the frontend's thread before the loop knows the call
        self._answered = False
        self._answered_at = 0.0
        self._gone = False

    # ── on the frontend's thread ──────────────────────────────────────────────────────────────────────────────

    def begin_read(self) -> None:
        """Reads the message, which `credit` has room for."""
        self._charge = self._host.credit.begin()
        self.core.read(self._message_read)

    def admitted(self) -> None:
        """See AnyCall."""
        self._host.admitted(self)

    def count(self) -> None:
        """Counts the call among the principal's calls at once, until it ends. Raises RateLimited."""
        limits = self.principal.limits
        if limits is not None:
            limits.begin()
            self._limits = limits

    def refuse(self, error: ZooError) -> None:
        """See AnyCall."""
        self._read = True
        self.fail(error)

    def stalled(self, before: float) -> bool:
        """See AnyCall."""
        return self._answered and not self._sent and self._answered_at < before

    def abandon(self) -> None:
        """The caller has left before its message was read."""
        self._read = True
        self.settle()

    def watch(self) -> None:
        """Waits for the end of the call."""
        self.core.watch_close(self._call_closed)

    def _settled(self) -> bool:
        return self._read and self._closed and (self._sent or (self._gone and not self._answered))

    def late(self, error: NotReady) -> None:
        """Ends the call, whose message has not come."""
        if not self._answered:
            self.fail(error)

    def _message_read(self, event: Event) -> None:
        self._read = True
        data = message(event)
        self._charge = self._host.credit.arrived(self._charge, 0 if data is None else len(data))
        self._host.arrived(self)
        if self._answered:  # it was late
            self.settle()
        elif data is not None and not self._gone:
            self.message = data
            self._delivered = True
            self._host.deliver(self._handler, self)
        elif self._closed:
            self.settle()
        else:
            # The client has closed its side without a message, or the core ends the call for a message above the limit, or
            # the caller leaves. The core's own status wins where it has one.
            self._end(UNIMPLEMENTED, "the call has one request message; none came", ())

    def _call_closed(self, event: Event) -> None:
        self._closed = True
        if not self._answered and cancelled(event):
            if self._delivered:
                self._host.deliver(UnaryCall._leave, self)
            else:
                self._gone = True  # a read that is under way still has its event to come
                self._host.left_unread(self)
        self.settle()

    def _reply_sent(self, _: Event) -> None:
        self._sent = True
        self.settle()

    def settle(self) -> None:
        """See AnyCall."""
        if self._settled():
            self._host.credit.release(self._charge)
            self._charge = 0
            if self._limits is not None:
                self._limits.end()
                self._limits = None
            self._host.finished(self)

    # ── on the event loop ─────────────────────────────────────────────────────────────────────────────────────

    def reply(self, data: bytes) -> None:
        """Answers. Does nothing where the caller has left."""
        if self._gone or self._answered:
            return
        self._answered_at, self._answered = time.monotonic(), True
        self.message, self.on_cancel = b"", None
        self.core.reply(data, self._reply_sent)

    def fail(self, error: ZooError, request_id: str = "") -> None:
        """Answers with the error's status and details. Does nothing where the caller has left."""
        status = status_of(error, request_id)
        self._end(code_of(error).value[0], status.message, trailers_of(status))

    def cancel(self) -> None:
        """See AnyCall."""
        self.core.cancel()

    def _end(self, code: int, text: str, trailers: Metadata) -> None:
        if self._gone or self._answered:
            return
        self._answered_at, self._answered = time.monotonic(), True
        self.message, self.on_cancel = b"", None
        self.core.end(code, text, trailers, self._reply_sent, first=True)

    def _leave(self) -> None:
        if self._answered:
            return
        self._gone = True
        on_cancel, self.on_cancel, self.message = self.on_cancel, None, b""
        self._host.left(self)
        if on_cancel is not None:
            on_cancel()


def _hint(metadata: Metadata) -> tuple[str, str] | None:
    model = version = ""
    for key, value in metadata:
        if key == MODEL_KEY:
            model = str(value)
        elif key == VERSION_KEY:
            version = str(value)
    return (model, version) if model else None
