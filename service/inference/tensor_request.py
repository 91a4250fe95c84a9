"""The tensor path: requests that bring the network's own tensors, for a model that is loaded. There is nothing to preprocess
and nothing to wait for but the device, so a request needs no task and no coroutine: the event loop is called once, when all
rows have outcomes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from service.engine.loaded_model import LoadedModel
from service.errors import DeadlineExceeded, InternalError, ZooError
from service.inference.request_scope import RequestScope
from service.types import BatchReport, Item, Row, Tensors, Timing

NO_TIMING = Timing()


class TensorRequest:
    """One such request, in flight from its construction until `on_done` was called or it was cancelled."""

    __slots__ = ("_on_done", "_scope", "_submission", "_submitted", "_timer", "outcome")

    def __init__(self, scope: RequestScope, items: Sequence[Item], on_done: Callable[[TensorRequest], None]) -> None:
        """Raises QueueFull, TooLate where the model does not admit it."""
        self.outcome: list[Tensors] | ZooError | None = None
        """Rows of output tensors, as the network gave them, or the error of the first row that failed: outputs are stacked, so
        one failed row fails the request. None until it is done."""
        self._scope = scope
        self._on_done = on_done
        scope.admit()
        self._submitted = scope.submitted = time.monotonic()
        self._submission = scope.model.submit(items, scope.deadline, scope.priority, self._rows_done)
        self._timer = asyncio.get_running_loop().call_at(scope.deadline, self._expired)

    @property
    def model(self) -> LoadedModel:
        """The model that answers."""
        return self._scope.model

    @property
    def timing(self) -> Timing:
        """Where its time went so far."""
        return self._scope.elapsed()

    def cancel(self) -> None:
        """The caller has left. Does nothing for a request that is done."""
        if self.outcome is None:
            self.outcome = InternalError()
            self._submission.cancel()
            self._release(asyncio.CancelledError())

    def _expired(self) -> None:
        self._scope.rejected("deadline")
        self.outcome = error = DeadlineExceeded("before the answer was there")
        self._submission.cancel()
        try:
            self._release(error)
        finally:
            self._on_done(self)

    def _rows_done(self, outcomes: Sequence[Row | ZooError]) -> None:
        scope = self._scope
        rows: list[Tensors] = []
        last: BatchReport | None = None
        for outcome in outcomes:
            if isinstance(outcome, Row):
                rows.append(outcome.tensors)
                if last is None or outcome.batch.finished > last.finished:
                    last = outcome.batch
        timing = NO_TIMING
        if last is not None:
            queue_s, execute_s = max(0.0, last.started - self._submitted), last.finished - last.started
            timing = Timing(
                queue_s=queue_s, execute_s=execute_s, batch_rows=last.rows, began=self._submitted, batch=last
            )
            scope.model.observe_reply_delay(max(0.0, time.monotonic() - last.finished))
        error = scope.settle(outcomes, timing, together=True)
        self.outcome = rows if error is None else error
        try:
            self._release(None)
        finally:
            self._on_done(self)

    def _release(self, error: BaseException | None) -> None:
        self._timer.cancel()
        self._scope.release(error)
