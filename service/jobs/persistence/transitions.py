"""One move of one job, in a transaction of whoever makes it: the job's row, and the event that tells of it."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, func, insert, select, update

from service.database.tables import events, jobs
from service.errors import Damaged, NotFound
from service.jobs.job_states import WORKED_ON, check_move
from service.jobs.persistence.row_mapping import event_columns, mended
from service.jobs.types import JobState, StateChanged


class LeaseLost(Exception):
    """Another server works on the job, or it has ended: nothing that this one says about it counts any more."""


def row_of(connection: Connection, job_id: str, lock: bool = False) -> Row[Any]:
    """A job's row; with `lock`, nobody else changes it until the transaction ends. Raises NotFound."""
    query = select(jobs).where(jobs.c.id == job_id)
    row = connection.execute(query.with_for_update() if lock else query).first()
    if row is None:
        raise NotFound("job", job_id[:64])
    return row


def make_move(
    connection: Connection, row: Row[Any], state: JobState, now: float, reason: str = "", **also: Any
) -> None:
    """One legal move with its event. Raises IllegalMove; LeaseLost where the state is no longer that of `row`."""
    check_move(state_of(row), state)
    reason = reason.replace("\0", "")  # PostgreSQL takes none
    values: dict[str, Any] = {"state": state, "reason": reason, "last_event": next_event(connection, row)}
    if state not in WORKED_ON:
        values |= {"lease_owner": "", "lease_until": 0.0, "pause_wanted": False, "yielding": False}
    if state.ended:
        values["ended"] = now
    moved = update(jobs).where(jobs.c.id == row.id, jobs.c.state == row.state).values(values | also)
    sequence = connection.execute(moved.returning(jobs.c.last_event)).scalar_one_or_none()
    if sequence is None:
        raise LeaseLost(row.id)
    tell(connection, row.id, sequence, now, StateChanged(state, reason))


def state_of(row: Row[Any]) -> JobState:
    """A job's state. Raises Damaged where its row does not tell it."""
    try:
        return JobState(row.state)
    except ValueError:
        raise Damaged(f"job {row.id!r}", "its state cannot be read") from None


def next_event(connection: Connection, row: Row[Any]) -> Any:
    """The number of a job's next event, also where its row has lost count."""
    greatest = connection.execute(select(func.max(events.c.sequence)).where(events.c.job_id == row.id)).scalar()
    counted = row.last_event if isinstance(row.last_event, int) and row.last_event >= 0 else -1
    if isinstance(greatest, int) and greatest > counted:
        return greatest + 1
    return jobs.c.last_event + 1 if counted >= 0 else 1


def fail_damaged(connection: Connection, row: Row[Any], why: str, now: float) -> None:
    """Ends a job that nobody can work on, because its row is damaged."""
    make_move(
        connection,
        row,
        JobState.FAILED,
        now,
        f"its row in the database is damaged: {why}",
        **mended(row),
    )


def tell(connection: Connection, job_id: str, sequence: int, now: float, what: StateChanged) -> None:
    """Writes the event of a move."""
    connection.execute(insert(events).values(job_id=job_id, sequence=sequence, time=now, **event_columns(what)))
