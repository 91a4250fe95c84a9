"""The events of a worker are written once and in order, whatever happens to the caller or the database."""

from __future__ import annotations

import asyncio

import pytest

from service.database import DatabaseUnavailable
from service.jobs.persistence.event_buffer import EventBuffer
from service.jobs.persistence.event_store import TimedEvent
from service.jobs.persistence.transitions import LeaseLost
from service.jobs.types import Log, Progress

pytestmark = pytest.mark.asyncio


class SlowStore:
    """Writes once it is allowed to; raises the given errors first."""

    def __init__(self, *errors: Exception) -> None:
        self.written: list[str] = []
        self.errors = list(errors)
        self.called, self.allowed = asyncio.Event(), asyncio.Event()

    async def append(self, job_id: str, server: str, new: list[TimedEvent], yielding: bool) -> None:
        self.called.set()
        await self.allowed.wait()
        if self.errors:
            raise self.errors.pop(0)
        self.written += [event.text if isinstance(event, Log) else event.phase for _, event in new]


def event_buffer(store: SlowStore) -> EventBuffer:
    return EventBuffer(store, "j1", "s1", lambda: 1.0, on_event=lambda event: None, on_written=lambda: None)


async def test_cancelled_flush_loses_no_event_and_writes_none_twice() -> None:
    store = SlowStore()
    events = event_buffer(store)
    events.add(Log(level="info", text="one"))
    first = asyncio.create_task(events.flush())
    await store.called.wait()
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    events.add(Log(level="info", text="two"))
    second = asyncio.create_task(events.flush())
    store.allowed.set()
    await second
    assert store.written == ["one", "two"]


async def test_events_that_the_database_refused_are_written_later_in_order() -> None:
    store = SlowStore(DatabaseUnavailable("away"))
    store.allowed.set()
    events = event_buffer(store)
    events.add(Log(level="info", text="one"))
    await events.flush()
    events.add(Log(level="info", text="two"))
    await events.flush()
    assert store.written == ["one", "two"]


async def test_every_flush_after_a_lost_lease_raises() -> None:
    store = SlowStore(LeaseLost("j1"))
    store.allowed.set()
    events = event_buffer(store)
    events.add(Log(level="info", text="one"))
    for _ in range(2):
        with pytest.raises(LeaseLost):
            await events.flush()


async def test_only_the_newest_progress_is_written() -> None:
    store = SlowStore()
    store.allowed.set()
    events = event_buffer(store)
    for phase in ("features", "training", "evaluation"):
        events.add(Progress(phase=phase, ratio=0.5))
    await events.flush()
    assert store.written == ["evaluation"]


async def test_progress_of_two_days_makes_thousands_of_events() -> None:
    store = SlowStore()
    store.allowed.set()
    now = 0.0
    events = EventBuffer(store, "j1", "s1", lambda: now, on_event=lambda event: None, on_written=lambda: None)
    rows_after_an_hour = 0
    for second in range(48 * 3600):
        now = float(second)
        events.add(Progress(phase="training", ratio=0.5, step=second))
        await events.flush(force=False)
        if second == 3600:
            rows_after_an_hour = len(store.written)
    assert 1000 <= rows_after_an_hour <= 2500
    assert 4000 <= len(store.written) <= 7000


async def test_events_that_nothing_replaces_and_the_end_do_not_wait() -> None:
    store = SlowStore()
    store.allowed.set()
    now = 0.0
    events = EventBuffer(store, "j1", "s1", lambda: now, on_event=lambda event: None, on_written=lambda: None)
    now = 100_000.0
    events.add(Progress(phase="training", ratio=0.5))
    await events.flush(force=False)
    now += 1.0
    events.add(Progress(phase="evaluation", ratio=0.9))
    await events.flush(force=False)
    assert store.written == ["training"]
    events.add(Log(level="info", text="one"))
    await events.flush(force=False)
    assert store.written == ["training", "evaluation", "one"]
    events.add(Progress(phase="publishing", ratio=1.0))
    await events.flush()
    assert store.written[-1] == "publishing"
