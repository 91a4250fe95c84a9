"""Who works on which job. Several servers may share one PostgreSQL.

Whoever works on a job holds its lease: the server's name and a time until which nobody else may take it, moved on by heartbeats.
Every move is a compare-and-set on the state, and one of a job that is worked on also on the lease, so that a server that was
thought dead, and comes back, changes nothing any more. Servers compare leases with their own clocks; those must agree within a
few seconds.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select, update

from service.database import Database
from service.database.tables import jobs
from service.jobs.job_states import WORKED_ON
from service.jobs.persistence.row_mapping import deaths_of, job_of, mended
from service.jobs.persistence.transitions import (
    LeaseLost,
    fail_damaged,
    make_move,
    row_of,
)
from service.jobs.types import Job, JobState


@dataclass(frozen=True, slots=True)
class Lease:
    """A job that this server now works on."""

    job: Job
    deaths: int
    """Workers of it that died in a row, without a new checkpoint between them."""
    pause_wanted: bool = False


class Leases:
    """Of all jobs. `clock` gives seconds since 1970."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self.clock = clock

    async def claim(self, server: str, device: str, lease_s: float) -> Lease | None:
        """The next job, RUNNING and leased to `server`: by priority, then by age. None where nothing waits."""

        def change(connection: Connection) -> Lease | None:
            now = self.clock()
            waiting = (
                select(jobs)
                .where(jobs.c.state == JobState.QUEUED, jobs.c.not_before <= now)
                .order_by(jobs.c.priority, jobs.c.created, jobs.c.id)
                .limit(1)
                .with_for_update(skip_locked=True)  # PostgreSQL: another server's candidate is not ours
            )
            while (row := connection.execute(waiting).first()) is not None:
                job = job_of(row)
                if job.workable:
                    break
                fail_damaged(connection, row, job.damaged, now)
            else:
                return None
            attempts = job.attempts
            make_move(
                connection,
                row,
                JobState.RUNNING,
                now,
                "" if attempts == 0 else "goes on from its last checkpoint",
                **mended(row)
                | {
                    "device": device,
                    "attempts": attempts + 1,
                    "started": now if job.started is None else row.started,
                    "lease_owner": server,
                    "lease_until": now + lease_s,
                },
            )
            return Lease(job_of(row_of(connection, row.id)), deaths_of(row))

        return await self._database.write(change)

    async def renew(self, job_id: str, server: str, lease_s: float) -> Lease:
        """Keeps a job for another `lease_s`, and gives what users want of it meanwhile. Raises LeaseLost."""

        def change(connection: Connection) -> Lease:
            held = update(jobs).where(_held(job_id, server)).values(lease_until=self.clock() + lease_s)
            if connection.execute(held).rowcount != 1:
                raise LeaseLost(job_id)
            row = row_of(connection, job_id)
            return Lease(job_of(row), deaths_of(row), row.pause_wanted)

        return await self._database.write(change)

    async def move(self, job_id: str, server: str, state: JobState, reason: str = "", **also: Any) -> Job:
        """Moves a job that `server` works on; `also` sets columns. Raises LeaseLost, IllegalMove.

        What its users want at that moment decides: a job that became CANCELLING is CANCELLED, whatever else its worker's end
        would have meant, unless it has succeeded; one that does not end is PAUSED if that is wanted, and else QUEUED.
        """

        def change(connection: Connection) -> Job:
            row = connection.execute(select(jobs).where(_held(job_id, server)).with_for_update()).first()
            if row is None:
                raise LeaseLost(job_id)
            if row.state == JobState.CANCELLING and state is not JobState.SUCCEEDED:
                make_move(connection, row, JobState.CANCELLED, self.clock())
                return job_of(row_of(connection, job_id))
            wanted = state
            if state in (JobState.PAUSED, JobState.QUEUED):
                wanted = JobState.PAUSED if row.pause_wanted else JobState.QUEUED
            make_move(connection, row, wanted, self.clock(), reason, **also)
            return job_of(row_of(connection, job_id))

        return await self._database.write(change)

    async def abandoned(self, servers: tuple[str, ...] = ()) -> tuple[tuple[str, str], ...]:
        """Jobs that nobody works on, though they say so: their lease has run out, or one of `servers`, known to be gone, held it.

        Each with the holder of its lease.
        """
        gone = (jobs.c.lease_until < self.clock()) | jobs.c.lease_owner.in_(servers)
        query = select(jobs.c.id, jobs.c.lease_owner).where(jobs.c.state.in_(WORKED_ON), gone)
        return await self._database.read(lambda c: tuple((row.id, row.lease_owner) for row in c.execute(query)))

    async def take_over(self, job_id: str, holder: str, server: str, lease_s: float) -> Lease:
        """The lease of an abandoned job. Raises LeaseLost where somebody was faster."""

        def change(connection: Connection) -> Lease:
            now = self.clock()
            taken = update(jobs).where(_held(job_id, holder)).values(lease_owner=server, lease_until=now + lease_s)
            if holder != server:
                taken = taken.where(jobs.c.lease_until < now)
            if connection.execute(taken).rowcount != 1:
                raise LeaseLost(job_id)
            row = row_of(connection, job_id)
            return Lease(job_of(row), deaths_of(row), row.pause_wanted)

        return await self._database.write(change)


def _held(job_id: str, server: str) -> Any:
    return (jobs.c.id == job_id) & (jobs.c.lease_owner == server) & jobs.c.state.in_(WORKED_ON)
