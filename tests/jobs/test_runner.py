"""A job from its claim to the version that it becomes, whatever ends its server or its database meanwhile."""

from __future__ import annotations

import asyncio
import math
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from model_zoo.versions import Versions
from service.database import DatabaseUnavailable
from service.errors import IllegalMove
from service.jobs import runner
from service.jobs.types import JobState, Log
from service.training.failures import DISK_FULL
from service.training.job_spec import Promotion
from tests.support.jobs.fakes import (
    QUICK,
    JobSandbox,
    alive,
    events_of,
    kill,
    spec,
    states_of,
    until,
    until_step,
    until_true,
)

pytestmark = pytest.mark.asyncio

QUEUED, RUNNING, PAUSED = JobState.QUEUED, JobState.RUNNING, JobState.PAUSED
SUCCEEDED, FAILED, CANCELLED = JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED


async def test_job_that_finishes_becomes_a_version(sandbox: JobSandbox) -> None:
    async with sandbox.open() as jobs:
        job = await jobs.create(spec())
        assert job.state is QUEUED
        events = await events_of(jobs, job)
        job = await jobs.get(job.id)
    assert states_of(events) == [QUEUED, RUNNING, SUCCEEDED]
    assert (job.state, job.version, job.promotion_outcome) == (SUCCEEDED, 1, "stable is now 1")
    assert job.metrics == {"train/loss": 0.2, "validation/accuracy": 1.0}
    assert job.progress is not None
    assert job.progress.ratio == 1.0
    assert job.started is not None
    assert job.ended is not None
    assert job.created <= job.started <= job.ended
    assert job.attempts == 1
    assert sandbox.published == [("flowers", 1)]
    assert sandbox.versions() == [1]


async def test_metrics_show_a_running_job_and_drop_it_after_its_end(sandbox: JobSandbox) -> None:
    async with sandbox.open() as jobs:
        job = await jobs.create(spec(wait="go"))
        await until_step(jobs, job, 4)
        labels = {"job": job.id, "model": "flowers"}
        value = sandbox.metrics.get_sample_value
        assert math.isclose(value("zoo_job_progress_ratio", labels) or 0, 0.72)
        assert value("zoo_job_metric", labels | {"metric": "accuracy", "split": "validation"}) == 0.8
        await until_true(lambda: value("zoo_jobs", {"state": "running"}) == 1)
        sandbox.allow()
        await until(jobs, job, SUCCEEDED)
        await until_true(lambda: value("zoo_jobs", {"state": "succeeded"}) == 1)
        await until_true(lambda: value("zoo_job_progress_ratio", labels) is None)
        assert value("zoo_jobs", {"state": "running"}) == 0


# ── cancel, pause, resume ─────────────────────────────────────────────────────────────────────────────────────────


async def test_cancelled_job_ends_and_keeps_only_its_log(sandbox: JobSandbox) -> None:
    async with sandbox.open() as jobs:
        job = await jobs.create(spec(wait="never"))
        await until_step(jobs, job, 4)
        pid = sandbox.pid(job)
        assert (await jobs.cancel(job.id)).state is JobState.CANCELLING
        events = await events_of(jobs, job)
        assert states_of(events) == [QUEUED, RUNNING, JobState.CANCELLING, CANCELLED]
        assert not alive(pid)
        assert sandbox.versions() == []
        await until_true(lambda: {p.name for p in sandbox.folder(job).iterdir()} <= {"log.txt", "spec.json"})
        assert (await jobs.cancel(job.id)).state is CANCELLED, "a second cancel changes nothing"
        with pytest.raises(IllegalMove, match="CANCELLED cannot be resumed"):
            await jobs.resume(job.id)


async def test_resumed_job_continues_from_its_last_checkpoint(sandbox: JobSandbox) -> None:
    async with sandbox.open() as jobs:
        job = await jobs.create(spec(wait="go"))
        await until_step(jobs, job, 4)
        await jobs.pause(job.id)
        paused = await until(jobs, job, PAUSED)
        assert not alive(sandbox.pid(job))
        assert (await jobs.pause(job.id)).state is PAUSED, "a second pause changes nothing"
        assert [point.step for point in await jobs.checkpoints(job.id)] == [1, 2, 3, 4]
        sandbox.allow()
        assert (await jobs.resume(job.id)).state is QUEUED
        events = await events_of(jobs, job)
    assert states_of(events) == [QUEUED, RUNNING, PAUSED, QUEUED, RUNNING, SUCCEEDED]
    later = [event.what.text for event in events[paused.last_event :] if isinstance(event.what, Log)]
    assert later == ["begins after step 4"]


