"""Holds back clients that send much or read little, where the memory of requests is used up. Belongs to the frontend's thread."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Collection

from service.errors import ServerBusy
from service.observability.log import logger
from service.wire.frontend.calls import AnyCall, StreamCaller
from service.wire.frontend.credit import ReadCredit

log = logger(__name__)

WRITE_GRACE_S = 30.0
"""A client may take any time to read a reply, unless requests that are held take all the memory that they may."""
LOOK_S = 1.0
"""Least time between two looks for clients that do not read."""
MAX_STREAMS = 4096
"""Streams that are open at once; more are refused. Each may be sending one message."""
RETRY_S = 0.5
"""When a stream that was refused for this may try again."""


class Backpressure:
    """Streams wait for room before they read a message; clients that do not read lose their calls while others need the room."""

    def __init__(
        self, credit: ReadCredit, calls: Collection[AnyCall], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`calls`: those that are open, kept by the caller."""
        self._credit = credit
        self._calls = calls
        self._clock = clock
        self._starved: OrderedDict[StreamCaller, None] = OrderedDict()  # an ordered set
        self._streams = 0
        self._looked_at = clock()

    @property
    def due(self) -> bool:
        """Whether `relieve` has work."""
        return bool(self._starved) or self._credit.exhausted

    def stream_opened(self) -> None:
        """A stream has come; `stream_ended` follows once."""
        self._streams += 1

    def stream_ended(self, stream: StreamCaller) -> None:
        """A stream has had its last event."""
        self._streams -= 1
        self._starved.pop(stream, None)

    def check_room(self) -> None:
        """Raises ServerBusy where as many streams are open as may be, the one that has come included."""
        if self._streams > MAX_STREAMS:
            raise ServerBusy(RETRY_S)

    def starve(self, stream: StreamCaller) -> None:
        """A stream has no room for another message; `relieve` calls its `feed` when there may be some."""
        self._starved[stream] = None

    def relieve(self) -> None:
        """Lets starved streams read, the longest waiting first, and ends calls of clients that keep the room and do not read."""
        for _ in range(len(self._starved)):
            if self._credit.exhausted:
                break
            stream, _ = self._starved.popitem(last=False)
            stream.feed()
        now = self._clock()
        if not self._credit.exhausted or now - self._looked_at < LOOK_S:
            return
        self._looked_at = now
        for call in [call for call in self._calls if call.stalled(now - WRITE_GRACE_S)]:
            log.warning("a call is ended: its client does not read", method=call.method, peer=call.core.name_of_peer())
            call.cancel()
