"""Whatever ends a worker or a server, no job is lost: it goes on from its last checkpoint, or fails with a reason."""

from __future__ import annotations

import asyncio
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import update

from model_zoo.versions import Versions
from service.database import DatabaseUnavailable
from service.database.tables import jobs as table
from service.errors import Draining
from service.jobs import runner as works
from service.jobs import worker_session as attempts
from service.jobs.supervisor import Jobs
from service.jobs.types import Job, JobState, Log
from service.training.failures import DISK_FULL
from tests.support.job_fakes import (
    LAUNCHER,
    PATIENCE_S,
    QUICK,
    Shop,
    alive,
    events_of,
    kill,
    moves,
    shop_at,
    spec,
    until,
    until_step,
    until_true,
)

pytestmark = pytest.mark.asyncio

QUEUED, RUNNING, PAUSED = JobState.QUEUED, JobState.RUNNING, JobState.PAUSED
SUCCEEDED, FAILED, CANCELLED = JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED


async def crash(jobs: Jobs) -> None:
    """As `kill -9` of its server leaves it: nothing is written any more, workers are gone, the lock on its name is free."""
    running = list(jobs._works.values())
    assert jobs._loop is not None
    jobs._loop.cancel()
    for _, task in running:
        task.cancel()
    await asyncio.gather(jobs._loop, *(task for _, task in running), return_exceptions=True)
    assert jobs._identity is not None
    jobs._identity.close()


# ── workers ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_worker_that_is_killed_is_started_again_from_its_last_checkpoint(shop_on_both: Shop) -> None:
    async with shop_on_both.open() as jobs:
        job = await jobs.create(spec(wait="go"))
        await until_step(jobs, job, 4)
        kill(shop_on_both.pid(job), signal.SIGKILL)
        again = await until(jobs, job, QUEUED, after=1)
        shop_on_both.allow()
        events = await events_of(jobs, job)
        done = await jobs.get(job.id)
    assert moves(events) == [QUEUED, RUNNING, QUEUED, RUNNING, SUCCEEDED]
    reasons = [event.what.reason for event in events if getattr(event.what, "state", None) is QUEUED]
    assert reasons[1].startswith(
        "the worker was ended by SIGKILL; the machine may have run out of memory; the job goes on"
    )
    assert [e.what.text for e in events if isinstance(e.what, Log)][-1] == "begins after step 4"
    assert done.attempts == 2
    assert again.version is None


async def test_a_job_whose_workers_always_die_fails_with_the_reason(shop: Shop) -> None:
    async with shop.open() as jobs:
        job = await jobs.create(spec(exit=7))
        failed = await until(jobs, job, FAILED)
    assert failed.state_reason == "the worker ended with exit code 7 and gave no reason, for the third time in a row"
    assert failed.attempts == 3


async def test_a_job_that_gets_further_each_time_is_not_given_up(shop: Shop) -> None:
    """Five deaths, but a new checkpoint before each."""
    async with shop.open() as jobs:
        job = await jobs.create(spec(steps=5, die_after_each=1))
        assert (await until(jobs, job, SUCCEEDED)).attempts == 6


async def test_a_worker_that_hangs_is_ended_and_tried_again(shop: Shop) -> None:
    async with shop.open(replace(QUICK, silent_s=0.4)) as jobs:
        job = await jobs.create(spec(hang=1))
        failed = await until(jobs, job, FAILED)
        assert failed.state_reason.startswith("the worker gave no sign of life for 0 s")
        assert failed.attempts == 3
        assert not alive(shop.pid(job))


