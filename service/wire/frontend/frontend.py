"""The frontend: a thread that accepts calls and reads their messages, and hands them to the event loop in bursts.

Nothing on the thread may block: while it stands still, the core keeps some thousand calls and then cancels new ones.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from functools import partial
from typing import Any

from grpc import aio

from service.errors import NotReady, ServerBusy, ZooError
from service.observability.log import logger
from service.observability.recorder import Call
from service.wire.access.guard import Guard
from service.wire.calls import to_zoo_error
from service.wire.frontend.admission import Admission
from service.wire.frontend.backpressure import Backpressure
from service.wire.frontend.calls import AnyCall, StreamCaller, UnaryCall
from service.wire.frontend.core import CoreCall, CoreQueue, Event
from service.wire.frontend.credit import ReadCredit
from service.wire.frontend.streams import StreamCall, StreamHandler
from service.wire.stopping import Stopping

log = logger(__name__)

ARMED = 1024
"""Calls of each method that the core may hand over before the thread asks for more. Beyond these the core keeps calls itself, and
from some 1,000 of them on it cancels a growing share at random."""
BURST = 64
"""Events that the thread takes before it wakes the event loop, and messages that the loop handles before its other work."""
POLL_S = 0.1
"""Longest wait for an event: what a departed caller held is given back after it at the latest, and so is the thread."""
STOPPING_POLL_S = 0.02
"""The same once the server has stopped."""
MAX_PARKED = 2048
"""Calls that wait unread for their turn; more are refused."""
READ_GRACE_S = 10.0
"""A message may take any time to arrive, unless other calls wait to be read."""
RETRY_S = 0.5
"""When a call that was refused unread may try again."""

Gate = Callable[[str, str], ZooError | None]
"""Gets model and version as the metadata of a call name them; gives the reason for which the call is refused unread. Called on
the frontend's thread."""
OnRefused = Callable[[str, ZooError, AnyCall], None]
"""Called on the frontend's thread with the method and the error of each call that was refused unread, and with the call."""


