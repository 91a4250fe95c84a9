"""One move of one job within a transaction: the row of the job, and the event of the move."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, func, insert, select, update

from service.database.tables import events, jobs
from service.errors import Damaged, NotFound
from service.jobs.job_states import WORKED_ON, check_move
from service.jobs.persistence.row_mapping import event_columns, repaired_columns
from service.jobs.types import JobState, StateChanged


class LeaseLost(Exception):
    """Another server works on the job, or the job has ended: what this server writes about it is refused."""


def row_of(connection: Connection, job_id: str, lock: bool = False) -> Row[Any]:
    """The row of a job; with `lock`, no other transaction changes it until this one ends. Raises NotFound."""
    query = select(jobs).where(jobs.c.id == job_id)
    row = connection.execute(query.with_for_update() if lock else query).first()
    if row is None:
        raise NotFound("job", job_id[:64])
    return row


def make_move(
    connection: Connection, row: Row[Any], state: JobState, now: float, reason: str = "", **columns: Any
) -> None:
    """Makes one legal move, writes its event, and sets columns.

    Raises IllegalMove; LeaseLost where the state is no longer that of `row`.
    """
    check_move(state_of(row), state)
    reason = reason.replace("\0", "")  # PostgreSQL accepts none
    values: dict[str, Any] = {"state": state, "reason": reason, "last_event": next_event(connection, row)}
    if state not in WORKED_ON:
        values |= {"lease_owner": "", "lease_until": 0.0, "pause_wanted": False, "yielding": False}
    if state.ended:
        values["ended"] = now
    moved = update(jobs).where(jobs.c.id == row.id, jobs.c.state == row.state).values(values | columns)
    sequence = connection.execute(moved.returning(jobs.c.last_event)).scalar_one_or_none()
    if sequence is None:
        raise LeaseLost(row.id)
    write_state_event(connection, row.id, sequence, now, StateChanged(state, reason))


def state_of(row: Row[Any]) -> JobState:
    """The state of a job. Raises Damaged where it cannot be read."""
    try:
        return JobState(row.state)
    except ValueError:
        raise Damaged(f"job {row.id!r}", "its state cannot be read") from None


def next_event(connection: Connection, row: Row[Any]) -> Any:
    """The sequence number of a job's next event, also where the count in its row is damaged."""
    greatest = connection.execute(select(func.max(events.c.sequence)).where(events.c.job_id == row.id)).scalar()
    counted = row.last_event if isinstance(row.last_event, int) and row.last_event >= 0 else -1
    if isinstance(greatest, int) and greatest > counted:
        return greatest + 1
    return jobs.c.last_event + 1 if counted >= 0 else 1


def fail_damaged(connection: Connection, row: Row[Any], why: str, now: float) -> None:
    """Ends a job whose row is too damaged to work on it."""
    reason = f"its row in the database is damaged: {why}"
    make_move(connection, row, JobState.FAILED, now, reason, **repaired_columns(row))


def write_state_event(connection: Connection, job_id: str, sequence: int, now: float, change: StateChanged) -> None:
    """Writes the event of a move."""
    connection.execute(insert(events).values(job_id=job_id, sequence=sequence, time=now, **event_columns(change)))
