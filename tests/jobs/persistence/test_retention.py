"""Jobs that workers have finished are deleted on request and trimmed by age; their versions stay.

`test_store_contract.py` has what both databases have to do.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from service.errors import IllegalMove, NotFound
from service.jobs.persistence.job_store import JobStore
from service.jobs.persistence.retention import Retention
from service.jobs.types import Job, JobState, StateChanged
from tests.support.jobs.fakes import (
    QUICK,
    JobSandbox,
    events_of,
    spec,
    until,
    until_step,
    until_true,
)

pytestmark = pytest.mark.asyncio

DAY = 86_400.0


async def ended(sandbox: JobSandbox, **script: Any) -> Job:
    """A job that a worker has brought to its end."""
    async with sandbox.open() as jobs:
        job = await jobs.create(spec(**script))
        return await until(jobs, job, JobState.SUCCEEDED, JobState.FAILED)


async def test_deleted_job_is_gone_and_its_version_stays(sandbox: JobSandbox) -> None:
    job, other = await ended(sandbox), await ended(sandbox)
    jobs = sandbox.server().jobs
    assert (sandbox.folder(job) / "log.txt").exists()
    assert await jobs.delete(job.id) > 0
    for ask in (jobs.get, jobs.delete, jobs.checkpoints):
        with pytest.raises(NotFound):
            await ask(job.id)
    with pytest.raises(NotFound):
        await anext(jobs.watch(job.id))
    assert not sandbox.folder(job).exists()
    assert sandbox.versions() == [1, 2]
    assert [one.id for one in (await jobs.list(10)).jobs] == [other.id]
    assert sandbox.folder(other).exists()
    assert await events_of(jobs, other), "the others keep their history"


@pytest.mark.parametrize("state", ["queued", "running", "paused", "cancelling"])
async def test_job_that_has_not_ended_is_not_deleted(sandbox: JobSandbox, state: str) -> None:
    async with sandbox.open(replace(QUICK, per_device=1 if state in ("running", "cancelling") else 0)) as jobs:
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
        sandbox.allow()


async def test_old_job_keeps_its_row_and_its_last_event(sandbox: JobSandbox) -> None:
    job = await ended(sandbox)
    jobs, retention = sandbox.server().jobs, Retention(sandbox.database, sandbox.home)
    assert job.ended is not None
    whole = await events_of(jobs, job)
    assert await retention.trim(before=job.ended.timestamp() - 1) == 0, "not yet"
    assert await retention.trim(before=job.ended.timestamp() + 1) == 1
    assert await jobs.get(job.id) == job, "with its figures, its version and what became of it"
    assert await events_of(jobs, job) == whole[-1:]
    assert whole[-1].what == StateChanged(JobState.SUCCEEDED)
    assert not sandbox.folder(job).exists()
    assert sandbox.versions() == [1]
    assert await retention.trim(before=job.ended.timestamp() + 1) == 0, "once is enough"


async def test_trimmed_failure_cannot_be_resumed(sandbox: JobSandbox) -> None:
    job = await ended(sandbox, die_at=3, die_times=3)
    jobs = sandbox.server().jobs
    assert await jobs.checkpoints(job.id)
    assert job.ended is not None
    await Retention(sandbox.database, sandbox.home).trim(before=job.ended.timestamp() + 1)
    assert await jobs.checkpoints(job.id) == ()
    with pytest.raises(IllegalMove, match="has no checkpoint cannot be resumed"):
        await jobs.resume(job.id)


async def test_server_trims_old_jobs_and_finishes_the_removal_of_a_killed_server(sandbox: JobSandbox) -> None:
    job = await ended(sandbox)
    began = sandbox.home / "jobs" / ".deleted-0123456789abcdef-00"
    (began / "checkpoints").mkdir(parents=True)
    async with sandbox.open(QUICK):  # `retention_s` of nought keeps everything
        await until_true(lambda: not began.exists())
        assert sandbox.folder(job).exists()
    async with sandbox.open(replace(QUICK, retention_s=1e-6)):
        await until_true(lambda: not sandbox.folder(job).exists())


async def test_age_of_a_job_counts_from_its_end(sandbox: JobSandbox) -> None:
    now = 1_000_000_000.0
    store, retention = JobStore(sandbox.database, lambda: now), Retention(sandbox.database, sandbox.home, lambda: now)
    asked = spec()
    job = await store.create(asked, asked, "", "", QUICK.quotas)
    now += 100 * DAY
    await store.cancel(job.id)
    assert await retention.trim(before=now - 30 * DAY) == 0, "created long ago, ended just now"
    now += 31 * DAY
    assert await retention.trim(before=now - 30 * DAY) == 1
