"""Jobs in the database as users know them: made, read, listed, and moved as they want. What servers do is in `leases.py`."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, case, func, insert, select, text, update

from service.database import Database
from service.database.tables import checkpoints, jobs
from service.disk import FullDisk
from service.errors import AlreadyExists, IllegalMove, InvalidInput, QuotaExceeded
from service.jobs.job_states import ACTIVE, check_move
from service.jobs.persistence.row_mapping import job_of, spec_text
from service.jobs.persistence.transitions import (
    make_move,
    row_of,
    state_of,
    tell,
)
from service.jobs.types import Job, JobSpec, JobState, Page, StateChanged

FULL_DISKS = tuple(disk.value for disk in FullDisk)
"""Reasons of a failure after which a job without a checkpoint may be resumed: nothing is wrong with it."""
CREATE_LOCK = 0x7A6F70
"""PostgreSQL's advisory lock that holds quotas: jobs are made one after another. On SQLite writers are alone anyway."""


@dataclass(frozen=True, slots=True)
class Quotas:
    """How many jobs that have not ended there may be."""

    per_owner: int = 16
    queued: int = 256
    """Waiting ones, of all owners."""


class JobStore:
    """All jobs. `clock` gives seconds since 1970."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self.database = database
        self.clock = clock

    # ── asked by users ────────────────────────────────────────────────────────────────────────────────────────

    async def repeated(self, asked: JobSpec, request_id: str, owner: str) -> Job | None:
        """The job that this request made before. Raises AlreadyExists where that was another request."""
        return await self.database.read(lambda c: _repeated(c, asked, request_id, owner)) if request_id else None

    async def create(self, asked: JobSpec, spec: JobSpec, request_id: str, owner: str, quotas: Quotas) -> Job:
        """A new job, QUEUED, or the one that the same request made before.

        `asked` is what came, `spec` has task and method as chosen. Raises AlreadyExists as `repeated`, and QuotaExceeded.
        """

        def change(connection: Connection) -> Job:
            if connection.dialect.name == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": CREATE_LOCK})
            if request_id and (before := _repeated(connection, asked, request_id, owner)) is not None:
                return before
            _check_quotas(connection, owner, quotas)
            job_id = secrets.token_hex(8)
            connection.execute(
                insert(jobs).values(
                    **_NEW,
                    id=job_id,
                    owner=owner,
                    request_id=request_id or None,
                    asked=spec_text(asked),
                    spec=spec_text(spec),
                    model=spec.model,
                    base=spec.base,
                    dataset_id=spec.dataset_id,
                    priority=spec.priority,
                    state=JobState.QUEUED,
                    created=self.clock(),
                )
            )
            tell(connection, job_id, 1, self.clock(), StateChanged(JobState.QUEUED))
            return job_of(row_of(connection, job_id))

        return await self.database.write(change)

    async def check_quotas(self, owner: str, quotas: Quotas) -> None:
        """Raises QuotaExceeded where `create` would at this moment."""
        await self.database.read(lambda c: _check_quotas(c, owner, quotas))

    async def get(self, job_id: str) -> Job:
        """One job. Raises NotFound."""
        return await self.database.read(lambda c: job_of(row_of(c, job_id)))

    async def list(
        self, size: int, after: str = "", *, state: JobState | None = None, model: str = "", owner: str = ""
    ) -> Page:
        """Up to `size` jobs, the newest first; `after` is the `next_token` of the page before. Raises InvalidInput."""
        made = self._made
        query = select(jobs, made.label("made")).order_by(made.desc(), jobs.c.id.desc()).limit(size + 1)
        wanted = {"state": state, "model": model, "owner": owner}
        query = query.where(*(jobs.c[name] == value for name, value in wanted.items() if value))
        if after:
            time_of_last, _, last = after.partition(" ")
            try:
                created = float(time_of_last)
            except ValueError:
                raise InvalidInput("page_token", "is not one that this server gave out") from None
            query = query.where((made < created) | ((made == created) & (jobs.c.id < last)))
        rows = await self.database.read(lambda c: c.execute(query).all())
        following = f"{rows[size - 1].made!r} {rows[size - 1].id}" if len(rows) > size else ""
        return Page(tuple(job_of(row) for row in rows[:size]), following)

    @property
    def _made(self) -> ColumnElement[float]:
        """When jobs were created, to order by. SQLite keeps whatever it is given in a column: what is no number counts as 0."""
        if self.database.engine.dialect.name != "sqlite":
            return jobs.c.created
        return case((func.typeof(jobs.c.created).in_(("real", "integer")), jobs.c.created), else_=0.0)

    async def counts(self) -> dict[JobState, int]:
        """How many jobs are in each state."""
        query = select(jobs.c.state, func.count().label("n")).group_by(jobs.c.state)
        found = await self.database.read(lambda c: {row.state: row.n for row in c.execute(query)})
        return {state: found.get(state, 0) for state in JobState}

    async def using(self, dataset_id: str) -> tuple[str, ...]:
        """Ids of the jobs that have not ended and need a dataset."""
        query = select(jobs.c.id).where(jobs.c.dataset_id == dataset_id, jobs.c.state.in_(ACTIVE))
        return await self.database.read(lambda c: tuple(c.execute(query).scalars()))

    async def cancel(self, job_id: str) -> Job:
        """CANCELLED, or CANCELLING where a worker has to hear of it. One that has ended is left as it is. Raises NotFound."""

        def change(connection: Connection) -> Job:
            row = row_of(connection, job_id, lock=True)
            state = state_of(row)
            if not state.ended and state is not JobState.CANCELLING:
                worked_on = state is JobState.RUNNING
                make_move(connection, row, JobState.CANCELLING if worked_on else JobState.CANCELLED, self.clock())
            return job_of(row_of(connection, job_id))

        return await self.database.write(change)

    async def pause(self, job_id: str) -> Job:
        """PAUSED, or RUNNING with its worker about to hear of it. Raises IllegalMove."""

        def change(connection: Connection) -> Job:
            row = row_of(connection, job_id, lock=True)
            state = state_of(row)
            if state is JobState.RUNNING:
                connection.execute(update(jobs).where(jobs.c.id == job_id).values(pause_wanted=True))
            elif state is not JobState.PAUSED:
                check_move(state, JobState.PAUSED, "be paused")
                make_move(connection, row, JobState.PAUSED, self.clock())
            return job_of(row_of(connection, job_id))

        return await self.database.write(change)

    async def resume(self, job_id: str, quotas: Quotas) -> Job:
        """QUEUED again. Raises QuotaExceeded, and IllegalMove where there is nothing to resume from."""

        def change(connection: Connection) -> Job:
            row = row_of(connection, job_id, lock=True)
            state = state_of(row)
            if state is JobState.RUNNING and row.pause_wanted:  # it was not paused yet, and goes on
                connection.execute(update(jobs).where(jobs.c.id == job_id).values(pause_wanted=False))
            elif state is not JobState.QUEUED:
                checkpoint = select(checkpoints.c.step).where(checkpoints.c.job_id == job_id).limit(1)
                if (
                    state is JobState.FAILED
                    and row.reason not in FULL_DISKS
                    and connection.execute(checkpoint).first() is None
                ):
                    raise IllegalMove("a job that FAILED and has no checkpoint cannot be resumed; create it anew")
                check_move(state, JobState.QUEUED, "be resumed")
                if state is JobState.FAILED:
                    _check_quotas(connection, row.owner, quotas)
                make_move(connection, row, JobState.QUEUED, self.clock(), deaths=0, ended=None, not_before=0.0)
            return job_of(row_of(connection, job_id))

        return await self.database.write(change)


_NEW: dict[str, Any] = {
    "device": "",
    "reason": "",
    "pause_wanted": False,
    "metrics": "{}",
    "promotion_outcome": "",
    "not_before": 0.0,
    "attempts": 0,
    "deaths": 0,
    "yielding": False,
    "last_event": 1,
    "lease_owner": "",
    "lease_until": 0.0,
}
"""Columns of a job that has only just been asked for."""


def _repeated(connection: Connection, asked: JobSpec, request_id: str, owner: str) -> Job | None:
    row = connection.execute(select(jobs).where(jobs.c.owner == owner, jobs.c.request_id == request_id)).first()
    if row is None:
        return None
    if row.asked != spec_text(asked):
        raise AlreadyExists(f"request_id: {request_id!r} was used before, for another job ({row.id}); choose a new one")
    return job_of(row)


def _check_quotas(connection: Connection, owner: str, quotas: Quotas) -> None:
    count = select(func.count()).select_from(jobs)
    mine = connection.execute(count.where(jobs.c.owner == owner, jobs.c.state.in_(ACTIVE))).scalar_one()
    if mine >= quotas.per_owner:
        raise QuotaExceeded(
            f"{'you have' if owner else 'there are'} {mine} jobs that have not ended, and the limit is {quotas.per_owner}"
        )
    waiting = connection.execute(count.where(jobs.c.state == JobState.QUEUED)).scalar_one()
    if waiting >= quotas.queued:
        raise QuotaExceeded(f"{waiting} jobs wait already, and the limit is {quotas.queued}; try again later")
