"""What happened to a job: its events in order, and the checkpoints that it has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select, update

from model_zoo import strict_json
from service.database import Database
from service.database.tables import checkpoints, events, jobs
from service.errors import NotFound
from service.jobs.job_states import WORKED_ON
from service.jobs.persistence.row_mapping import (
    checkpoint_body,
    checkpoint_of,
    event_columns,
    event_of,
    job_of,
    metrics_of,
)
from service.jobs.persistence.transitions import LeaseLost, next_event
from service.jobs.types import Checkpoint, Event, Happening, Job, Metric, Progress

Timed = tuple[float, Happening]
"""Something that happened, with its time in seconds since 1970."""


class EventStore:
    """Events and checkpoints of all jobs."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def append(self, job_id: str, server: str, happened: Sequence[Timed], yielding: bool = False) -> None:
        """Writes events in one transaction, and what they say of the job into the job itself.

        `yielding` is the job's flag from now on. Raises LeaseLost where `server` does not work on the job any more.
        """

        def change(connection: Connection) -> None:
            query = select(jobs.c.id, jobs.c.metrics, jobs.c.last_event).where(jobs.c.id == job_id)
            row: Any = connection.execute(query.with_for_update()).first()
            if row is None:
                raise LeaseLost(job_id)
            metrics = metrics_of(row)
            values: dict[str, Any] = {
                "last_event": next_event(connection, row) + len(happened) - 1,
                "yielding": yielding,
            }
            for _, what in happened:
                match what:
                    case Progress():
                        values["progress"] = strict_json.text(what)
                    case Metric():
                        metrics[f"{what.split}/{what.name}"] = what.value
                    case Checkpoint():
                        values["deaths"] = 0  # it gets further, so it is worth another try
            values["metrics"] = strict_json.text(metrics)
            held = (jobs.c.id == job_id) & (jobs.c.lease_owner == server) & jobs.c.state.in_(WORKED_ON)
            last = connection.execute(
                update(jobs).where(held).values(values).returning(jobs.c.last_event)
            ).scalar_one_or_none()
            if last is None:
                raise LeaseLost(job_id)
            first = last - len(happened) + 1
            rows = [
                {"job_id": job_id, "sequence": sequence, "time": time, **event_columns(what)}
                for sequence, (time, what) in enumerate(happened, first)
            ]
            if rows:
                connection.execute(insert(events), rows)
            for time, what in happened:
                if isinstance(what, Checkpoint):
                    _write_checkpoint(connection, job_id, time, what)

        await self._database.write(change)

    async def after(self, job_id: str, sequence: int, limit: int) -> tuple[Job, tuple[Event, ...]]:
        """A job, and up to `limit` of its events after one, in order. Raises NotFound.

        The events are no newer than the job: one that is `job.last_event` is the last that there was.
        """

        def read(connection: Connection) -> tuple[Job, tuple[Event, ...]]:
            row = connection.execute(select(jobs).where(jobs.c.id == job_id)).first()
            if row is None:
                raise NotFound("job", job_id[:64])
            mine, job = events.c.job_id == job_id, job_of(row)
            if job.damaged and not job.last_event:  # it has lost count
                last = connection.execute(select(func.max(events.c.sequence)).where(mine)).scalar()
                job = replace(job, last_event=last if isinstance(last, int) else 0)
            between = events.c.sequence.between(sequence + 1, job.last_event)
            query = select(events).where(mine, between).order_by(events.c.sequence).limit(limit)
            return job, tuple(event_of(event) for event in connection.execute(query))

        return await self._database.read(read)

    async def checkpoints(self, job_id: str) -> tuple[Checkpoint, ...]:
        """Those that a job has now, in order of step. Raises NotFound."""

        def read(connection: Connection) -> tuple[Checkpoint, ...]:
            if connection.execute(select(jobs.c.id).where(jobs.c.id == job_id)).first() is None:
                raise NotFound("job", job_id[:64])
            query = select(checkpoints).where(checkpoints.c.job_id == job_id).order_by(checkpoints.c.step)
            return tuple(checkpoint_of(row) for row in connection.execute(query))

        return await self._database.read(read)

    async def keep_checkpoints(self, job_id: str, steps: Sequence[int]) -> None:
        """Forgets the checkpoints of a job whose folders are gone."""
        gone = delete(checkpoints).where(checkpoints.c.job_id == job_id, checkpoints.c.step.not_in(list(steps)))
        await self._database.write(lambda connection: connection.execute(gone))


def _write_checkpoint(connection: Connection, job_id: str, time: float, checkpoint: Checkpoint) -> None:
    """A step that is trained again after a crash has a checkpoint again. Of the best ones, the last is it."""
    mine = checkpoints.c.job_id == job_id
    connection.execute(delete(checkpoints).where(mine, checkpoints.c.step == checkpoint.step))
    if checkpoint.best:
        connection.execute(update(checkpoints).where(mine).values(best=False))
    body = checkpoint_body(checkpoint)
    row = body | {"metrics": strict_json.text(body["metrics"]), "job_id": job_id, "time": time}
    connection.execute(insert(checkpoints).values(row))
