"""The events of jobs in order, and the checkpoints that jobs have now."""

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
from service.jobs.types import Checkpoint, Event, EventPayload, Job, Metric, Progress

TimedEvent = tuple[float, EventPayload]
"""An event with its time in seconds since 1970."""


class EventStore:
    """Events and checkpoints of all jobs."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def append(self, job_id: str, server: str, new: Sequence[TimedEvent], yielding: bool = False) -> None:
        """Writes events in one transaction, and updates the job's progress, metrics and count of deaths by them.

        `yielding` is the job's flag from now on. Raises LeaseLost where `server` no longer works on the job.
        """

        def change(connection: Connection) -> None:
            query = select(jobs.c.id, jobs.c.metrics, jobs.c.last_event).where(jobs.c.id == job_id)
            row: Any = connection.execute(query.with_for_update()).first()
            if row is None:
                raise LeaseLost(job_id)
            metrics = metrics_of(row)
            values: dict[str, Any] = {
                "last_event": next_event(connection, row) + len(new) - 1,
                "yielding": yielding,
            }
            for _, event in new:
                match event:
                    case Progress():
                        values["progress"] = strict_json.text(event)
                    case Metric():
                        metrics[f"{event.split}/{event.name}"] = event.value
                    case Checkpoint():
                        values["deaths"] = 0  # the job makes progress, so it is worth another try
            values["metrics"] = strict_json.text(metrics)
            held = (jobs.c.id == job_id) & (jobs.c.lease_owner == server) & jobs.c.state.in_(WORKED_ON)
            last = connection.execute(
                update(jobs).where(held).values(values).returning(jobs.c.last_event)
            ).scalar_one_or_none()
            if last is None:
                raise LeaseLost(job_id)
            first = last - len(new) + 1
            rows = [
                {"job_id": job_id, "sequence": sequence, "time": time, **event_columns(event)}
                for sequence, (time, event) in enumerate(new, first)
            ]
            if rows:
                connection.execute(insert(events), rows)
            for time, event in new:
                if isinstance(event, Checkpoint):
                    _write_checkpoint(connection, job_id, time, event)

        await self._database.write(change)

    async def after(self, job_id: str, sequence: int, limit: int) -> tuple[Job, tuple[Event, ...]]:
        """A job, and up to `limit` of its events after one, in order. Raises NotFound.

        The events are no newer than the job: the one with the number `job.last_event` was the latest at that moment.
        """

        def read(connection: Connection) -> tuple[Job, tuple[Event, ...]]:
            row = connection.execute(select(jobs).where(jobs.c.id == job_id)).first()
            if row is None:
                raise NotFound("job", job_id[:64])
            mine, job = events.c.job_id == job_id, job_of(row)
            if job.damaged and not job.last_event:  # the count in its row is damaged
                last = connection.execute(select(func.max(events.c.sequence)).where(mine)).scalar()
                job = replace(job, last_event=last if isinstance(last, int) else 0)
            between = events.c.sequence.between(sequence + 1, job.last_event)
            query = select(events).where(mine, between).order_by(events.c.sequence).limit(limit)
            return job, tuple(event_of(row) for row in connection.execute(query))

        return await self._database.read(read)

    async def checkpoints(self, job_id: str) -> tuple[Checkpoint, ...]:
        """The checkpoints that a job has now, in order of step. Raises NotFound."""

        def read(connection: Connection) -> tuple[Checkpoint, ...]:
            if connection.execute(select(jobs.c.id).where(jobs.c.id == job_id)).first() is None:
                raise NotFound("job", job_id[:64])
            query = select(checkpoints).where(checkpoints.c.job_id == job_id).order_by(checkpoints.c.step)
            return tuple(checkpoint_of(row) for row in connection.execute(query))

        return await self._database.read(read)

    async def keep_checkpoints(self, job_id: str, steps: Sequence[int]) -> None:
        """Deletes the rows of a job's checkpoints but those of `steps`: the folders of the others are gone."""
        removed = delete(checkpoints).where(checkpoints.c.job_id == job_id, checkpoints.c.step.not_in(list(steps)))
        await self._database.write(lambda connection: connection.execute(removed))


def _write_checkpoint(connection: Connection, job_id: str, time: float, checkpoint: Checkpoint) -> None:
    """Replaces the checkpoint of the same step, which a job trains again after a crash. The latest best one is the best."""
    mine = checkpoints.c.job_id == job_id
    connection.execute(delete(checkpoints).where(mine, checkpoints.c.step == checkpoint.step))
    if checkpoint.best:
        connection.execute(update(checkpoints).where(mine).values(best=False))
    body = checkpoint_body(checkpoint)
    row = body | {"metrics": strict_json.text(body["metrics"]), "job_id": job_id, "time": time}
    connection.execute(insert(checkpoints).values(row))
