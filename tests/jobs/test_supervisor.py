"""Jobs run in order, on one server at a time, and no job is lost when a server stops, is killed or stays away."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import update

from service.database.tables import jobs as table
from service.jobs.types import Job, JobState, Log
from tests.support.jobs.fakes import (
    QUICK,
    JobSandbox,
    alive,
    events_of,
    sandbox_at,
    spec,
    states_of,
    until,
    until_step,
    until_true,
)
from tests.support.paths import REPOSITORY

pytestmark = pytest.mark.asyncio

QUEUED, RUNNING, PAUSED = JobState.QUEUED, JobState.RUNNING, JobState.PAUSED
SUCCEEDED, CANCELLED = JobState.SUCCEEDED, JobState.CANCELLED


# ── order ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_queued_jobs_run_by_priority_and_then_by_age(sandbox: JobSandbox) -> None:
    jobs = sandbox.server().jobs
    asked = {"late": 5, "early": 5, "urgent": 1, "idle": 9}
    made = {}
    for name in ("early", "late", "idle", "urgent"):
        made[name] = await jobs.create(spec(name, steps=1).model_copy(update={"priority": asked[name]}))
    async with sandbox.open() as jobs:
        for job in made.values():
            await until(jobs, job, SUCCEEDED)
    assert [model for model, _ in sandbox.published] == ["urgent", "early", "late", "idle"]


async def test_jobs_at_once_are_limited_per_device(sandbox: JobSandbox) -> None:
    async with sandbox.open(replace(QUICK, per_device=2)) as jobs:
        made = [await jobs.create(spec(f"m{number}", wait="go")) for number in range(3)]
        for job in made[:2]:
            await until_step(jobs, job, 4)
        assert [(await jobs.get(job.id)).state for job in made] == [RUNNING, RUNNING, QUEUED]
        sandbox.allow()
        for job in made:
            await until(jobs, job, SUCCEEDED)


async def test_paused_job_makes_room_for_the_next(sandbox: JobSandbox) -> None:
    async with sandbox.open() as jobs:
        first = await jobs.create(spec("one", wait="go"))
        await until_step(jobs, first, 4)
        second = await jobs.create(spec("two"))
        assert (await jobs.get(second.id)).state is QUEUED, "one at a time on a device"
        await jobs.pause(first.id)
        assert (await until(jobs, second, SUCCEEDED)).version == 1
        assert (await jobs.get(first.id)).state is PAUSED


# ── several servers ───────────────────────────────────────────────────────────────────────────────────────────────


async def test_job_of_a_killed_server_continues_when_the_server_is_back(sandbox_on_both: JobSandbox) -> None:
    sandbox = sandbox_on_both
    first = sandbox.server(replace(QUICK, lease_s=3600.0))
    await first.start()
    job = await first.jobs.create(spec(wait="go"))
    await until_step(first.jobs, job, 4)
    await first.crash()
    assert (await first.jobs.get(job.id)).state is RUNNING, "the killed server could not write that the job has stopped"
    sandbox.allow()
    async with sandbox.open() as second:  # it does not wait for the lease: the name is its own
        events = await events_of(second, job)
        done = await second.get(job.id)
    assert states_of(events) == [QUEUED, RUNNING, QUEUED, RUNNING, SUCCEEDED]
    assert [e.what.text for e in events if isinstance(e.what, Log)][-1] == "begins after step 4"
    assert (done.version, done.attempts) == (1, 2)


async def test_job_whose_lease_has_run_out_is_taken_over_by_another_server(sandbox_on_both: JobSandbox) -> None:
    sandbox = sandbox_on_both
    short = replace(QUICK, lease_s=0.5)
    first, second = sandbox.server(short), sandbox.server(short)
    await first.start()
    job = await first.jobs.create(spec(wait="go"))
    await until_step(first.jobs, job, 4)
    await second.start()
    assert second.name != first.name, "the first server still lives"
    first.cancel_runners()
    first.cancel_loop()
    sandbox.allow()
    assert (await until(second.jobs, job, SUCCEEDED)).attempts == 2
    await second.stop()
    first.release_name()


async def test_two_servers_run_each_job_once(sandbox_on_both: JobSandbox) -> None:
    sandbox = sandbox_on_both
    quick = replace(QUICK, per_device=3)
    async with sandbox.open(quick) as one, sandbox.open(quick) as other:
        made = [await (one if number % 2 else other).create(spec(f"m{number}", steps=1)) for number in range(12)]
        done = [await until(one, job, SUCCEEDED) for job in made]
    assert [job.attempts for job in done] == [1] * 12
    assert len(sandbox.published) == 12


async def test_server_that_has_lost_its_lease_ends_its_worker_and_writes_nothing(sandbox: JobSandbox) -> None:
    async with sandbox.open() as jobs:
        job = await jobs.create(spec(wait="go"))
        await until_step(jobs, job, 4)
        pid = sandbox.pid(job)
        stolen = update(table).where(table.c.id == job.id).values(lease_owner="another", lease_until=2e9)
        await sandbox.database.write(lambda c: c.execute(stolen))
        await until_true(lambda: not alive(pid))
        assert (await jobs.get(job.id)).state is RUNNING
        back = update(table).where(table.c.id == job.id).values(lease_until=0.0)
        await sandbox.database.write(lambda c: c.execute(back))
        sandbox.allow()
        assert await until(jobs, job, SUCCEEDED)


async def test_job_cancelled_while_no_server_runs_is_cancelled_by_the_next(sandbox: JobSandbox) -> None:
    first = sandbox.server()
    await first.start()
    job = await first.jobs.create(spec(wait="never"))
    await until_step(first.jobs, job, 4)
    await first.crash()
    assert (await first.jobs.cancel(job.id)).state is JobState.CANCELLING
    async with sandbox.open() as second:
        assert await until(second, job, CANCELLED)


async def test_job_paused_while_no_server_runs_is_paused_by_the_next(sandbox: JobSandbox) -> None:
    first = sandbox.server()
    await first.start()
    job = await first.jobs.create(spec(wait="never"))
    await until_step(first.jobs, job, 4)
    await first.crash()
    await first.jobs.pause(job.id)
    async with sandbox.open() as second:
        assert await until(second, job, PAUSED)


async def test_cancel_at_one_server_ends_the_worker_of_another(sandbox: JobSandbox) -> None:
    async with sandbox.open() as one, sandbox.open(replace(QUICK, per_device=0)) as other:
        job = await other.create(spec(wait="never"))
        await until_step(one, job, 4)
        pid = sandbox.pid(job)
        await other.cancel(job.id)
        await until(other, job, CANCELLED)
        assert not alive(pid)


# ── stop ──────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_stop_pauses_workers_after_a_checkpoint_and_the_next_start_continues(sandbox: JobSandbox) -> None:
    async with sandbox.open() as first:
        job = await first.create(spec(wait="go"))
        await until_step(first, job, 4)
        pid = sandbox.pid(job)
    assert not alive(pid)
    stopped = await first.get(job.id)
    assert stopped.state is QUEUED
    assert "when one runs again" in stopped.state_reason
    sandbox.allow()
    async with sandbox.open() as second:
        assert (await until(second, job, SUCCEEDED, after=stopped.last_event)).attempts == 2


async def test_stop_kills_workers_after_its_grace_and_queues_their_jobs(sandbox: JobSandbox) -> None:
    server = sandbox.server()
    await server.start()
    jobs = server.jobs
    job = await jobs.create(spec(wait="go", deaf=1))
    await until_step(jobs, job, 4)
    pid = sandbox.pid(job)
    await server.stop(grace_s=0.1)
    assert not alive(pid)
    assert (await jobs.get(job.id)).state is QUEUED


SERVER = """
import asyncio, sys
from pathlib import Path
from tests.support.jobs.fakes import sandbox_at, spec, until_step
from service.observability.log import configure
configure("error", "json")

async def main():
    async with sandbox_at(sys.argv[1], Path(sys.argv[2])) as sandbox, sandbox.open() as jobs:
        job = await jobs.create(spec(wait="go"))
        await until_step(jobs, job, 4)
        print(job.id, sandbox.pid(job), flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_killed_server_leaves_no_worker(sqlite_url: str, tmp_path: Path) -> None:
    """A real server process, and `kill -9`."""
    url, home = sqlite_url, tmp_path / "home"
    server = subprocess.Popen(  # noqa: ASYNC220 - a moment
        [sys.executable, "-c", SERVER, url, str(home)], stdout=subprocess.PIPE, text=True, cwd=REPOSITORY
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
    async with sandbox_at(url, home) as sandbox:
        sandbox.allow()
        async with sandbox.open() as jobs:
            job: Job = await jobs.get(job_id)
            assert (await until(jobs, job, SUCCEEDED)).version == 1