async def test_pause_that_is_resumed_before_it_takes_effect_lets_the_job_finish(sandbox: JobSandbox) -> None:
    async with sandbox.open() as jobs:
        job = await jobs.create(spec(wait="go", deaf=True))  # a worker that does not pause in between
        await until_step(jobs, job, 4)
        await jobs.pause(job.id)
        await jobs.resume(job.id)
        sandbox.allow()
        assert PAUSED not in states_of(await events_of(jobs, job))
        assert (await jobs.get(job.id)).state is SUCCEEDED


# ── failures ──────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_failed_job_states_its_reason_and_continues_from_its_checkpoint_when_resumed(sandbox: JobSandbox) -> None:
    async with sandbox.open() as jobs:
        hopeless = await jobs.create(spec("one", fail="training diverged at step 3"))
        failed = await until(jobs, hopeless, FAILED)
        assert failed.state_reason == "training diverged at step 3"
        assert failed.attempts == 1, "what fails for a reason is not tried again"
        with pytest.raises(IllegalMove, match="no checkpoint"):
            await jobs.resume(failed.id)

        dying = await jobs.create(spec("two", die_at=3, die_times=3))
        failed = await until(jobs, dying, FAILED)
        await jobs.resume(dying.id)
        assert (await until(jobs, dying, SUCCEEDED, after=failed.last_event)).state_reason == ""


async def test_job_whose_worker_is_killed_continues_from_its_last_checkpoint(sandbox: JobSandbox) -> None:
    async with sandbox.open() as jobs:
        job = await jobs.create(spec(wait="go"))
        await until_step(jobs, job, 4)
        kill(sandbox.pid(job), signal.SIGKILL)
        again = await until(jobs, job, QUEUED, after=1)
        sandbox.allow()
        events = await events_of(jobs, job)
        done = await jobs.get(job.id)
    assert states_of(events) == [QUEUED, RUNNING, QUEUED, RUNNING, SUCCEEDED]
    reasons = [event.what.reason for event in events if getattr(event.what, "state", None) is QUEUED]
    assert reasons[1].startswith(
        "the worker was ended by SIGKILL; the machine may have run out of memory; the job goes on"
    )
    assert [e.what.text for e in events if isinstance(e.what, Log)][-1] == "begins after step 4"
    assert done.attempts == 2
    assert again.version is None


async def test_job_whose_workers_all_die_fails_with_the_reason(sandbox: JobSandbox) -> None:
    async with sandbox.open() as jobs:
        job = await jobs.create(spec(exit=7))
        failed = await until(jobs, job, FAILED)
    assert failed.state_reason == "the worker ended with exit code 7 and gave no reason, for the third time in a row"
    assert failed.attempts == 3


async def test_job_with_a_new_checkpoint_before_each_death_is_retried(sandbox: JobSandbox) -> None:
    """Five deaths, but a new checkpoint before each."""
    async with sandbox.open() as jobs:
        job = await jobs.create(spec(steps=5, die_after_each=1))
        assert (await until(jobs, job, SUCCEEDED)).attempts == 6


