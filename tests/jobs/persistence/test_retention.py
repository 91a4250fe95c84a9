"""What is forgotten of jobs, by wish or by age, and what stays."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from service.errors import IllegalMove, NotFound
from service.jobs.persistence.event_store import EventStore
from service.jobs.persistence.job_store import JobStore
from service.jobs.persistence.retention import Retention
from service.jobs.types import Job, JobState, StateChanged
from tests.support.job_fakes import (
    QUICK,
    Shop,
    events_of,
    spec,
    until,
    until_step,
    until_true,
)

pytestmark = pytest.mark.asyncio

DAY = 86_400.0


async def ended(shop: Shop, **script: Any) -> Job:
    """A job that a worker has brought to its end."""
    async with shop.open() as jobs:
        job = await jobs.create(spec(**script))
        return await until(jobs, job, JobState.SUCCEEDED, JobState.FAILED)


async def test_a_deleted_job_is_gone_and_its_version_stays(shop_on_both: Shop) -> None:
    shop = shop_on_both
    job, other = await ended(shop), await ended(shop)
    jobs = shop.supervisor()
    assert (shop.folder(job) / "log.txt").exists()
    assert await jobs.delete(job.id) > 0
    for ask in (jobs.get, jobs.delete, jobs.checkpoints):
        with pytest.raises(NotFound):
            await ask(job.id)
    with pytest.raises(NotFound):
        await anext(jobs.watch(job.id))
    assert not shop.folder(job).exists()
    assert shop.versions() == [1, 2]
    assert [one.id for one in (await jobs.list(10)).jobs] == [other.id]
    assert shop.folder(other).exists()
    assert await events_of(jobs, other), "the others keep their history"


async def test_pages_go_on_though_the_job_that_the_last_one_ended_with_is_deleted(shop_on_both: Shop) -> None:
    jobs = shop_on_both.supervisor()
    made = [(await jobs.create(spec())).id for _ in range(5)]
    page = await jobs.list(2)
    gone = page.jobs[-1].id
    await jobs.cancel(gone)
    await jobs.delete(gone)
    rest = await jobs.list(10, page.next_token)
    assert sorted([page.jobs[0].id, gone, *(job.id for job in rest.jobs)]) == sorted(made)


@pytest.mark.parametrize("state", ["queued", "running", "paused", "cancelling"])
async def test_a_job_that_has_not_ended_cannot_be_deleted(shop: Shop, state: str) -> None:
    async with shop.open(replace(QUICK, per_device=1 if state in ("running", "cancelling") else 0)) as jobs:
        job = await jobs.create(spec(wait="go", deaf=1))
        if state == "paused":
            await jobs.pause(job.id)
        elif state != "queued":
            await until_step(jobs, job, 4)
        if state == "cancelling":
            await jobs.cancel(job.id)
        with pytest.raises(IllegalMove, match=f"a job that is {state.upper()} cannot be deleted"):
            await jobs.delete(job.id)
        assert (await jobs.get(job.id)).state == state
        shop.allow()


async def test_the_request_id_of_a_deleted_job_is_free_again(shop: Shop) -> None:
    jobs = shop.supervisor()
    job = await jobs.create(spec(), "r1")
    await jobs.cancel(job.id)
    await jobs.delete(job.id)
    assert (await jobs.create(spec(), "r1")).id != job.id


async def test_an_old_job_keeps_its_row_and_its_last_event(shop_on_both: Shop) -> None:
    shop = shop_on_both
    job = await ended(shop)
    jobs, retention = shop.supervisor(), Retention(shop.database, shop.home)
    assert job.ended is not None
    whole = await events_of(jobs, job)
    assert await retention.trim(before=job.ended.timestamp() - 1) == 0, "not yet"
    assert await retention.trim(before=job.ended.timestamp() + 1) == 1
    assert await jobs.get(job.id) == job, "with its figures, its version and what became of it"
    assert await events_of(jobs, job) == whole[-1:]
    assert whole[-1].what == StateChanged(JobState.SUCCEEDED)
    assert not shop.folder(job).exists()
    assert shop.versions() == [1]
    assert await retention.trim(before=job.ended.timestamp() + 1) == 0, "once is enough"


async def test_an_old_failure_can_no_longer_be_resumed(shop: Shop) -> None:
    job = await ended(shop, die_at=3, die_times=3)
    jobs = shop.supervisor()
    assert await jobs.checkpoints(job.id)
    assert job.ended is not None
    await Retention(shop.database, shop.home).trim(before=job.ended.timestamp() + 1)
    assert await jobs.checkpoints(job.id) == ()
    with pytest.raises(IllegalMove, match="has no checkpoint cannot be resumed"):
        await jobs.resume(job.id)


async def test_what_has_not_ended_is_never_old(shop_on_both: Shop) -> None:
    store, retention = JobStore(shop_on_both.database), Retention(shop_on_both.database, shop_on_both.home)
    jobs = shop_on_both.supervisor()
    waiting = await jobs.create(spec())
    resting = await jobs.create(spec())
    await store.pause(resting.id)
    assert await retention.trim(before=float("inf")) == 0
    assert len((await EventStore(shop_on_both.database).after(resting.id, 0, 10))[1]) == 2
    assert (await jobs.get(waiting.id)).state is JobState.QUEUED


async def test_servers_that_trim_at_once_do_it_once(shop_on_both: Shop) -> None:
    job = await ended(shop_on_both)
    servers = [Retention(shop_on_both.database, shop_on_both.home) for _ in range(4)]
    assert job.ended is not None
    before = job.ended.timestamp() + 1
    assert sum(await asyncio.gather(*(server.trim(before) for server in servers))) == 1


async def test_a_server_trims_by_itself_and_finishes_what_a_killed_one_began(shop: Shop) -> None:
    job = await ended(shop)
    began = shop.home / "jobs" / ".deleted-0123456789abcdef-00"
    (began / "checkpoints").mkdir(parents=True)
    async with shop.open(QUICK):  # `retention_s` of nought keeps everything
        await until_true(lambda: not began.exists())
        assert shop.folder(job).exists()
    async with shop.open(replace(QUICK, retention_s=1e-6)):
        await until_true(lambda: not shop.folder(job).exists())


async def test_a_job_is_as_old_as_its_end(shop: Shop) -> None:
    now = 1_000_000_000.0
    store, retention = JobStore(shop.database, lambda: now), Retention(shop.database, shop.home, lambda: now)
    asked = spec()
    job = await store.create(asked, asked, "", "", QUICK.quotas)
    now += 100 * DAY
    await store.cancel(job.id)
    assert await retention.trim(before=now - 30 * DAY) == 0, "created long ago, ended just now"
    now += 31 * DAY
    assert await retention.trim(before=now - 30 * DAY) == 1
