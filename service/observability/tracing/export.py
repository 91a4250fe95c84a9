"""Delivers finished spans from a thread of its own. A collector that is slow or gone costs spans, never a request."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from service.observability.log import logger
from service.observability.tracing.request_spans import FinishedRequest, spans_of
from service.observability.tracing.span import Span

INTERVAL_S = 1.0
"""Between two deliveries."""
MOST_WAITING = 512
"""Requests, or spans of jobs, that wait for the next delivery. So at most as many requests a second are traced, and what tracing
may cost is bounded, even where every caller asks for it."""
BATCH = 512
"""Spans of one message to the collector."""
LOG_INTERVAL_S = 60.0
"""Between two log lines about a collector that takes nothing."""

log = logger(__name__)


class Collector(Protocol):
    """Where spans go."""

    def send(self, spans: Sequence[Span]) -> str:
        """Sends spans; gives why they were not taken, or an empty text. Blocks for a bounded time, and never raises."""

    def close(self) -> None:
        """Ends a `send` that waits; called from another thread."""


class SpanExport:
    """A bounded queue and its thread. `offer` and `offer_spans` may be called from any thread; `start` and `stop` once."""

    def __init__(
        self,
        collector: Collector,
        interval_s: float = INTERVAL_S,
        most_waiting: int = MOST_WAITING,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.lost = 0
        """Spans of jobs, and requests, that found no room, and spans that the collector did not take."""
        self._collector = collector
        self._interval_s, self._most_waiting, self._clock = interval_s, most_waiting, clock
        self._waiting: deque[FinishedRequest | Span] = deque()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="traces", daemon=True)
        # of the thread
        self._failing = False
        self._lost_logged = 0
        self._logged_at = float("-inf")

    def start(self) -> None:
        """Begins to deliver."""
        self._thread.start()

    def offer(self, finished: FinishedRequest | Span) -> None:
        """Takes a request or a span for the next delivery, or counts it as lost. Never blocks."""
        if len(self._waiting) >= self._most_waiting:
            self.lost += 1
        else:
            self._waiting.append(finished)

    def stop(self, timeout_s: float) -> None:
        """Delivers what waits, within `timeout_s`, and ends the thread. Blocks."""
        self._stopping.set()
        self._thread.join(timeout_s)
        self._collector.close()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        ended = False
        while not ended:
            ended = self._stopping.wait(self._interval_s)
            try:
                self.deliver()
            except Exception:  # of one span: the thread goes on
                log.exception("spans could not be delivered")

    def deliver(self) -> None:
        """Sends all that waits. Called by the thread, and by tests without one."""
        taken = [self._waiting.popleft() for _ in range(len(self._waiting))]
        if not taken:
            return
        spans = [each for each in taken if isinstance(each, Span)]
        spans += spans_of(each for each in taken if isinstance(each, FinishedRequest))
        for first in range(0, len(spans), BATCH):
            batch = spans[first : first + BATCH]
            reason = self._collector.send(batch)
            if reason:
                self.lost += len(batch)
            self._note(reason)

    def _note(self, reason: str) -> None:
        """Logs that the collector takes nothing, at intervals, and that it does again."""
        if not reason:
            if self._failing:
                self._failing = False
                log.info("the collector takes spans again", lost=self.lost)
            return
        self._failing = True
        if self._clock() - self._logged_at >= LOG_INTERVAL_S:
            self._logged_at = self._clock()
            log.warning("the collector of traces takes no spans", reason=reason, lost=self.lost - self._lost_logged)
            self._lost_logged = self.lost
