"""Jobs in the database as users see them: created, read, listed, and moved on request. `leases.py` has what servers do."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from typing import Any

from sqlalchemy import ColumnElement, Connection, case, func, insert, select, text, update

from model_zoo.release import own_release
from service.database import Database
from service.database.tables import checkpoints, jobs, version_owners
from service.disk import FullDisk
from service.errors import AlreadyExists, IllegalMove, InvalidInput, PermissionDenied, QuotaExceeded
from service.jobs.job_limits import OwnerTerms, Quotas
from service.jobs.job_states import ACTIVE, check_move
from service.jobs.persistence.row_mapping import job_of, spec_text
from service.jobs.persistence.transitions import (
    make_move,
    row_of,
    state_of,
    write_state_event,
)
from service.jobs.types import Job, JobSpec, JobState, Page, StateChanged

FULL_DISKS = tuple(disk.value for disk in FullDisk)
"""Reasons of a failure after which a job may be resumed even without a checkpoint: the fault was not its own."""
CREATE_LOCK = 0x7A6F70
"""PostgreSQL's advisory lock that keeps quotas: jobs are created one after another. SQLite has one writer at a time anyway."""


_FREE = OwnerTerms()


class JobStore:
    """All jobs. `clock` gives seconds since 1970."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock

    async def repeated(self, asked: JobSpec, request_id: str, owner: str) -> Job | None:
        """The job that the same request created before. Raises AlreadyExists where the `request_id` came with another request."""
        return await self._database.read(lambda c: _repeated(c, asked, request_id, owner)) if request_id else None

    async def create(
        self,
        asked: JobSpec,
        spec: JobSpec,
        request_id: str,
        owner: str,
        quotas: Quotas,
        terms: OwnerTerms = _FREE,
    ) -> Job:
        """A new job, QUEUED, or the one that the same request created before.

        `asked` is the spec of the request, `spec` has task and method as chosen. Raises AlreadyExists, QuotaExceeded,
        PermissionDenied where the model is another owner's.
        """

        def change(connection: Connection) -> Job:
            if connection.dialect.name == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": CREATE_LOCK})
            if request_id and (before := _repeated(connection, asked, request_id, owner)) is not None:
                return before
            _check_may_create(connection, spec.model, owner, quotas, terms)
            job_id = secrets.token_hex(8)
            connection.execute(
                insert(jobs).values(
                    **_NEW_JOB,
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
                    zoo_version=own_release()[:32],
                    created=self._clock(),
                )
            )
            write_state_event(connection, job_id, 1, self._clock(), StateChanged(JobState.QUEUED))
            return job_of(row_of(connection, job_id))

        return await self._database.write(change)

    async def check_may_create(self, model: str, owner: str, quotas: Quotas, terms: OwnerTerms = _FREE) -> None:
        """Raises QuotaExceeded or PermissionDenied if `create` would now."""
        await self._database.read(lambda c: _check_may_create(c, model, owner, quotas, terms))

    async def get(self, job_id: str) -> Job:
        """One job. Raises NotFound."""
        return await self._database.read(lambda c: job_of(row_of(c, job_id)))

    async def list(
        self, size: int, after: str = "", *, state: JobState | None = None, model: str = "", owner: str = ""
    ) -> Page:
        """Up to `size` jobs, the newest first; `after` is the `next_token` of the page before. Raises InvalidInput."""
        created = self._created
        query = select(jobs, created.label("created_at")).order_by(created.desc(), jobs.c.id.desc()).limit(size + 1)
        filters = {"state": state, "model": model, "owner": owner}
        query = query.where(*(jobs.c[name] == value for name, value in filters.items() if value))
        if after:
            last_time, _, last_id = after.partition(" ")
            try:
                last_created = float(last_time)
            except ValueError:
                raise InvalidInput("page_token", "is not one that this server gave out") from None
            query = query.where((created < last_created) | ((created == last_created) & (jobs.c.id < last_id)))
        rows = await self._database.read(lambda c: c.execute(query).all())
        next_token = f"{rows[size - 1].created_at!r} {rows[size - 1].id}" if len(rows) > size else ""
        return Page(tuple(job_of(row) for row in rows[:size]), next_token)

    @property
    def _created(self) -> ColumnElement[float]:
        """The time of creation, to order by. SQLite stores any type in any column: a value that is no number counts as 0."""
        if self._database.engine.dialect.name != "sqlite":
            return jobs.c.created
        return case((func.typeof(jobs.c.created).in_(("real", "integer")), jobs.c.created), else_=0.0)

    async def counts(self) -> dict[JobState, int]:
        """How many jobs are in each state."""
        query = select(jobs.c.state, func.count().label("n")).group_by(jobs.c.state)
        found = await self._database.read(lambda c: {row.state: row.n for row in c.execute(query)})
        return {state: found.get(state, 0) for state in JobState}

    async def owner_of_version(self, model: str, number: int) -> str | None:
        """The owner of the job that published a version; None where no job is known."""
        query = select(jobs.c.owner).where(jobs.c.model == model, jobs.c.version == number)
        kept = select(version_owners.c.owner).where(version_owners.c.model == model, version_owners.c.version == number)
        return await self._database.read(lambda c: c.execute(query).scalar() or c.execute(kept).scalar())

    async def using(self, dataset_id: str) -> tuple[str, ...]:
        """Ids of the jobs that have not ended and need a dataset."""
        query = select(jobs.c.id).where(jobs.c.dataset_id == dataset_id, jobs.c.state.in_(ACTIVE))
        return await self._database.read(lambda c: tuple(c.execute(query).scalars()))

    async def cancel(self, job_id: str) -> Job:
        """CANCELLED, or CANCELLING while a worker has to end first. Leaves a job that has ended as it is. Raises NotFound."""

        def change(connection: Connection) -> Job:
            row = row_of(connection, job_id, lock=True)
            state = state_of(row)
            if not state.ended and state is not JobState.CANCELLING:
                has_worker = state is JobState.RUNNING
                make_move(connection, row, JobState.CANCELLING if has_worker else JobState.CANCELLED, self._clock())
            return job_of(row_of(connection, job_id))

        return await self._database.write(change)

    async def pause(self, job_id: str) -> Job:
        """PAUSED, or RUNNING while its worker has to write a checkpoint first. Raises NotFound, IllegalMove."""

        def change(connection: Connection) -> Job:
            row = row_of(connection, job_id, lock=True)
            state = state_of(row)
            if state is JobState.RUNNING:
                connection.execute(update(jobs).where(jobs.c.id == job_id).values(pause_wanted=True))
            elif state is not JobState.PAUSED:
                check_move(state, JobState.PAUSED, "be paused")
                make_move(connection, row, JobState.PAUSED, self._clock())
            return job_of(row_of(connection, job_id))

        return await self._database.write(change)

    async def resume(self, job_id: str, quotas: Quotas) -> Job:
        """QUEUED again; a job that is QUEUED or RUNNING stays so. Raises NotFound, QuotaExceeded, and IllegalMove where the job
        has no checkpoint to resume from."""

        def change(connection: Connection) -> Job:
            row = row_of(connection, job_id, lock=True)
            state = state_of(row)
            if state is JobState.RUNNING:  # where it is to pause and has not yet, this takes the request back
                connection.execute(update(jobs).where(jobs.c.id == job_id).values(pause_wanted=False))
            elif state is not JobState.QUEUED:
                checkpoint = select(checkpoints.c.step).where(checkpoints.c.job_id == job_id).limit(1)
                if (
                    state is JobState.FAILED
                    and row.reason not in FULL_DISKS
                    and connection.execute(checkpoint).first() is None
                ):
                    raise IllegalMove("a job that FAILED and has no checkpoint cannot be resumed; create it again")
                check_move(state, JobState.QUEUED, "be resumed")
                if state is JobState.FAILED:
                    _check_quotas(connection, row.owner, quotas)
                make_move(connection, row, JobState.QUEUED, self._clock(), deaths=0, ended=None, not_before=0.0)
            return job_of(row_of(connection, job_id))

        return await self._database.write(change)


_NEW_JOB: dict[str, Any] = {
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
"""Columns of a new job."""


def _repeated(connection: Connection, asked: JobSpec, request_id: str, owner: str) -> Job | None:
    row = connection.execute(select(jobs).where(jobs.c.owner == owner, jobs.c.request_id == request_id)).first()
    if row is None:
        return None
    if row.asked != spec_text(asked):
        raise AlreadyExists(f"request_id: {request_id!r} was used before, for another job ({row.id}); choose a new one")
    return job_of(row)


def _check_may_create(connection: Connection, model: str, owner: str, quotas: Quotas, terms: OwnerTerms) -> None:
    _check_quotas(connection, owner, terms.applied_to(quotas))
    if not terms.sole:
        return
    counts = jobs.c.state.in_(ACTIVE) | jobs.c.version.is_not(None)
    others = select(jobs.c.id).where(jobs.c.model == model, jobs.c.owner != owner, counts).limit(1)
    kept = (
        select(version_owners.c.owner).where(version_owners.c.model == model, version_owners.c.owner != owner).limit(1)
    )
    if connection.execute(others).first() is not None or connection.execute(kept).first() is not None:
        raise PermissionDenied(
            f"the model {model!r} belongs to another principal; choose another name, or use a token with the scope 'models'"
        )


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
