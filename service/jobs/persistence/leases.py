"""Which server works on which job. Several servers may share one PostgreSQL.

A server that works on a job holds its lease: the server's name, and a time until which no other server may take the job, which
heartbeats move on. Every move is a compare-and-set on the state, and a move of a job that is worked on also on the lease, so a
server that was thought dead and comes back changes nothing. Servers compare leases with their own clocks, which must agree
within a few seconds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, select, update

from model_zoo.release import is_newer, own_release
from service.database import Database
from service.database.tables import jobs
from service.jobs.desired_state import DesiredState
from service.jobs.job_states import WORKED_ON
from service.jobs.persistence.row_mapping import deaths_of, job_of, repaired_columns
from service.jobs.persistence.transitions import (
    LeaseLost,
    fail_damaged,
    make_move,
    row_of,
)
from service.jobs.types import Job, JobState

MOST_LOOKED_AT = 1000
"""Queued jobs among which one claim looks for a job that this server can run."""


@dataclass(frozen=True, slots=True)
class Lease:
    """A job that this server works on."""

    job: Job
    deaths: int
    """Workers of it that died in a row, without a new checkpoint between them."""
    desired: DesiredState = DesiredState.RUN
    """What its users want at the time of the read; never DRAIN."""


class Leases:
    """The leases of all jobs. `clock` gives seconds since 1970."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self.clock = clock

    async def claim(self, server: str, device: str, lease_s: float) -> Lease | None:
        """The next job, RUNNING and leased to `server`: by priority, then by age. None where no job is due that it can run."""

        def change(connection: Connection) -> Lease | None:
            now = self.clock()
            for row in _due(connection, now):
                job = job_of(row)
                if job.newer:
                    continue
                try:
                    if job.workable:
                        return _claimed(connection, row, job, server, device, now, lease_s)
                    fail_damaged(connection, row, job.damaged, now)
                except LeaseLost:  # its id cannot be read, so no statement finds its row
                    continue
            return None

        return await self._database.write(change)

    async def renew(self, job_id: str, server: str, lease_s: float) -> Lease:
        """Extends the lease by `lease_s` from now, and reads what users want of the job. Raises LeaseLost."""

        def change(connection: Connection) -> Lease:
            extended = update(jobs).where(_held(job_id, server)).values(lease_until=self.clock() + lease_s)
            if connection.execute(extended).rowcount != 1:
                raise LeaseLost(job_id)
            return _lease_of(row_of(connection, job_id))

        return await self._database.write(change)

    async def move(self, job_id: str, server: str, state: JobState, reason: str = "", **columns: Any) -> Job:
        """Moves a job that `server` works on, and sets columns. Raises LeaseLost, IllegalMove.

        What its users want at that moment decides: a job that is CANCELLING becomes CANCELLED, however its worker ended, unless
        it has succeeded; a job that does not end becomes PAUSED after a request to pause, and else QUEUED.
        """

        def change(connection: Connection) -> Job:
            row = connection.execute(select(jobs).where(_held(job_id, server)).with_for_update()).first()
            if row is None:
                raise LeaseLost(job_id)
            desired = _desired_state(row)
            if desired is DesiredState.CANCEL and state is not JobState.SUCCEEDED:
                make_move(connection, row, JobState.CANCELLED, self.clock())
                return job_of(row_of(connection, job_id))
            target = state
            if state in (JobState.PAUSED, JobState.QUEUED):
                target = JobState.PAUSED if row.pause_wanted else JobState.QUEUED
            make_move(connection, row, target, self.clock(), reason, **columns)
            return job_of(row_of(connection, job_id))

        return await self._database.write(change)

    async def abandoned(self, ended_servers: tuple[str, ...] = ()) -> tuple[tuple[str, str], ...]:
        """Jobs that are RUNNING or CANCELLING without a server: their lease has run out, or one of `ended_servers` holds it.

        Each with the holder of its lease.
        """
        unheld = (jobs.c.lease_until < self.clock()) | jobs.c.lease_owner.in_(ended_servers)
        query = select(jobs.c.id, jobs.c.lease_owner).where(jobs.c.state.in_(WORKED_ON), unheld)
        return await self._database.read(lambda c: tuple((row.id, row.lease_owner) for row in c.execute(query)))

    async def take_over(self, job_id: str, holder: str, server: str, lease_s: float) -> Lease:
        """The lease of an abandoned job. Raises LeaseLost where another server was faster."""

        def change(connection: Connection) -> Lease:
            now = self.clock()
            taken = update(jobs).where(_held(job_id, holder)).values(lease_owner=server, lease_until=now + lease_s)
            if holder != server:
                taken = taken.where(jobs.c.lease_until < now)
            if connection.execute(taken).rowcount != 1:
                raise LeaseLost(job_id)
            return _lease_of(row_of(connection, job_id))

        return await self._database.write(change)


def _due(connection: Connection, now: float) -> Iterator[Row[Any]]:
    """The jobs that are due, in their order: the first alone, and only then the others, of which one may be claimed instead."""
    due = (
        select(jobs)
        .where(jobs.c.state == JobState.QUEUED, jobs.c.not_before <= now)
        .order_by(jobs.c.priority, jobs.c.created, jobs.c.id)
        .with_for_update(skip_locked=True)  # PostgreSQL: skips a job that another server is about to claim
    )
    first = connection.execute(due.limit(1)).first()
    if first is not None:
        yield first
        yield from connection.execute(due.limit(MOST_LOOKED_AT)).all()


def _claimed(
    connection: Connection, row: Row[Any], job: Job, server: str, device: str, now: float, lease_s: float
) -> Lease:
    """Moves a due job to RUNNING. Raises LeaseLost where its row is not found."""
    release = row.zoo_version if is_newer(row.zoo_version) else own_release()[:32]
    make_move(
        connection,
        row,
        JobState.RUNNING,
        now,
        "" if job.attempts == 0 else "goes on from its last checkpoint",
        **repaired_columns(row)
        | {
            "device": device,
            "attempts": job.attempts + 1,
            "started": now if job.started is None else row.started,
            "lease_owner": server,
            "lease_until": now + lease_s,
            "zoo_version": release,
        },
    )
    return _lease_of(row_of(connection, row.id), deaths_of(row))


def _lease_of(row: Row[Any], deaths: int | None = None) -> Lease:
    return Lease(job_of(row), deaths_of(row) if deaths is None else deaths, _desired_state(row))


def _desired_state(row: Row[Any]) -> DesiredState:
    if row.state == JobState.CANCELLING:
        return DesiredState.CANCEL
    return DesiredState.PAUSE if row.pause_wanted else DesiredState.RUN


def _held(job_id: str, server: str) -> ColumnElement[bool]:
    return (jobs.c.id == job_id) & (jobs.c.lease_owner == server) & jobs.c.state.in_(WORKED_ON)
