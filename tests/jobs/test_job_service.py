"""What users ask for: jobs are created, checked, watched and moved, or refused with a reason."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import replace

import pytest

from service.datasets.dataset import DatasetInfo, DatasetKind
from service.errors import AlreadyExists, Draining, InvalidInput, NotFound, QuotaExceeded
from service.jobs.job_limits import Quotas
from service.jobs.types import Checkpoint, JobState, Log, Metric, Progress
from service.training.job_spec import Method
from tests.support.jobs.fakes import (
    QUICK,
    JobSandbox,
    events_of,
    spec,
    states_of,
    until_step,
)

pytestmark = pytest.mark.asyncio

QUEUED, PAUSED = JobState.QUEUED, JobState.PAUSED
SUCCEEDED, CANCELLED = JobState.SUCCEEDED, JobState.CANCELLED


# ── create and check ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        ({"base": "efficientnet_lite1"}, NotFound, "did you mean .*'efficientnet_lite0'"),
        ({"dataset_id": "photo"}, NotFound, "did you mean 'photos'"),
        ({"model": "efficientnet_lite0"}, InvalidInput, r"spec\.model: .* is a model of the zoo"),
    ],
)
async def test_create_with_unknown_base_or_dataset_or_reserved_model_is_rejected(
    sandbox: JobSandbox, changes: dict[str, str], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        await sandbox.server().jobs.create(spec().model_copy(update=changes))


async def test_create_with_unfit_hyperparameters_is_rejected_and_queues_nothing(sandbox: JobSandbox) -> None:
    def plan(*_: object) -> None:
        raise InvalidInput("spec.hyperparameters.learning_rate", "expected at most 1, got 1e9")

    jobs = sandbox.server(plan=plan).jobs
    with pytest.raises(InvalidInput, match="learning_rate"):
        await jobs.create(spec())
    assert (await jobs.list(10)).jobs == ()


async def test_create_repeated_at_once_with_request_id_creates_one_job(sandbox: JobSandbox) -> None:
    jobs = sandbox.server().jobs
    made = await asyncio.gather(*(jobs.create(spec(), "r1") for _ in range(8)))
    assert len({job.id for job in made}) == 1
    assert len((await jobs.list(10)).jobs) == 1
    assert (await jobs.create(spec(), "r2")).id != made[0].id
    assert (await jobs.create(spec(), "r1", owner="another")).id != made[0].id
    assert (await jobs.create(spec())).id != (await jobs.create(spec())).id, "without an id, each is a job of its own"


async def test_create_with_request_id_of_another_job_is_rejected(sandbox: JobSandbox) -> None:
    jobs = sandbox.server().jobs
    job = await jobs.create(spec(), "r1")
    with pytest.raises(AlreadyExists, match=rf"'r1' was used before, for another job \({job.id}\)"):
        await jobs.create(spec("trees"), "r1")


async def test_create_repeated_with_request_id_returns_the_job_although_its_dataset_is_gone(
    sandbox: JobSandbox,
) -> None:
    jobs = sandbox.server().jobs
    job = await jobs.create(spec(), "r1")

    class DeletedDataset:
        async def get(self, dataset_id: str) -> DatasetInfo:
            raise AssertionError("the dataset is not read again")

    again = sandbox.server(datasets=DeletedDataset()).jobs
    assert (await again.create(spec(), "r1")).id == job.id


async def test_check_without_dataset_reports_what_create_would_and_creates_nothing(sandbox: JobSandbox) -> None:
    without_data = spec().model_copy(update={"dataset_id": ""})
    jobs = sandbox.server().jobs
    assert await jobs.check(without_data) == without_data
    assert await jobs.check(spec()) == spec()
    for changes, error in (
        ({"base": "efficientnet_lite1"}, NotFound),
        ({"model": "efficientnet_lite0"}, InvalidInput),
        ({"hyperparameters": {"epoch": 3}}, InvalidInput),
        ({"task": "text-classification"}, InvalidInput),
        ({"method": Method.LORA}, InvalidInput),
    ):
        with pytest.raises(error):
            await jobs.check(without_data.model_copy(update=changes))
    with pytest.raises(InvalidInput, match=r"spec\.base: .* learns from pictures"):
        await jobs.check(without_data, [DatasetKind.TABLE, DatasetKind.TEXT])
    with pytest.raises(NotFound, match="did you mean 'photos'"):
        await jobs.check(spec().model_copy(update={"dataset_id": "photo"}))
    assert (await jobs.list(10)).jobs == ()


async def test_check_of_an_owner_over_quota_is_rejected(sandbox: JobSandbox) -> None:
    jobs = sandbox.server(replace(QUICK, quotas=Quotas(per_owner=1))).jobs
    await jobs.create(spec(), owner="ann")
    with pytest.raises(QuotaExceeded, match="you have 1 jobs"):
        await jobs.check(spec(), owner="ann")
    await jobs.check(spec(), owner="bob")
    await jobs.check(spec())


# ── get, cancel, pause, resume ────────────────────────────────────────────────────────────────────────────────────


async def test_every_verb_on_an_unknown_job_is_not_found(sandbox: JobSandbox) -> None:
    jobs = sandbox.server().jobs
    for ask in (jobs.get, jobs.cancel, jobs.pause, jobs.resume, jobs.checkpoints):
        with pytest.raises(NotFound, match="unknown job 'unknown'"):
            await ask("unknown")
    with pytest.raises(NotFound):
        await anext(jobs.watch("unknown"))


async def test_cancel_of_a_queued_job_ends_it_at_once(sandbox: JobSandbox) -> None:
    jobs = sandbox.server().jobs
    job = await jobs.create(spec())
    assert (await jobs.cancel(job.id)).state is CANCELLED
    assert states_of(await events_of(jobs, job)) == [QUEUED, CANCELLED]


async def test_pause_of_a_queued_job_pauses_it_at_once(sandbox: JobSandbox) -> None:
    jobs = sandbox.server().jobs
    job = await jobs.create(spec())
    assert (await jobs.pause(job.id)).state is PAUSED
    assert (await jobs.cancel(job.id)).state is CANCELLED


# ── watch ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_watch_from_any_event_yields_each_later_event_once_in_order(sandbox: JobSandbox) -> None:
    async with sandbox.open() as jobs:
        job = await jobs.create(spec(steps=30))
        whole = await events_of(jobs, job)
        assert [event.sequence for event in whole] == list(range(1, len(whole) + 1))
        assert sum(isinstance(event.what, Checkpoint) for event in whole) == 30
        assert {type(event.what) for event in whole} >= {Progress, Metric, Log, Checkpoint}
        for after in (1, 7, len(whole) - 1, len(whole), len(whole) + 5):
            assert await events_of(jobs, job, after) == whole[after:]


async def test_watch_begun_while_the_job_runs_misses_no_event(sandbox: JobSandbox) -> None:
    async with sandbox.open() as jobs:
        job = await jobs.create(spec(steps=40, wait="go"))
        early = [asyncio.create_task(events_of(jobs, job)) for _ in range(3)]
        await until_step(jobs, job, 20)
        late = asyncio.create_task(events_of(jobs, job))
        sandbox.allow()
        seen = await asyncio.gather(*early, late)
    assert all(events == seen[0] for events in seen)
    assert states_of(seen[0])[-1] is SUCCEEDED


async def test_watch_yields_the_job_with_its_latest_event(sandbox: JobSandbox) -> None:
    async with sandbox.open() as jobs:
        job = await jobs.create(spec())
        async with aclosing(jobs.watch(job.id)) as watched:
            seen = [pair async for pair in watched]
    for event, now in seen:
        assert now is None or now.last_event == event.sequence
    assert seen[-1][1] is not None
    assert seen[-1][1].state is SUCCEEDED


async def test_close_ends_watches_and_rejects_new_jobs_as_draining(sandbox: JobSandbox) -> None:
    async with sandbox.open() as jobs:
        job = await jobs.create(spec(wait="never"))
        watching = asyncio.create_task(events_of(jobs, job))
        await until_step(jobs, job, 4)
    with pytest.raises(Draining):
        await watching
    with pytest.raises(Draining):
        await jobs.create(spec())
    with pytest.raises(Draining):
        await jobs.check(spec())
