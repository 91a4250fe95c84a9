"""One call of a bidirectional stream.

The frontend's thread reads messages and sends replies; the event loop gets each message and hands over each reply. The two
share the queue of replies, which a lock guards.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from service.access.rate_limits import RateLimits
from service.errors import DeadlineExceeded, Draining, NotReady, ZooError
from service.observability.recorder import Call
from service.wire.calls import to_zoo_error
from service.wire.frontend.calls import Caller, Host
from service.wire.frontend.core import BUFFER_HINT, CoreCall, Event, Metadata, cancelled, message
from service.wire.status import code_of, status_of, trailers_of
from service.wire.stopping import Stopping
from service.wire.streams import UnderWay


class StreamHandler(Protocol):
    """What serves one stream. Its methods are called on the event loop."""

    def begin(self, data: bytes) -> None:
        """A message has come: sees to it that the stream's `reply` is called once for it. A ZooError ends the stream."""

    def ended(self, error: BaseException | None) -> None:
        """The stream is over. `error`: what ended it; CancelledError where the caller has left."""


class StreamCall(Caller):
    """One stream. At most `limit` messages are read before their replies have been sent, so that neither a fast sender nor a
    slow reader makes the server hold more. Once `stopping` is set, no request begins, and the stream ends with Draining when
    what had begun is answered: then a request without a reply has not begun."""

    def __init__(
        self,
        method: str,
        core: CoreCall,
        host: Host,
        open_: Callable[[StreamCall], StreamHandler],
        limit: int,
        stopping: Stopping,
    ) -> None:
        super().__init__(method, core)
        self.under_way: set[UnderWay] = set()
        """Requests that are being answered. Belongs to the event loop."""
        self._host = host
        self._open = open_
        self._limit = limit
        self._stopping = stopping
        self._handler: StreamHandler | None = None
        # on the frontend's thread
        self._refusal: ZooError | None = None
        self._limits: RateLimits | None = None  # where it counts among the principal's open streams
        self._reading = False
        self._half_closed = False  # the client sends no more
        self._closed = False
        self._left = 0  # messages whose replies have not been sent
        self._charges: deque[int] = deque()  # of these messages, the oldest first
        self._completed = False  # the event loop has been told that all replies are sent
        # shared
        self._replies: deque[bytes] = deque()  # the event loop appends, and whoever holds the lock takes
        self._lock = threading.Lock()
        # guarded by the lock
        self._sending = False
        self._sending_since = 0.0
        self._ended = False  # a status was sent, or the caller has left
        self._status: tuple[int, str, Metadata] | None = None  # to be sent after the replies
        self._status_pending = False
        # on the event loop
        self._flush_due = False
        self._over = False
        self._begun = 0  # messages without a reply
        self._all_received = False  # and begun, unless the server stops
        self._skipped = False  # a message came that does not begin, since the server stops

    # ── on the frontend's thread ──────────────────────────────────────────────────────────────────────────────

    def admitted(self) -> None:
        """See AnyCall."""
        try:
            self._host.check_room_for_stream()
            if self.principal.limits is not None:
                self.principal.limits.begin_stream()
                self._limits = self.principal.limits
        except ZooError as error:
            self._host.refuse(self, error)
            return
        self._begin_call()
        self._read_next()

    def refuse(self, error: ZooError) -> None:
        """See AnyCall."""
        self._refusal = error
        self._begin_call()

    def _begin_call(self) -> None:
        self.core.watch_close(self._call_closed)
        self._sending, self._sending_since = True, time.monotonic()
        self.core.send_metadata(self._metadata_sent)
        self._host.deliver(StreamCall._start, self)

    def _settled(self) -> bool:
        return self._closed and not self._reading and not self._sending and not self._status_pending and self._over

    def cancel(self) -> None:
        """See AnyCall."""
        self.core.cancel()

    def _read_next(self) -> None:
        if self._reading or self._half_closed or self._closed or self._left >= self._limit:
            return
        if self._host.credit.exhausted:
            self._host.starve(self)
            return
        self._reading = True
        self.core.read(self._message_read)

    def feed(self) -> None:
        """There may be room for another message."""
        self._read_next()

    def stalled(self, before: float) -> bool:
        """See AnyCall."""
        return self._sending and self._sending_since < before

    def _message_read(self, event: Event) -> None:
        self._reading = False
        data = message(event)
        if data is None:
            self._half_closed = True
            self._host.deliver(StreamCall._received_all, self)
            self._tell_if_complete()
        else:
            self._left += 1
            self._charges.append(len(data))
            self._host.credit.hold(len(data))
            self._host.deliver(self._begin, data)
            self._read_next()
        self.settle()

    def _metadata_sent(self, _: Event) -> None:
        with self._lock:
            self._send_next()
        self._tell_if_complete()
        self.settle()

    def _message_sent(self, _: Event) -> None:
        with self._lock:
            self._send_next()
        self._left -= 1
        self._host.credit.release(self._charges.popleft())
        self._tell_if_complete()
        self._read_next()
        self.settle()

    def _status_sent(self, _: Event) -> None:
        self._status_pending = False
        self.settle()

    def _call_closed(self, event: Event) -> None:
        self._closed = True
        if cancelled(event):
            with self._lock:
                answered, self._ended = self._ended, True
            if not answered:
                self._host.deliver(StreamCall._leave, self)
        self.settle()

    def _send_next(self) -> None:
        """Sends the oldest reply, or the status after the last. Nothing may be under way; the caller holds the lock."""
        self._sending = bool(self._replies) and not self._ended
        if self._sending:
            data = self._replies.popleft()
            self._sending_since = time.monotonic()
            self.core.send(data, self._message_sent, BUFFER_HINT if self._replies else 0)
        elif self._status is not None and not self._ended:
            self._ended = self._status_pending = True
            self.core.end(*self._status, self._status_sent, first=False)

    def _tell_if_complete(self) -> None:
        """All requests have come and all replies are sent: the event loop decides about the status."""
        if self._half_closed and not self._left and not self._completed:
            self._completed = True
            self._host.deliver(StreamCall._complete, self)

    def settle(self) -> None:
        """See AnyCall."""
        if self._settled():
            while self._charges:
                self._host.credit.release(self._charges.popleft())
            if self._limits is not None:
                self._limits.end_stream()
                self._limits = None
            self._host.finished(self)

    # ── on the event loop ─────────────────────────────────────────────────────────────────────────────────────

    def reply(self, reply: Any, request: UnderWay | None = None) -> None:
        """Sends a reply; `request` is what was under way for it."""
        if request is not None:
            self.under_way.discard(request)
        if self._over:
            return
        self._begun -= 1
        try:
            data = reply.SerializeToString()
        except Exception as error:
            self._end(error)
            return
        self._replies.append(data)
        if not self._flush_due:
            # Once for all replies of this turn of the loop: the core puts them into one packet.
            self._flush_due = True
            asyncio.get_running_loop().call_soon(self._flush)
        if self._stopping.is_set:
            self._stop()

    def _flush(self) -> None:
        self._flush_due = False
        with self._lock:
            if not self._sending:
                self._send_next()

    def start(self, answer: Coroutine[Any, Any, Any]) -> None:
        """Has a coroutine answer a request. An exception of it ends the stream."""
        task = asyncio.get_running_loop().create_task(answer)
        self.under_way.add(task)
        task.add_done_callback(self._answered)

    def _answered(self, task: asyncio.Task[Any]) -> None:
        if self._over:
            return
        error = (
            NotReady("the server ended a request of the stream; try again") if task.cancelled() else task.exception()
        )
        if error is None:
            self.reply(task.result(), task)
        else:
            self.under_way.discard(task)
            self._end(error)

    def _start(self) -> None:
        try:
            if self._refusal is not None:
                raise self._refusal
            self._handler = self._open(self)
        except Exception as error:
            self._end(error)
            return
        self._stopping.listen(self._stop)
        if self._stopping.is_set:
            self._stop()

    def _stop(self) -> None:
        """The server stops: ends the stream, unless requests are under way or the caller has sent all of its requests."""
        if not self._over and not self._begun and (self._skipped or not self._all_received):
            self._end(Draining())

    def _begin(self, data: bytes) -> None:
        if self._over:
            return
        if self._stopping.is_set:
            self._skipped = True
            self._stop()
            return
        assert self._handler is not None
        self._begun += 1
        try:
            self._handler.begin(data)
        except Exception as error:
            self._end(error)

    def _received_all(self) -> None:
        self._all_received = True

    def _complete(self) -> None:
        if self._ended:  # a caller who leaves also sends no more; `_leave` follows
            return
        remaining = self.time_remaining()
        late = (
            remaining is not None and not remaining
        )  # the core, which cancels the call for that, may be a moment late
        self._end(DeadlineExceeded("before the stream had ended") if late else None)

    def _leave(self) -> None:
        if not self._over:
            self._finish(asyncio.CancelledError())
        self._host.left(self)

    def _end(self, error: BaseException | None) -> None:
        """Sends the status after the replies so far: OK, or that of an error as the handler shows it."""
        if self._over:
            return
        code, text = 0, ""
        trailers: Metadata = ()
        shown = self._finish(error)
        if shown is not None:
            status = status_of(shown)
            code, text, trailers = code_of(shown).value[0], status.message, trailers_of(status)
        with self._lock:
            self._status = (code, text, trailers)
            if not self._sending:
                self._send_next()

    def _finish(self, error: BaseException | None) -> ZooError | None:
        """Cancels what is under way; gives the error as clients may see it."""
        self._over = True
        self._stopping.forget(self._stop)
        left, self.under_way = tuple(self.under_way), set()
        try:
            for request in left:
                request.cancel()
            if self._handler is not None:
                self._handler.ended(error)
        except Exception as raised:  # by design a ZooError; any other must not leave the caller without a status
            error = raised
        return to_zoo_error(error, "stream", Call()) if isinstance(error, Exception) else None
