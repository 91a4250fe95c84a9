"""One worker at one job: its messages, its limits, the requests of users, and its suspension for served models."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from dataclasses import replace

import pytest

from service.jobs import worker_session
from service.jobs.types import JobState, Log, Metric, Progress
from service.training.failures import DISK_FULL
from tests.support.jobs.fakes import (
    DATA,
    QUICK,
    JobSandbox,
    alive,
    events_of,
    kill,
    process_state,
    spec,
    states_of,
    until,
    until_step,
    until_true,
)

pytestmark = pytest.mark.asyncio

PAUSED, SUCCEEDED, FAILED, CANCELLED = JobState.PAUSED, JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED


async def test_worker_with_too_many_or_unreadable_lines_finishes_and_its_events_are_thinned(
    sandbox: JobSandbox,
) -> None:
    async with sandbox.open() as jobs:
        job = await jobs.create(spec(chatter=3000))
        events = await events_of(jobs, job)
        assert states_of(events)[-1] is SUCCEEDED
        losses = [event.what for event in events if isinstance(event.what, Metric) and event.what.split == "train"]
        assert len(losses) < 300, "a fast loop does not write a row each step"
        logs = [event.what.text for event in events if isinstance(event.what, Log)]
        assert all(len(text) <= 2000 for text in logs)
        assert len(logs) < 1000


# ── limits ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_worker_that_ignores_a_cancel_is_killed(sandbox: JobSandbox) -> None:
    async with sandbox.open(replace(QUICK, cancel_s=0.2)) as jobs:
        job = await jobs.create(spec(wait="never", deaf=1))
        await until_step(jobs, job, 4)
        pid = sandbox.pid(job)
        await jobs.cancel(job.id)
        await until(jobs, job, CANCELLED)
        assert not alive(pid)


async def test_worker_over_its_memory_limit_is_killed_with_the_figures(sandbox: JobSandbox) -> None:
    async with sandbox.open(replace(QUICK, memory_mib=512)) as jobs:
        job = await jobs.create(spec(wait="never", resident_mib=812.4))
        assert (await until(jobs, job, FAILED)).state_reason == "the worker held 812 MiB, and may hold 512 MiB"


async def test_worker_that_hangs_is_killed_and_tried_again(sandbox: JobSandbox) -> None:
    async with sandbox.open(replace(QUICK, silence_s=0.4)) as jobs:
        job = await jobs.create(spec(hang=1))
        failed = await until(jobs, job, FAILED)
        assert failed.state_reason.startswith("the worker gave no sign of life for 0 s")
        assert failed.attempts == 3
        assert not alive(sandbox.pid(job))


async def test_dataset_deleted_during_its_job_fails_the_job_with_that_reason(sandbox: JobSandbox) -> None:
    async with sandbox.open() as jobs:
        job = await jobs.create(spec(wait="never"))
        await until_step(jobs, job, 4)
        assert await jobs.in_use(DATA)
        (sandbox.home / "datasets" / DATA).rename(sandbox.home / "gone")
        failed = await until(jobs, job, FAILED)
        assert failed.state_reason == "the data set 'photos' is gone; it was deleted while the job needed it"
        assert not alive(sandbox.pid(job))
        assert not await jobs.in_use(DATA)

        waiting = await jobs.create(spec())
        assert "is gone" in (await until(jobs, waiting, FAILED)).state_reason


async def test_worker_that_dies_on_a_full_disk_fails_its_job_and_the_job_can_be_resumed(
    sandbox: JobSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with sandbox.open() as jobs:
        job = await jobs.create(spec("one", wait="go"))
        await until_step(jobs, job, 4)
        monkeypatch.setattr(worker_session, "is_full", lambda folder: True)
        kill(sandbox.pid(job), signal.SIGKILL)
        failed = await until(jobs, job, FAILED)
        assert failed.state_reason == DISK_FULL
        monkeypatch.undo()
        sandbox.allow()
        await jobs.resume(job.id)
        assert await until(jobs, job, SUCCEEDED, after=failed.last_event)


# ── features ──────────────────────────────────────────────────────────────────────────────────────────────────────


class Features:
    """Features in the server, computed by a function."""

    def __init__(self, compute: Callable[[str, str, Callable[[int, int], None]], None]) -> None:
        self._compute = compute

    async def compute(self, base: str, dataset_id: str, on_progress: Callable[[int, int], None]) -> None:
        self._compute(base, dataset_id, on_progress)


async def test_features_of_the_server_are_computed_before_the_worker_continues(sandbox: JobSandbox) -> None:
    asked = []

    def compute(base: str, dataset_id: str, on_progress: Callable[[int, int], None]) -> None:
        asked.append((base, dataset_id))
        on_progress(5, 10)

    async with sandbox.open(features=Features(compute)) as jobs:
        job = await jobs.create(spec(method="head", wait_features=1))
        events = await events_of(jobs, job)
    assert asked == [("efficientnet_lite0", DATA)]
    assert states_of(events)[-1] is SUCCEEDED
    assert any(isinstance(event.what, Progress) and event.what.phase == "features" for event in events)


async def test_features_that_the_server_cannot_compute_are_left_to_the_worker(sandbox: JobSandbox) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("not loaded")

    async with sandbox.open(features=Features(broken)) as jobs:
        job = await jobs.create(spec(method="head", wait_features=1))
        assert await until(jobs, job, SUCCEEDED)


# ── preemption ────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_worker_is_suspended_while_calls_to_served_models_wait(sandbox: JobSandbox) -> None:
    pressure = 0.0
    async with sandbox.open(
        replace(QUICK, preemption=replace(QUICK.preemption, share=0.0)), pressure=lambda: pressure
    ) as jobs:
        job = await jobs.create(spec(wait="go"))
        await until_step(jobs, job, 4)
        pid = sandbox.pid(job)
        pressure = 2.0
        await until_true(lambda: process_state(pid) == "T")
        async with asyncio.timeout(30):
            while not (await jobs.get(job.id)).yielding:  # noqa: ASYNC110 - a flag, no event
                await asyncio.sleep(0.01)
        pressure = 0.0
        await until_true(lambda: process_state(pid) != "T")
        sandbox.allow()
        done = await until(jobs, job, SUCCEEDED)
        assert not done.yielding
        logs = [e.what.text for e in await events_of(jobs, job) if isinstance(e.what, Log)]
        assert "the job rests while calls to served models wait" in logs


@pytest.mark.parametrize("verb", ["cancel", "pause"])
async def test_suspended_worker_obeys_a_cancel_or_a_pause(sandbox: JobSandbox, verb: str) -> None:
    pressure = 0.0
    limits = replace(QUICK, preemption=replace(QUICK.preemption, share=0.0))
    async with sandbox.open(limits, pressure=lambda: pressure) as jobs:
        job = await jobs.create(spec(wait="never"))
        await until_step(jobs, job, 4)
        pid, pressure = sandbox.pid(job), 5.0
        await until_true(lambda: process_state(pid) == "T")
        await getattr(jobs, verb)(job.id)
        await until(jobs, job, CANCELLED if verb == "cancel" else PAUSED)
        assert not alive(pid)


async def test_job_on_a_server_that_is_always_busy_finishes(sandbox: JobSandbox) -> None:
    limits = replace(QUICK, preemption=replace(QUICK.preemption, longest_s=0.05, share=0.3))
    async with sandbox.open(limits, pressure=lambda: 100.0) as jobs:
        job = await jobs.create(spec(steps=10))
        assert await until(jobs, job, SUCCEEDED)