class Frontend:
    """Serves methods of a grpc.aio server. Add the methods before the server starts; then `start`. Before the server stops,
    `close`; after it has stopped, `stop`."""

    def __init__(
        self,
        server: aio.Server,
        loop: asyncio.AbstractEventLoop,
        limit_bytes: int,
        guard: Guard | None = None,
        gate: Gate = lambda _model, _version: None,
        on_refused: OnRefused = lambda _method, _error, _call: None,
        on_relieved: Callable[[], object] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`limit_bytes`: of requests that are being read or answered. `on_relieved` is called on the thread when a flood is
        over. Raises Unsupported where this grpcio lacks what is needed."""
        self.credit = ReadCredit(limit_bytes)
        self._queue = CoreQueue(server)
        self._loop = loop
        self._admission = Admission(guard or Guard(), loop, self.deliver, self.refuse)
        self._gate = gate
        self._on_refused = on_refused
        self._on_relieved = on_relieved
        self._clock = clock
        self._accept: dict[str, Callable[[CoreCall], None]] = {}
        self._tags: dict[str, Callable[[Event], None]] = {}
        self._thread = threading.Thread(target=self._run, name="frontend", daemon=True)
        # on the thread
        self._armed = 0
        self._open: set[AnyCall] = set()
        self._reading: OrderedDict[UnaryCall, float] = OrderedDict()  # and since when
        self._parked: OrderedDict[UnaryCall, None] = OrderedDict()  # an ordered set
        self._backpressure = Backpressure(self.credit, self._open, clock)
        # shared, each an atomic operation of a deque or a flag
        self._inbox: deque[tuple[Callable[[Any], None], Any]] = deque()
        self._woken = False
        self._left: deque[AnyCall] = deque()
        self._stopping = False

    # ── life ──────────────────────────────────────────────────────────────────────────────────────────────────

    def add_unary(self, method: str, handler: Callable[[UnaryCall], None]) -> None:
        """Serves a unary method, `/package.Service/Method`. `handler` is called on the event loop with each call."""
        self._add(method, partial(self._accept_unary, method, handler))

    def add_stream(
        self, method: str, open_: Callable[[StreamCall], StreamHandler], limit: int, stopping: Stopping
    ) -> None:
        """Serves a bidirectional method. `open_` is called on the event loop with each call. See StreamCall for the others."""
        self._add(method, partial(self._accept_stream, method, open_, limit, stopping))

    def _add(self, method: str, accept: Callable[[CoreCall], None]) -> None:
        self._queue.register(method)
        self._accept[method] = accept
        self._tags[method] = partial(self._called, method)

    def start(self) -> None:
        """Begins to serve. The server must have been started."""
        for method in self._accept:
            for _ in range(ARMED):
                self._arm(method)
        self._thread.start()

    @property
    def running(self) -> bool:
        """Whether its thread runs."""
        return self._thread.is_alive()

    def close(self) -> None:
        """Accepts no more calls. See `CoreQueue.close`."""
        self._queue.close()

    def stop(self, timeout_s: float = 5.0) -> None:
        """Ends the thread once every call is over. Blocks; the server must have been stopped, and the event loop must run."""
        self._stopping = True
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            log.warning("the frontend did not end in time", calls=len(self._open))

    # ── on the thread ─────────────────────────────────────────────────────────────────────────────────────────

    def _run(self) -> None:
        taken = 0
        while not (self._stopping and not self._armed and not self._open):
            if self._inbox and not self._woken:
                # Takes what has come already, so that the event loop wakes once for all of it.
                event = self._queue.next(0.0) if taken < BURST else None
                if event is None:
                    taken = 0
                    self._wake()
                    continue
                taken += 1
            else:
                event = self._queue.next(STOPPING_POLL_S if self._stopping else POLL_S)
            try:
                if event is not None:
                    event.tag(event)
                if self._left or self._parked or self._admission.due or self._backpressure.due:
                    self._look_after()
            except Exception:  # of one call: the thread serves the others
                log.exception("an event of a call failed")
            event = None  # or it would keep its call, whose end the core waits for, until the next event
        self._queue.shutdown()

    def _wake(self) -> None:
        self._woken = True
        try:
            self._loop.call_soon_threadsafe(self._drain)
        except RuntimeError:  # the loop has closed: the server is gone
            self._inbox.clear()

    def _look_after(self) -> None:
        while self._left:
            self._left.popleft().settle()
        self._admission.settle()
        if self._parked:
            now = self._clock()
            for call, since in [*self._reading.items()]:
                if now - since < READ_GRACE_S:
                    break
                del self._reading[call]
                error = NotReady("the message took too long to arrive while other requests waited to be read")
                call.late(error)
                self._on_refused(call.method, error, call)
            self._read_parked()
        if self._backpressure.due:
            self._backpressure.relieve()

    def _arm(self, method: str) -> None:
        try:
            self._queue.request(method, self._tags[method])
        except ValueError:  # the server stops
            return
        self._armed += 1

    def _called(self, method: str, event: Event) -> None:
        self._armed -= 1
        if not event.success:  # the server stops
            return
        self._arm(method)
        self._accept[method](CoreCall(event))

    def _accept_unary(self, method: str, handler: Callable[[UnaryCall], None], core: CoreCall) -> None:
        call = UnaryCall(method, core, self, handler)
        self._open.add(call)
        call.watch()
        self._admission.admit(call)

    def _accept_stream(
        self,
        method: str,
        open_: Callable[[StreamCall], StreamHandler],
        limit: int,
        stopping: Stopping,
        core: CoreCall,
    ) -> None:
        call = StreamCall(method, core, self, open_, limit, stopping)
        self._open.add(call)
        self._backpressure.stream_opened()
        self._admission.admit(call)

    def starve(self, call: StreamCaller) -> None:
        """See Host."""
        self._backpressure.starve(call)

    def check_room_for_stream(self) -> None:
        """See Host."""
        self._backpressure.check_room()

    def admitted(self, call: UnaryCall) -> None:
        """See Host."""
        error = self._refusal(call)
        if error is not None:
            self.refuse(call, error)
        elif self.credit.busy or self._parked:
            self._parked[call] = None
        else:
            self._read(call)

    def _refusal(self, call: UnaryCall) -> ZooError | None:
        if self.credit.exhausted or len(self._parked) >= MAX_PARKED:
            return ServerBusy(RETRY_S)
        try:
            if call.hint is not None:
                call.principal.require_model(call.hint[0])
                if (full := self._gate(*call.hint)) is not None:
                    return full
            call.count()
        except ZooError as error:
            return error
        except Exception:  # must not leave the call without an answer
            log.exception("a call could not be judged by its metadata")
        return None

    def refuse(self, call: AnyCall, error: ZooError) -> None:
        """See Host."""
        call.refuse(error)
        self._on_refused(f"{call.method}.stream" if isinstance(call, StreamCall) else call.method, error, call)

    def _read(self, call: UnaryCall) -> None:
        self._reading[call] = self._clock()
        call.begin_read()

    def _read_parked(self) -> None:
        while self._parked and not self.credit.busy:
            call, _ = self._parked.popitem(last=False)
            if self.credit.exhausted:
                self.refuse(call, ServerBusy(RETRY_S))
            else:
                self._read(call)

    # ── what calls need: see Host ─────────────────────────────────────────────────────────────────────────────

    def deliver(self, function: Callable[[Any], None], argument: Any) -> None:
        """See Host."""
        self._inbox.append((function, argument))

    def arrived(self, call: UnaryCall) -> None:
        """See Host."""
        self._reading.pop(call, None)
        if self._parked:
            self._read_parked()

    def left_unread(self, call: UnaryCall) -> None:
        """See Host."""
        if self._admission.forget(call) or call in self._parked:
            self._parked.pop(call, None)
            call.abandon()

    def finished(self, call: AnyCall) -> None:
        """See Host."""
        self._open.discard(call)
        if isinstance(call, StreamCall):
            self._backpressure.stream_ended(call)
        if self.credit.relieved():
            self._on_relieved()

    def left(self, call: AnyCall) -> None:
        """See Host."""
        self._left.append(call)

    # ── on the event loop ─────────────────────────────────────────────────────────────────────────────────────

    def _drain(self) -> None:
        """Handles one burst of what has arrived. The rest comes after the loop's other work."""
        self._woken = False
        inbox = self._inbox
        for _ in range(BURST):
            if not inbox:
                return
            function, argument = inbox.popleft()
            try:
                function(argument)
            except Exception as error:  # of one call: the others of the burst are handled all the same
                shown = to_zoo_error(error, "", Call())
                if isinstance(argument, UnaryCall):
                    argument.fail(shown)
        if inbox and not self._woken:
            self._woken = True
            self._loop.call_soon(self._drain)
