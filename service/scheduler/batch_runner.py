"""Runs the batches of one network in a lane: the rows together and, where that fails, in halves, so that a bad row fails
alone."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Sequence

from service.errors import DeadlineExceeded, InternalError, OutOfMemory, ZooError
from service.observability.log import logger
from service.scheduler.queue import NetworkQueue
from service.scheduler.queued_row import QueuedRow
from service.types import Item, Row

log = logger(__name__)

Execute = Callable[[Sequence[Item], float | None], Sequence[Row | ZooError]]
"""Runs one batch. Gets the items and the seconds that the batch is predicted to take (None while that is unknown); gives one
row for each item, in order, or the error of that row alone. Called in a lane's thread; may raise anything, and OutOfMemory
where fewer rows might fit."""

Outcome = tuple[QueuedRow, Row | ZooError]

Rows = Sequence[tuple[QueuedRow, Item]]


class BatchRunner:
    """Runs batches that were taken from one queue. Called by several lanes at once; never raises."""

    def __init__(
        self, queue: NetworkQueue, version: int, execute: Execute, clock: Callable[[], float], lock: threading.Condition
    ) -> None:
        """`lock` guards the queue; it is not held while a network runs."""
        self._queue = queue
        self._version = version
        self._execute = execute
        self._clock = clock
        self._lock = lock

    def run(self, rows: Rows) -> tuple[list[Outcome], bool]:
        """The outcome of every row, and whether they all ran in one batch."""
        results = self._attempt(rows)
        return (results, True) if isinstance(results, list) else (self._run_in_halves(rows, results), False)

    def _attempt(self, rows: Rows) -> list[Outcome] | ZooError:
        """Runs rows together. Where that fails: the error of a row that fails in this way alone.

        The exception is dropped here, and with it the tensors of its frames: a retry may need their memory.
        """
        name = self._queue.name
        law = self._queue.cost.law
        try:
            predicted_s = None if law is None else law.seconds(len(rows), _longest(rows))
            results = self._execute([item for _, item in rows], predicted_s)
            if len(results) != len(rows):
                raise RuntimeError(f"{len(results)} outputs for {len(rows)} inputs")
            return [(row, result) for (row, _), result in zip(rows, results, strict=True)]
        except OutOfMemory:
            log.warning("a batch did not fit into memory", network=name, rows=len(rows))
            with self._lock:
                self._queue.memory.exceeded(len(rows), _longest(rows))
            return OutOfMemory()
        except ZooError as error:
            return error.with_traceback(None)
        except Exception:
            if len(rows) > 1:
                log.warning("a batch failed and is halved", network=name, rows=len(rows))
                return InternalError()
            reference = uuid.uuid4().hex[:12]
            log.exception("execution failed", network=name, version=self._version, reference=reference)
            return InternalError(reference)

    def _run_in_halves(self, rows: Rows, error: ZooError) -> list[Outcome]:
        """Runs rows that failed together in halves, until a bad row stands alone. Rows whose deadline passes meanwhile do not
        run."""
        if len(rows) == 1:
            return [(rows[0][0], error)]
        half = len(rows) // 2
        outcomes: list[Outcome] = []
        for part in (rows[:half], rows[half:]):
            now = self._clock()
            in_time = [(row, item) for row, item in part if row.deadline > now]
            if len(in_time) < len(part):
                expired = (row for row, _ in part if row.deadline <= now)
                outcomes += [(row, DeadlineExceeded("while the request was tried again")) for row in expired]
            if in_time:
                too_many = isinstance(error, OutOfMemory) and len(in_time) > self._queue.most_rows(_longest(in_time))
                results = error if too_many else self._attempt(in_time)
                outcomes += self._run_in_halves(in_time, results) if isinstance(results, ZooError) else results
        return outcomes


def _longest(rows: Rows) -> int:
    return max(row.length for row, _ in rows)
