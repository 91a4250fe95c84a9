"""What a worker said is written once, whatever happens to who asked for the writing."""

from __future__ import annotations

import asyncio

import pytest

from service.database import DatabaseUnavailable
from service.jobs.persistence.event_buffer import EventBuffer
from service.jobs.persistence.event_store import Timed
from service.jobs.persistence.transitions import LeaseLost
from service.jobs.types import Log, Progress

pytestmark = pytest.mark.asyncio


class SlowHistory:
    """Writes when it is let; raises what it is told first."""

    def __init__(self, *troubles: Exception) -> None:
        self.written: list[str] = []
        self.troubles = list(troubles)
        self.asked, self.let = asyncio.Event(), asyncio.Event()

    async def append(self, job_id: str, server: str, happened: list[Timed], yielding: bool) -> None:
        self.asked.set()
        await self.let.wait()
        if self.troubles:
            raise self.troubles.pop(0)
        self.written += [what.text if isinstance(what, Log) else what.phase for _, what in happened]


def journal(history: SlowHistory) -> EventBuffer:
    return EventBuffer(history, "j1", "s1", lambda: 1.0, heard=lambda what: None, written=lambda: None)


async def test_a_writer_that_is_cancelled_loses_nothing_and_doubles_nothing() -> None:
    history = SlowHistory()
    book = journal(history)
    book.add(Log(level="info", text="one"))
    first = asyncio.create_task(book.flush())
    await history.asked.wait()
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    book.add(Log(level="info", text="two"))
    second = asyncio.create_task(book.flush())
    history.let.set()
    await second
    assert history.written == ["one", "two"]


async def test_what_the_database_did_not_take_is_written_in_order_later() -> None:
    history = SlowHistory(DatabaseUnavailable("away"))
    history.let.set()
    book = journal(history)
    book.add(Log(level="info", text="one"))
    await book.flush()
    book.add(Log(level="info", text="two"))
    await book.flush()
    assert history.written == ["one", "two"]


async def test_whoever_has_lost_the_job_is_told_at_every_flush() -> None:
    history = SlowHistory(LeaseLost("j1"))
    history.let.set()
    book = journal(history)
    book.add(Log(level="info", text="one"))
    for _ in range(2):
        with pytest.raises(LeaseLost):
            await book.flush()


async def test_of_progress_only_the_newest_is_written() -> None:
    history = SlowHistory()
    history.let.set()
    book = journal(history)
    for phase in ("features", "training", "evaluation"):
        book.add(Progress(phase=phase, ratio=0.5))
    await book.flush()
    assert history.written == ["evaluation"]


async def test_a_job_of_days_makes_ten_thousands_of_events_and_not_millions() -> None:
    history = SlowHistory()
    history.let.set()
    now = 0.0
    book = EventBuffer(history, "j1", "s1", lambda: now, heard=lambda what: None, written=lambda: None)
    rows_after_an_hour = 0
    for second in range(48 * 3600):
        now = float(second)
        book.add(Progress(phase="training", ratio=0.5, step=second))
        await book.flush(whole=False)
        if second == 3600:
            rows_after_an_hour = len(history.written)
    assert 1000 <= rows_after_an_hour <= 2500
    assert 4000 <= len(history.written) <= 7000


async def test_what_is_kept_in_any_case_and_the_end_do_not_wait() -> None:
    history = SlowHistory()
    history.let.set()
    now = 0.0
    book = EventBuffer(history, "j1", "s1", lambda: now, heard=lambda what: None, written=lambda: None)
    now = 100_000.0
    book.add(Progress(phase="training", ratio=0.5))
    await book.flush(whole=False)
    now += 1.0
    book.add(Progress(phase="evaluation", ratio=0.9))
    await book.flush(whole=False)
    assert history.written == ["training"]
    book.add(Log(level="info", text="one"))
    await book.flush(whole=False)
    assert history.written == ["training", "evaluation", "one"]
    book.add(Progress(phase="publishing", ratio=1.0))
    await book.flush()
    assert history.written[-1] == "publishing"
