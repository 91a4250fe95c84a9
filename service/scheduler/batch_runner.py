"""How the batches of one network run in a lane: together, and where that fails in halves, so that the guilty row fails alone."""

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

Execute = Callable[[Sequence[Item]], Sequence[Row | ZooError]]
"""Runs one batch and gives one row for each item, in order, or the error of that row alone. Called in a lane's thread; may raise
anything, and OutOfMemory where fewer rows might have fitted."""

Outcome = tuple[QueuedRow, Row | ZooError]

Rows = Sequence[tuple[QueuedRow, Item]]


class Runner:
    """Runs what was taken from a queue. Called by several lanes at once; never raises."""

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
        """Every row's own outcome, and whether they ran together as they were to."""
        results = self._attempt(rows)
        return (results, True) if isinstance(results, list) else (self._apart(rows, results), False)

    def _attempt(self, rows: Rows) -> list[Outcome] | ZooError:
        """Runs rows together. Where that fails: the error for a row that failed so alone.

        Whatever was raised is let go of here, and with it the tensors of its frames: a retry may need their memory.
        """
        name = self._queue.name
        try:
            results = self._execute([item for _, item in rows])
            if len(results) != len(rows):
                raise RuntimeError(f"{len(results)} outputs for {len(rows)} inputs")
            return [(entry, result) for (entry, _), result in zip(rows, results, strict=True)]
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

    def _apart(self, rows: Rows, error: ZooError) -> list[Outcome]:
        """What failed together is run in halves, until the guilty row stands alone; without whom it is too late for meanwhile."""
        if len(rows) == 1:
            return [(rows[0][0], error)]
        half = len(rows) // 2
        outcomes: list[Outcome] = []
        for part in (rows[:half], rows[half:]):
            now = self._clock()
            in_time = [(entry, item) for entry, item in part if entry.deadline > now]
            if len(in_time) < len(part):
                late = (entry for entry, _ in part if entry.deadline <= now)
                outcomes += [(entry, DeadlineExceeded("while the request was tried again")) for entry in late]
            if in_time:
                too_many = isinstance(error, OutOfMemory) and len(in_time) > self._queue.most_rows(_longest(in_time))
                results = error if too_many else self._attempt(in_time)
                outcomes += self._apart(in_time, results) if isinstance(results, ZooError) else results
        return outcomes


def _longest(rows: Rows) -> int:
    return max(entry.length for entry, _ in rows)