async def test_a_full_disk_fails_a_job_with_that_reason_and_it_can_be_resumed(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with shop.open() as jobs:
        job = await jobs.create(spec("one", wait="go"))
        await until_step(jobs, job, 4)
        monkeypatch.setattr(attempts, "is_full", lambda folder: True)
        kill(shop.pid(job), signal.SIGKILL)
        failed = await until(jobs, job, FAILED)
        assert failed.state_reason == DISK_FULL
        monkeypatch.undo()
        shop.allow()
        await jobs.resume(job.id)
        assert await until(jobs, job, SUCCEEDED, after=failed.last_event)


async def test_a_disk_that_is_full_before_the_worker_starts_is_told(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(folder: Path, *_: object) -> None:
        raise OSError(28, "No space left on device", str(folder / "spec.json"))

    async with shop.open() as jobs:
        with monkeypatch.context() as patch:
            patch.setattr(works, "write_order", full)
            job = await jobs.create(spec())
            failed = await until(jobs, job, FAILED)
        assert failed.state_reason == DISK_FULL
        await jobs.resume(job.id)  # it has no checkpoint, and yet nothing is wrong with it
        assert await until(jobs, job, SUCCEEDED, after=failed.last_event)


async def test_a_second_worker_of_a_job_waits_for_the_first_ones_end(shop: Shop) -> None:
    """Two of them in one folder would spoil each other's checkpoints."""
    async with shop.open() as jobs:
        job = await jobs.create(spec(wait="never"))
        await until_step(jobs, job, 4)
        order = works.WorkOrder.model_validate_json((shop.folder(job) / "spec.json").read_bytes())
        second = await LAUNCHER.start(order, shop.folder(job))
        reading = asyncio.create_task(second.line())
        await until_step(jobs, job, 4)
        assert not reading.done()
        kill(shop.pid(job), signal.SIGKILL)
        assert await asyncio.wait_for(reading, PATIENCE_S)
        second.kill()
        await second.wait()


# ── servers ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_job_goes_on_when_a_killed_server_comes_back(shop_on_both: Shop) -> None:
    shop = shop_on_both
    first = shop.supervisor(replace(QUICK, lease_s=3600.0))
    await first.start()
    job = await first.create(spec(wait="go"))
    await until_step(first, job, 4)
    await crash(first)
    assert (await first.get(job.id)).state is RUNNING, "nobody could write that it does not run any more"
    shop.allow()
    async with shop.open() as second:  # it does not wait for the lease: the name is its own
        events = await events_of(second, job)
        done = await second.get(job.id)
    assert moves(events) == [QUEUED, RUNNING, QUEUED, RUNNING, SUCCEEDED]
    assert [e.what.text for e in events if isinstance(e.what, Log)][-1] == "begins after step 4"
    assert (done.version, done.attempts) == (1, 2)


async def test_a_job_is_taken_over_by_another_server_when_its_own_stays_away(shop_on_both: Shop) -> None:
    shop = shop_on_both
    short = replace(QUICK, lease_s=0.5)
    first = shop.supervisor(short)
    await first.start()
    job = await first.create(spec(wait="go"))
    await until_step(first, job, 4)
    holder = first._identity
    async with shop.open(short) as second:
        assert second._identity is not None
        assert holder is not None
        assert second._identity.name != holder.name, "the first one still lives"
        for _, task in first._works.values():
            task.cancel()
        assert first._loop is not None
        first._loop.cancel()
        shop.allow()
        assert (await until(second, job, SUCCEEDED)).attempts == 2
    holder.close()


async def test_two_servers_never_work_on_one_job_twice(shop_on_both: Shop) -> None:
    shop = shop_on_both
    quick = replace(QUICK, per_device=3)
    async with shop.open(quick) as one, shop.open(quick) as other:
        made = [await (one if number % 2 else other).create(spec(f"m{number}", steps=1)) for number in range(12)]
        done = [await until(one, job, SUCCEEDED) for job in made]
    assert [job.attempts for job in done] == [1] * 12
    assert len(shop.published) == 12


async def test_a_server_that_was_thought_dead_changes_nothing_when_it_comes_back(shop: Shop) -> None:
    async with shop.open() as jobs:
        job = await jobs.create(spec(wait="go"))
        await until_step(jobs, job, 4)
        pid = shop.pid(job)
        stolen = update(table).where(table.c.id == job.id).values(lease_owner="another", lease_until=2e9)
        await shop.database.write(lambda c: c.execute(stolen))
        await until_true(lambda: not alive(pid))
        assert (await jobs.get(job.id)).state is RUNNING
        back = update(table).where(table.c.id == job.id).values(lease_until=0.0)
        await shop.database.write(lambda c: c.execute(back))
        shop.allow()
        assert await until(jobs, job, SUCCEEDED)


async def test_a_job_cancelled_while_no_server_ran_ends_when_one_does(shop: Shop) -> None:
    first = shop.supervisor()
    await first.start()
    job = await first.create(spec(wait="never"))
    await until_step(first, job, 4)
    await crash(first)
    assert (await first.cancel(job.id)).state is JobState.CANCELLING
    async with shop.open() as second:
        assert await until(second, job, CANCELLED)


async def test_a_job_paused_while_no_server_ran_rests_when_one_does(shop: Shop) -> None:
    first = shop.supervisor()
    await first.start()
    job = await first.create(spec(wait="never"))
    await until_step(first, job, 4)
    await crash(first)
    await first.pause(job.id)
    async with shop.open() as second:
        assert await until(second, job, PAUSED)


async def test_a_cancel_at_one_server_reaches_the_worker_of_another(shop_on_both: Shop) -> None:
    shop = shop_on_both
    async with shop.open() as one, shop.open(replace(QUICK, per_device=0)) as other:
        job = await other.create(spec(wait="never"))
        await until_step(one, job, 4)
        pid = shop.pid(job)
        await other.cancel(job.id)
        await until(other, job, CANCELLED)
        assert not alive(pid)


async def test_a_crash_after_publishing_publishes_nothing_twice(shop: Shop) -> None:
    async def dies(model: str, number: int, gated: bool) -> str:
        await asyncio.Event().wait()
        return ""

    first = shop.supervisor(published=dies)
    await first.start()
    job = await first.create(spec())
    await until_true(lambda: shop.versions() == [1])
    await crash(first)
    async with shop.open() as second:
        done = await until(second, job, SUCCEEDED)
    assert done.version == 1
    assert shop.versions() == [1]
    assert shop.published == [("flowers", 1)]


async def test_a_crash_before_publishing_trains_nothing_twice(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        entered = asyncio.Event()
        loop = asyncio.get_running_loop()

        def dies(self: Versions, model: str, folder: Path) -> int:
            loop.call_soon_threadsafe(entered.set)
            raise asyncio.CancelledError

        patch.setattr(Versions, "publish", dies)
        first = shop.supervisor()
        await first.start()
        job = await first.create(spec())
        await entered.wait()
        await crash(first)
    before = len((shop.folder(job) / "checkpoints" / "attempts").read_text())
    async with shop.open() as second:
        done = await until(second, job, SUCCEEDED)
    assert before == 1
    assert done.version == 1
    assert [e.what.text for e in await events_of(shop.supervisor(), job) if isinstance(e.what, Log)] == [
        "begins after step 0"
    ]


async def test_a_stop_lets_workers_write_a_checkpoint_and_the_next_start_goes_on(shop_on_both: Shop) -> None:
    shop = shop_on_both
    async with shop.open() as first:
        job = await first.create(spec(wait="go"))
        await until_step(first, job, 4)
        pid = shop.pid(job)
    assert not alive(pid)
    stopped = await first.get(job.id)
    assert stopped.state is QUEUED
    assert "when one runs again" in stopped.state_reason
    shop.allow()
    async with shop.open() as second:
        assert (await until(second, job, SUCCEEDED, after=stopped.last_event)).attempts == 2


async def test_a_stop_kills_workers_that_take_too_long_and_loses_no_job(shop: Shop) -> None:
    jobs = shop.supervisor()
    await jobs.start()
    job = await jobs.create(spec(wait="go", deaf=1))
    await until_step(jobs, job, 4)
    pid = shop.pid(job)
    await jobs.stop(grace_s=0.1)
    assert not alive(pid)
    assert (await jobs.get(job.id)).state is QUEUED


async def test_a_stop_sends_watchers_away_and_takes_no_more(shop: Shop) -> None:
    async with shop.open() as jobs:
        job = await jobs.create(spec(wait="never"))
        watching = asyncio.create_task(events_of(jobs, job))
        await until_step(jobs, job, 4)
    with pytest.raises(Draining):
        await watching
    with pytest.raises(Draining):
        await jobs.create(spec())
    with pytest.raises(Draining):
        await jobs.check(spec())


SERVER = """
import asyncio, sys
from pathlib import Path
sys.path.insert(0, "tests")
from jobs.fakes import shop_at, spec, until_step
from service.observability.log import configure
configure("error", "json")

async def main():
    async with shop_at(sys.argv[1], Path(sys.argv[2])) as shop, shop.open() as jobs:
        job = await jobs.create(spec(wait="go"))
        await until_step(jobs, job, 4)
        print(job.id, shop.pid(job), flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_no_worker_outlives_a_server_that_is_killed(sqlite_url: str, tmp_path: Path) -> None:
    """A real server process, and `kill -9`."""
    url, home = sqlite_url, tmp_path / "home"
    server = subprocess.Popen(  # noqa: ASYNC220 - a moment
        [sys.executable, "-c", SERVER, url, str(home)], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
    )
    assert server.stdout is not None
    job_id, pid = (await asyncio.to_thread(server.stdout.readline)).split()
    assert alive(int(pid))
    server.kill()
    await until_true(lambda: not alive(int(pid)))
    server.wait()
    server.stdout.close()
    shutil.rmtree(home / "datasets")
    shutil.rmtree(home / "template")
    async with shop_at(url, home) as shop:
        shop.allow()
        async with shop.open() as jobs:
            job: Job = await jobs.get(job_id)
            assert (await until(jobs, job, SUCCEEDED)).version == 1


# ── the database ──────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_database_that_is_away_for_a_while_costs_no_job(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    async with shop.open() as jobs:
        job = await jobs.create(spec(wait="go"))
        await until_step(jobs, job, 4)

        tried = 0

        async def away(*_: object) -> None:
            nonlocal tried
            tried += 1
            raise DatabaseUnavailable("gone")

        with monkeypatch.context() as patch:
            patch.setattr(shop.database, "_run", away)
            with pytest.raises(DatabaseUnavailable):
                await jobs.get(job.id)
            shop.allow()
            await until_true(lambda: not alive(shop.pid(job)))
            dead = tried
            await until_true(lambda: tried > dead + 20)  # the end, too, is tried in vain, again and again
        done = await until(jobs, job, SUCCEEDED)
    assert done.attempts == 1
    assert done.metrics["validation/accuracy"] == 1.0, "what was said meanwhile is not lost"


async def test_a_version_is_announced_until_the_database_can_keep_its_name(shop: Shop) -> None:
    announced: list[int] = []

    async def published(model: str, number: int, gated: bool) -> str:
        announced.append(number)
        if len(announced) < 3:
            raise DatabaseUnavailable("gone")
        return "it is stable"

    async with shop.open(published=published) as jobs:
        job = await jobs.create(spec())
        done = await until(jobs, job, SUCCEEDED)
    assert (done.promotion_outcome, announced) == ("it is stable", [1, 1, 1])
    assert shop.versions() == [1]