async def test_job_on_a_full_disk_before_its_worker_starts_fails_and_can_be_resumed(
    sandbox: JobSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(folder: Path, *_: object) -> None:
        raise OSError(28, "No space left on device", str(folder / "spec.json"))

    async with sandbox.open() as jobs:
        with monkeypatch.context() as patch:
            patch.setattr(runner, "write_order", full)
            job = await jobs.create(spec())
            failed = await until(jobs, job, FAILED)
        assert failed.state_reason == DISK_FULL
        await jobs.resume(job.id)  # it has no checkpoint, and yet nothing is wrong with it
        assert await until(jobs, job, SUCCEEDED, after=failed.last_event)


async def test_job_survives_a_database_that_is_unavailable_for_a_while(
    sandbox: JobSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with sandbox.open() as jobs:
        job = await jobs.create(spec(wait="go"))
        await until_step(jobs, job, 4)

        tried = 0

        async def away(*_: object) -> None:
            nonlocal tried
            tried += 1
            raise DatabaseUnavailable("gone")

        with monkeypatch.context() as patch:
            patch.setattr(sandbox.database, "_run", away)
            with pytest.raises(DatabaseUnavailable):
                await jobs.get(job.id)
            sandbox.allow()
            await until_true(lambda: not alive(sandbox.pid(job)))
            dead = tried
            await until_true(lambda: tried > dead + 20)  # the end, too, is tried in vain, again and again
        done = await until(jobs, job, SUCCEEDED)
    assert done.attempts == 1
    assert done.metrics["validation/accuracy"] == 1.0, "what was said meanwhile is not lost"


# ── publishing ────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_two_jobs_that_publish_one_model_at_once_get_two_versions(sandbox: JobSandbox) -> None:
    async with sandbox.open(replace(QUICK, per_device=2)) as jobs:
        made = [await jobs.create(spec("flowers", wait="go")) for _ in range(2)]
        for job in made:
            await until_step(jobs, job, 4)
        sandbox.allow()
        ended = [await until(jobs, job, SUCCEEDED) for job in made]
    assert {job.version for job in ended} == {1, 2}
    assert sandbox.versions() == [1, 2]


async def test_result_that_is_no_version_fails_its_job(sandbox: JobSandbox) -> None:
    async with sandbox.open() as jobs:
        job = await jobs.create(spec(half=1))
        assert "cannot be published" in (await until(jobs, job, FAILED)).state_reason
        assert sandbox.versions() == []


async def test_version_that_cannot_be_loaded_stays_and_the_outcome_says_so(sandbox: JobSandbox) -> None:
    async def broken(model: str, number: int, gated: bool) -> str:
        raise RuntimeError("/secret/path")

    async with sandbox.open(take=broken) as jobs:
        job = await jobs.create(spec())
        done = await until(jobs, job, SUCCEEDED)
        assert done.version == 1
        assert "could not be loaded" in done.promotion_outcome
        assert "secret" not in done.promotion_outcome


async def test_job_with_promotion_never_leaves_stable_alone(sandbox: JobSandbox) -> None:
    async with sandbox.open() as jobs:
        job = await jobs.create(spec().model_copy(update={"promotion": Promotion.NEVER}))
        assert (await until(jobs, job, SUCCEEDED)).promotion_outcome == "stable stays"


async def test_crash_after_publishing_publishes_once(sandbox: JobSandbox) -> None:
    async def dies(model: str, number: int, gated: bool) -> str:
        await asyncio.Event().wait()
        return ""

    first = sandbox.server(take=dies)
    await first.start()
    job = await first.jobs.create(spec())
    await until_true(lambda: sandbox.versions() == [1])
    await first.crash()
    async with sandbox.open() as second:
        done = await until(second, job, SUCCEEDED)
    assert done.version == 1
    assert sandbox.versions() == [1]
    assert sandbox.published == [("flowers", 1)]


async def test_crash_before_publishing_trains_once(sandbox: JobSandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        entered = asyncio.Event()
        loop = asyncio.get_running_loop()

        def dies(self: Versions, model: str, folder: Path) -> int:
            loop.call_soon_threadsafe(entered.set)
            raise asyncio.CancelledError

        patch.setattr(Versions, "publish", dies)
        first = sandbox.server()
        await first.start()
        job = await first.jobs.create(spec())
        await entered.wait()
        await first.crash()
    before = len((sandbox.folder(job) / "checkpoints" / "attempts").read_text())
    async with sandbox.open() as second:
        done = await until(second, job, SUCCEEDED)
    assert before == 1
    assert done.version == 1
    assert [e.what.text for e in await events_of(sandbox.server().jobs, job) if isinstance(e.what, Log)] == [
        "begins after step 0"
    ]


async def test_announcement_is_repeated_until_the_database_stores_the_alias(sandbox: JobSandbox) -> None:
    announced: list[int] = []

    async def published(model: str, number: int, gated: bool) -> str:
        announced.append(number)
        if len(announced) < 3:
            raise DatabaseUnavailable("gone")
        return "it is stable"

    async with sandbox.open(take=published) as jobs:
        job = await jobs.create(spec())
        done = await until(jobs, job, SUCCEEDED)
    assert (done.promotion_outcome, announced) == ("it is stable", [1, 1, 1])
    assert sandbox.versions() == [1]
