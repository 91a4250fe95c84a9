"""Calls that bring the network's own tensors, for a model that answers now: nothing to prepare and nothing to wait for but the
device. They need no task and no coroutine; the event loop comes by once when rows have their outcomes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from service.engine.served_head import Served
from service.errors import DeadlineExceeded, InternalError, OutOfMemory, TooLate, ZooError
from service.inference.request_scope import RequestScope
from service.types import BatchReport, Item, Row, Tensors, Timing


class TensorRequest:
    """One such call, inside from when it is made until `answered` was called or it was cancelled."""

    __slots__ = ("_answered", "_submission", "_submitted", "_timer", "_visit", "outcome")

    def __init__(self, visit: RequestScope, items: Sequence[Item], answered: Callable[[TensorRequest], None]) -> None:
        """Raises QueueFull, TooLate where the visit is refused."""
        self.outcome: list[Tensors] | ZooError | None = None
        """Rows of output tensors, as the network gave them, or why there are none: as they come stacked, one bad row fails the
        call. None before."""
        self._visit = visit
        self._answered = answered
        visit.enter()
        served = visit.served
        self._submitted = time.monotonic()
        self._submission = served.submit(items, visit.deadline, visit.priority, self._told)
        self._timer = asyncio.get_running_loop().call_at(visit.deadline, self._expired)

    @property
    def served(self) -> Served:
        """Who is asked."""
        return self._visit.served

    @property
    def seconds(self) -> float:
        """Since it came."""
        return time.monotonic() - self._visit.began

    def cancel(self) -> None:
        """Its caller has left. Harmless once it was answered."""
        if self.outcome is None:
            self.outcome = InternalError()
            self._submission.leave()
            self._leave(asyncio.CancelledError())

    def _expired(self) -> None:
        visit = self._visit
        visit.house.recorder.rejected(visit.served.name, visit.served.version, "deadline")
        self.outcome = error = DeadlineExceeded("before the answer was there")
        self._submission.leave()
        try:
            self._leave(error)
        finally:
            self._answered(self)

    def _told(self, outcomes: Sequence[Row | ZooError]) -> None:
        visit, served = self._visit, self._visit.served
        rows: list[Tensors] = []
        error: ZooError | None = None
        last: BatchReport | None = None
        for outcome in outcomes:
            if isinstance(outcome, Row):
                rows.append(outcome.tensors)
                if last is None or outcome.batch.finished > last.finished:
                    last = outcome.batch
            elif error is None:
                error = outcome
        visit.answered = len(rows)
        if last is not None:
            queue_s, execute_s = max(0.0, last.started - self._submitted), last.finished - last.started
            visit.timing = Timing(queue_s=queue_s, execute_s=execute_s, batch_rows=last.rows)
            served.replied(max(0.0, time.monotonic() - last.finished))
        if error is None:
            visit.ok = True
            self.outcome = rows
        else:
            visit.fault = any(isinstance(outcome, InternalError | OutOfMemory) for outcome in outcomes)
            if not rows and isinstance(error, DeadlineExceeded):  # found out in the queue
                reason = "too_late" if isinstance(error, TooLate) else "deadline"
                visit.house.recorder.rejected(served.name, served.version, reason)
            self.outcome = error
        try:
            self._leave(None)
        finally:
            self._answered(self)

    def _leave(self, error: BaseException | None) -> None:
        self._timer.cancel()
        self._visit.leave(error)
