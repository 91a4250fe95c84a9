"""The events of a worker on their way into the database: collected, thinned, and written in batches."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from service.database import DatabaseUnavailable
from service.jobs.persistence.event_store import EventStore, TimedEvent
from service.jobs.persistence.transitions import LeaseLost
from service.jobs.types import EventPayload, Log, Metric, Progress
from service.observability.log import logger

LOG_BURST, LOGS_PER_SECOND = 200, 20.0
"""Token bucket of a job's log lines: size and refill. Lines of a worker that logs more are dropped and counted."""
TEXT_LIMIT = 2000
"""Characters of one log line."""
SPACING = 1 / 1000
"""Least time between two progress events, as a share of the time since the job's attempt began: 3.6 s after an hour."""
MAX_PENDING = 10_000
"""Events kept while the database does not answer."""

log = logger(__name__)


class EventBuffer:
    """The buffer of one job. Between two writes it keeps the newest progress, and the newest value of each training metric.

    So a loop of a hundred steps a second makes a few rows a second, and fewer the longer it runs: a job of days has some ten
    thousand rows. Metrics of held-out data, checkpoints and logs are all kept.
    """

    def __init__(
        self,
        store: EventStore,
        job_id: str,
        server: str,
        clock: Callable[[], float],
        *,
        on_event: Callable[[EventPayload], None],
        on_written: Callable[[], None],
    ) -> None:
        """`on_event` is called with every event as it is added; `on_written` when some are in the database."""
        self._store, self._job_id, self._server, self._clock = store, job_id, server, clock
        self._on_event, self._on_written = on_event, on_written
        self._pending: list[TimedEvent] = []
        self._replaceable: dict[tuple[str, ...], TimedEvent] = {}
        self._started_at = self._written_at = clock()
        self._log_tokens, self._log_tokens_at = float(LOG_BURST), self._started_at
        self._dropped_logs = 0
        self._yielding = False
        self._lease_lost = False
        self._writing: asyncio.Task[None] | None = None

    def add(self, event: EventPayload) -> None:
        """Adds an event of this moment."""
        self._on_event(event)
        timed = (self._clock(), event)
        match event:
            case Progress():
                self._replace(("progress",), timed)
            case Metric(split="train"):
                self._replace((event.name, event.split), timed)
            case Log():
                now, _ = timed
                refill = LOGS_PER_SECOND * max(0.0, now - self._log_tokens_at)
                self._log_tokens, self._log_tokens_at = min(LOG_BURST, self._log_tokens + refill), now
                if self._log_tokens < 1:
                    self._dropped_logs += 1
                    return
                self._log_tokens -= 1
                self._pending.append((now, event.model_copy(update={"text": event.text[:TEXT_LIMIT]})))
            case _:
                self._pending.append(timed)

    async def flush(self, yielding: bool = False, *, force: bool = True) -> None:
        """Writes the pending events and the job's flag `yielding`. Keeps them if the database does not answer. Raises LeaseLost.

        Without `force`, events that a newer value may replace wait for their time. A cancelled caller loses nothing: the write
        goes on, and the next flush waits for it.
        """
        while self._writing is not None:
            await asyncio.shield(self._writing)
        if (self._pending and (force or self._is_due())) or yielding != self._yielding:
            self._writing = asyncio.create_task(self._write(yielding))
            await asyncio.shield(self._writing)
        if self._lease_lost:
            raise LeaseLost(self._job_id)

    async def finish(self) -> None:
        """Writes all events. Raises DatabaseUnavailable where the caller has to try again, and LeaseLost."""
        await self.flush()
        if self._pending:
            raise DatabaseUnavailable("events wait for the database")

    def _is_due(self) -> bool:
        if len(self._pending) > len(self._replaceable):  # an event that nothing replaces
            return True
        now = self._clock()
        return now < self._written_at or now - self._written_at >= SPACING * (now - self._started_at)

    async def _write(self, yielding: bool) -> None:
        if self._dropped_logs:
            self._pending.append((self._clock(), Log(level="warning", text=f"… {self._dropped_logs} lines left out")))
        batch, self._pending, self._replaceable, self._dropped_logs = self._pending, [], {}, 0
        self._written_at = self._clock()
        try:
            await self._store.append(self._job_id, self._server, batch, yielding)
        except LeaseLost:
            self._lease_lost = True
        except DatabaseUnavailable as error:
            log.warning("events wait for the database", job=self._job_id, reason=str(error))
            self._pending = [*batch, *self._pending][-MAX_PENDING:]
        else:
            self._yielding = yielding
            self._on_written()
        finally:
            self._writing = None

    def _replace(self, key: tuple[str, ...], timed: TimedEvent) -> None:
        if (before := self._replaceable.get(key)) is not None:
            self._pending.remove(before)
        self._replaceable[key] = timed
        self._pending.append(timed)
