"""What a worker says, on its way into the database: gathered, thinned, and written in batches."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from service.database import DatabaseUnavailable
from service.jobs.persistence.event_store import EventStore, Timed
from service.jobs.persistence.transitions import LeaseLost
from service.jobs.types import Happening, Log, Metric, Progress
from service.observability.log import logger

MOST_LOGS, LOGS_A_SECOND = 200, 20.0
"""Lines of a job's log at once, and how fast that is made up again; a worker that says more is cut short."""
LONGEST_TEXT = 2000
SPACING = 1 / 1000
"""Part of the time since a job's attempt began that lies at least between two of its progresses: 3.6 s after an hour."""
MOST_WAITING = 10_000
"""Events kept while the database does not answer."""

log = logger(__name__)


class EventBuffer:
    """Of one job. Between two writes only the newest progress is kept, and of each training metric the newest value.

    So a loop of a hundred steps a second makes a few rows a second, and ever fewer the longer it lasts: a job of days has some
    ten thousands. What was measured on held-out data, checkpoints and logs are all kept.
    """

    def __init__(
        self,
        history: EventStore,
        job_id: str,
        server: str,
        clock: Callable[[], float],
        *,
        heard: Callable[[Happening], None],
        written: Callable[[], None],
    ) -> None:
        """`heard` is called with everything at once; `written` when something is in the database."""
        self._history, self._job_id, self._server, self._clock = history, job_id, server, clock
        self._heard, self._written = heard, written
        self._waiting: list[Timed] = []
        self._thinned: dict[tuple[str, ...], Timed] = {}
        self._began = self._wrote = clock()
        self._room, self._room_at = float(MOST_LOGS), self._began
        self._left_out = 0
        self._yielding = False
        self._lost = False
        self._writing: asyncio.Task[None] | None = None

    def add(self, what: Happening) -> None:
        """Something happened just now."""
        self._heard(what)
        timed = (self._clock(), what)
        match what:
            case Progress():
                self._replace(("progress",), timed)
            case Metric(split="train"):
                self._replace((what.name, what.split), timed)
            case Log():
                now, _ = timed
                self._room = min(MOST_LOGS, self._room + LOGS_A_SECOND * max(0.0, now - self._room_at))
                self._room_at = now
                if self._room < 1:
                    self._left_out += 1
                    return
                self._room -= 1
                self._waiting.append((now, what.model_copy(update={"text": what.text[:LONGEST_TEXT]})))
            case _:
                self._waiting.append(timed)

    async def flush(self, yielding: bool = False, *, whole: bool = True) -> None:
        """Writes what there is, and the job's flag. Keeps it where the database does not answer. Raises LeaseLost.

        Unless `whole`, what a newer value may take the place of waits for its time. A caller that is cancelled meanwhile loses
        nothing: the write goes on, and the next flush waits for it.
        """
        while self._writing is not None:
            await asyncio.shield(self._writing)
        if (self._waiting and (whole or self._due())) or yielding != self._yielding:
            self._writing = asyncio.create_task(self._write(yielding))
            await asyncio.shield(self._writing)
        if self._lost:
            raise LeaseLost(self._job_id)

    async def finish(self) -> None:
        """Writes all that there is. Raises DatabaseUnavailable where that must be tried again, and LeaseLost."""
        await self.flush()
        if self._waiting:
            raise DatabaseUnavailable("events wait for the database")

    def _due(self) -> bool:
        if len(self._waiting) > len(self._thinned):  # something that is kept in any case
            return True
        now = self._clock()
        return now < self._wrote or now - self._wrote >= SPACING * (now - self._began)

    async def _write(self, yielding: bool) -> None:
        if self._left_out:
            self._waiting.append((self._clock(), Log(level="warning", text=f"… {self._left_out} lines left out")))
        batch, self._waiting, self._thinned, self._left_out = self._waiting, [], {}, 0
        self._wrote = self._clock()
        try:
            await self._history.append(self._job_id, self._server, batch, yielding)
        except LeaseLost:
            self._lost = True
        except DatabaseUnavailable as error:
            log.warning("events wait for the database", job=self._job_id, reason=str(error))
            self._waiting = [*batch, *self._waiting][-MOST_WAITING:]
        else:
            self._yielding = yielding
            self._written()
        finally:
            self._writing = None

    def _replace(self, key: tuple[str, ...], timed: Timed) -> None:
        if (before := self._thinned.get(key)) is not None:
            self._waiting.remove(before)
        self._thinned[key] = timed
        self._waiting.append(timed)
