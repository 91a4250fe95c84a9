"""A job from its creation to the version that it becomes, and what users do to it meanwhile."""

from __future__ import annotations

import asyncio
import math
from contextlib import aclosing
from dataclasses import replace

import pytest

from service.datasets.dataset import DatasetKind
from service.errors import IllegalMove, InvalidInput, NotFound, QuotaExceeded
from service.jobs.persistence.job_store import Quotas
from service.jobs.types import Checkpoint, JobState, Log, Metric, Progress
from service.training.job_spec import Method, Promotion
from tests.support.job_fakes import (
    DATA,
    QUICK,
    Shop,
    alive,
    events_of,
    moves,
    spec,
    state_of,
    until,
    until_step,
    until_true,
)

pytestmark = pytest.mark.asyncio

QUEUED, RUNNING, PAUSED = JobState.QUEUED, JobState.RUNNING, JobState.PAUSED
SUCCEEDED, FAILED, CANCELLED = JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED


async def test_a_job_becomes_a_version(shop_on_both: Shop) -> None:
    shop = shop_on_both
    async with shop.open() as jobs:
        job = await jobs.create(spec())
        assert job.state is QUEUED
        events = await events_of(jobs, job)
        job = await jobs.get(job.id)
    assert moves(events) == [QUEUED, RUNNING, SUCCEEDED]
    assert (job.state, job.version, job.promotion_outcome) == (SUCCEEDED, 1, "stable is now 1")
    assert job.metrics == {"train/loss": 0.2, "validation/accuracy": 1.0}
    assert job.progress is not None
    assert job.progress.ratio == 1.0
    assert job.started is not None
    assert job.ended is not None
    assert job.created <= job.started <= job.ended
    assert job.attempts == 1
    assert shop.published == [("flowers", 1)]
    assert shop.versions() == [1]


async def test_a_watcher_sees_every_event_once_in_order_from_any_point_on(shop_on_both: Shop) -> None:
    async with shop_on_both.open() as jobs:
        job = await jobs.create(spec(steps=30))
        whole = await events_of(jobs, job)
        assert [event.sequence for event in whole] == list(range(1, len(whole) + 1))
        assert sum(isinstance(event.what, Checkpoint) for event in whole) == 30
        assert {type(event.what) for event in whole} >= {Progress, Metric, Log, Checkpoint}
        for after in (1, 7, len(whole) - 1, len(whole), len(whole) + 5):
            assert await events_of(jobs, job, after) == whole[after:]


async def test_watchers_that_come_while_it_runs_miss_nothing(shop: Shop) -> None:
    async with shop.open() as jobs:
        job = await jobs.create(spec(steps=40, wait="go"))
        early = [asyncio.create_task(events_of(jobs, job)) for _ in range(3)]
        await until_step(jobs, job, 20)
        late = asyncio.create_task(events_of(jobs, job))
        shop.allow()
        seen = await asyncio.gather(*early, late)
    assert all(events == seen[0] for events in seen)
    assert moves(seen[0])[-1] is SUCCEEDED


async def test_with_the_latest_event_comes_the_job_as_it_then_is(shop: Shop) -> None:
    async with shop.open() as jobs:
        job = await jobs.create(spec())
        async with aclosing(jobs.watch(job.id)) as watched:
            seen = [pair async for pair in watched]
    for event, now in seen:
        assert now is None or now.last_event == event.sequence
    assert seen[-1][1] is not None
    assert seen[-1][1].state is SUCCEEDED


async def test_a_cancelled_job_ends_and_leaves_nothing_but_its_log(shop_on_both: Shop) -> None:
    shop = shop_on_both
    async with shop.open() as jobs:
        job = await jobs.create(spec(wait="never"))
        await until_step(jobs, job, 4)
        pid = shop.pid(job)
        assert (await jobs.cancel(job.id)).state is JobState.CANCELLING
        events = await events_of(jobs, job)
        assert moves(events) == [QUEUED, RUNNING, JobState.CANCELLING, CANCELLED]
        assert not alive(pid)
        assert shop.versions() == []
        await until_true(lambda: {p.name for p in shop.folder(job).iterdir()} <= {"log.txt", "spec.json"})
        assert (await jobs.cancel(job.id)).state is CANCELLED, "a second cancel changes nothing"
        with pytest.raises(IllegalMove, match="CANCELLED cannot be resumed"):
            await jobs.resume(job.id)


async def test_a_worker_that_hears_nothing_is_ended_by_a_cancel(shop: Shop) -> None:
    async with shop.open(replace(QUICK, cancel_s=0.2)) as jobs:
        job = await jobs.create(spec(wait="never", deaf=1))
        await until_step(jobs, job, 4)
        pid = shop.pid(job)
        await jobs.cancel(job.id)
        await until(jobs, job, CANCELLED)
        assert not alive(pid)


async def test_a_job_that_waits_is_cancelled_at_once(shop: Shop) -> None:
    jobs = shop.supervisor()
    job = await jobs.create(spec())
    assert (await jobs.cancel(job.id)).state is CANCELLED
    assert moves(await events_of(jobs, job)) == [QUEUED, CANCELLED]


async def test_a_paused_job_goes_on_where_it_stopped(shop_on_both: Shop) -> None:
    shop = shop_on_both
    async with shop.open() as jobs:
        job = await jobs.create(spec(wait="go"))
        await until_step(jobs, job, 4)
        await jobs.pause(job.id)
        paused = await until(jobs, job, PAUSED)
        assert not alive(shop.pid(job))
        assert (await jobs.pause(job.id)).state is PAUSED, "a second pause changes nothing"
        assert [point.step for point in await jobs.checkpoints(job.id)] == [1, 2, 3, 4]
        shop.allow()
        assert (await jobs.resume(job.id)).state is QUEUED
        events = await events_of(jobs, job)
    assert moves(events) == [QUEUED, RUNNING, PAUSED, QUEUED, RUNNING, SUCCEEDED]
    later = [event.what.text for event in events[paused.last_event :] if isinstance(event.what, Log)]
    assert later == ["begins after step 4"]


async def test_the_place_of_a_paused_job_goes_to_the_next(shop: Shop) -> None:
    async with shop.open() as jobs:
        first = await jobs.create(spec("one", wait="go"))
        await until_step(jobs, first, 4)
        second = await jobs.create(spec("two"))
        assert (await jobs.get(second.id)).state is QUEUED, "one at a time on a device"
        await jobs.pause(first.id)
        assert (await until(jobs, second, SUCCEEDED)).version == 1
        assert (await jobs.get(first.id)).state is PAUSED


async def test_a_job_that_waits_can_be_paused(shop: Shop) -> None:
    jobs = shop.supervisor()
    job = await jobs.create(spec())
    assert (await jobs.pause(job.id)).state is PAUSED
    assert (await jobs.cancel(job.id)).state is CANCELLED


async def test_a_pause_that_is_taken_back_before_it_took_place_leaves_the_job_at_work(shop: Shop) -> None:
    async with shop.open() as jobs:
        job = await jobs.create(spec(wait="go"))
        await until_step(jobs, job, 4)
        await jobs.pause(job.id)
        await jobs.resume(job.id)
        shop.allow()
        assert PAUSED not in moves(await events_of(jobs, job))
        assert (await jobs.get(job.id)).state is SUCCEEDED


async def test_a_failed_job_says_why_and_goes_on_from_its_checkpoint_when_resumed(shop: Shop) -> None:
    async with shop.open() as jobs:
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


async def test_who_goes_first_is_told_by_priority_then_by_age(shop_on_both: Shop) -> None:
    shop = shop_on_both
    jobs = shop.supervisor()
    asked = {"late": 5, "early": 5, "urgent": 1, "idle": 9}
    made = {}
    for name in ("early", "late", "idle", "urgent"):
        made[name] = await jobs.create(spec(name, steps=1).model_copy(update={"priority": asked[name]}))
    async with shop.open() as jobs:
        for job in made.values():
            await until(jobs, job, SUCCEEDED)
    assert [model for model, _ in shop.published] == ["urgent", "early", "late", "idle"]


async def test_as_many_jobs_run_at_once_as_the_device_may_have(shop: Shop) -> None:
    async with shop.open(replace(QUICK, per_device=2)) as jobs:
        made = [await jobs.create(spec(f"m{number}", wait="go")) for number in range(3)]
        for job in made[:2]:
            await until_step(jobs, job, 4)
        assert [(await jobs.get(job.id)).state for job in made] == [RUNNING, RUNNING, QUEUED]
        shop.allow()
        for job in made:
            await until(jobs, job, SUCCEEDED)


async def test_two_jobs_that_publish_the_same_name_at_once_both_get_a_number(shop_on_both: Shop) -> None:
    shop = shop_on_both
    async with shop.open(replace(QUICK, per_device=2)) as jobs:
        made = [await jobs.create(spec("flowers", wait="go")) for _ in range(2)]
        for job in made:
            await until_step(jobs, job, 4)
        shop.allow()
        ended = [await until(jobs, job, SUCCEEDED) for job in made]
    assert {job.version for job in ended} == {1, 2}
    assert shop.versions() == [1, 2]


async def test_a_dataset_that_is_deleted_during_its_job_fails_it_with_that_sentence(shop: Shop) -> None:
    async with shop.open() as jobs:
        job = await jobs.create(spec(wait="never"))
        await until_step(jobs, job, 4)
        assert await jobs.in_use(DATA)
        (shop.home / "datasets" / DATA).rename(shop.home / "gone")
        failed = await until(jobs, job, FAILED)
        assert failed.state_reason == "the data set 'photos' is gone; it was deleted while the job needed it"
        assert not alive(shop.pid(job))
        assert not await jobs.in_use(DATA)

        waiting = await jobs.create(spec())
        assert "is gone" in (await until(jobs, waiting, FAILED)).state_reason


async def test_a_result_that_is_no_version_fails_its_job(shop: Shop) -> None:
    async with shop.open() as jobs:
        job = await jobs.create(spec(half=1))
        assert "cannot be published" in (await until(jobs, job, FAILED)).state_reason
        assert shop.versions() == []


async def test_a_version_that_cannot_be_loaded_is_told_and_stays(shop: Shop) -> None:
    async def broken(model: str, number: int, gated: bool) -> str:
        raise RuntimeError("/secret/path")

    async with shop.open(published=broken) as jobs:
        job = await jobs.create(spec())
        done = await until(jobs, job, SUCCEEDED)
        assert done.version == 1
        assert "could not be loaded" in done.promotion_outcome
        assert "secret" not in done.promotion_outcome


async def test_a_job_may_keep_its_result_from_becoming_stable(shop: Shop) -> None:
    async with shop.open() as jobs:
        job = await jobs.create(spec().model_copy(update={"promotion": Promotion.NEVER}))
        assert (await until(jobs, job, SUCCEEDED)).promotion_outcome == "stable stays"


async def test_a_worker_that_talks_too_much_or_nonsense_harms_nobody(shop: Shop) -> None:
    async with shop.open() as jobs:
        job = await jobs.create(spec(chatter=3000))
        events = await events_of(jobs, job)
        assert moves(events)[-1] is SUCCEEDED
        losses = [event.what for event in events if isinstance(event.what, Metric) and event.what.split == "train"]
        assert len(losses) < 300, "a fast loop does not write a row each step"
        logs = [event.what.text for event in events if isinstance(event.what, Log)]
        assert all(len(text) <= 2000 for text in logs)
        assert len(logs) < 1000


async def test_a_worker_that_holds_too_much_memory_is_ended_with_the_figures(shop: Shop) -> None:
    async with shop.open(replace(QUICK, memory_mib=512)) as jobs:
        job = await jobs.create(spec(wait="never", resident_mib=812.4))
        assert (await until(jobs, job, FAILED)).state_reason == "the worker held 812 MiB, and may hold 512 MiB"


async def test_what_the_server_knows_of_features_goes_before_the_worker(shop: Shop) -> None:
    asked = []

    async def features(base: str, dataset_id: str, folder: object, progress: object) -> None:
        asked.append((base, dataset_id))
        progress(5, 10)  # type: ignore[operator]

    async with shop.open(features=features) as jobs:
        job = await jobs.create(spec(method="head", wait_features=1))
        events = await events_of(jobs, job)
    assert asked == [("efficientnet_lite0", DATA)]
    assert moves(events)[-1] is SUCCEEDED
    assert any(isinstance(event.what, Progress) and event.what.phase == "features" for event in events)


async def test_features_that_the_server_cannot_compute_are_the_workers(shop: Shop) -> None:
    async def broken(*_: object) -> None:
        raise RuntimeError("not loaded")

    async with shop.open(features=broken) as jobs:
        job = await jobs.create(spec(method="head", wait_features=1))
        assert await until(jobs, job, SUCCEEDED)


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        ({"base": "efficientnet_lite1"}, NotFound, "did you mean 'efficientnet_lite0'"),
        ({"dataset_id": "photo"}, NotFound, "did you mean 'photos'"),
        ({"model": "efficientnet_lite0"}, InvalidInput, r"spec\.model: .* is a model of the zoo"),
    ],
)
async def test_a_job_that_cannot_be_is_refused(
    shop: Shop, changes: dict[str, str], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        await shop.supervisor().create(spec().model_copy(update=changes))


async def test_what_does_not_fit_is_refused_before_it_is_queued(shop: Shop) -> None:
    def plan(*_: object) -> None:
        raise InvalidInput("spec.hyperparameters.learning_rate", "expected at most 1, got 1e9")

    jobs = shop.supervisor(plan=plan)
    with pytest.raises(InvalidInput, match="learning_rate"):
        await jobs.create(spec())
    assert (await jobs.list(10)).jobs == ()


async def test_a_job_is_judged_before_its_data_are_there_and_nothing_is_made(shop: Shop) -> None:
    without_data = spec().model_copy(update={"dataset_id": ""})
    jobs = shop.supervisor()
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


async def test_who_may_have_no_more_jobs_hears_it_before_he_uploads(shop: Shop) -> None:
    jobs = shop.supervisor(replace(QUICK, quotas=Quotas(per_owner=1)))
    await jobs.create(spec(), owner="ann")
    with pytest.raises(QuotaExceeded, match="you have 1 jobs"):
        await jobs.check(spec(), owner="ann")
    await jobs.check(spec(), owner="bob")
    await jobs.check(spec())


async def test_a_job_nobody_knows_is_not_found(shop: Shop) -> None:
    jobs = shop.supervisor()
    for ask in (jobs.get, jobs.cancel, jobs.pause, jobs.resume, jobs.checkpoints):
        with pytest.raises(NotFound, match="unknown job 'nobody'"):
            await ask("nobody")
    with pytest.raises(NotFound):
        await anext(jobs.watch("nobody"))


async def test_metrics_tell_of_jobs_and_forget_those_that_have_ended(shop: Shop) -> None:
    async with shop.open() as jobs:
        job = await jobs.create(spec(wait="go"))
        await until_step(jobs, job, 4)
        labels = {"job": job.id, "model": "flowers"}
        value = shop.registry.get_sample_value
        assert math.isclose(value("zoo_job_progress_ratio", labels) or 0, 0.72)
        assert value("zoo_job_metric", labels | {"metric": "accuracy", "split": "validation"}) == 0.8
        await until_true(lambda: value("zoo_jobs", {"state": "running"}) == 1)
        shop.allow()
        await until(jobs, job, SUCCEEDED)
        await until_true(lambda: value("zoo_jobs", {"state": "succeeded"}) == 1)
        await until_true(lambda: value("zoo_job_progress_ratio", labels) is None)
        assert value("zoo_jobs", {"state": "running"}) == 0


async def test_a_job_rests_while_served_models_are_waited_for(shop: Shop) -> None:
    pressure = 0.0
    async with shop.open(
        replace(QUICK, yielding=replace(QUICK.yielding, share=0.0)), pressure=lambda: pressure
    ) as jobs:
        job = await jobs.create(spec(wait="go"))
        await until_step(jobs, job, 4)
        pid = shop.pid(job)
        pressure = 2.0
        await until_true(lambda: state_of(pid) == "T")
        async with asyncio.timeout(30):
            while not (await jobs.get(job.id)).yielding:  # noqa: ASYNC110 - a flag, no event
                await asyncio.sleep(0.01)
        pressure = 0.0
        await until_true(lambda: state_of(pid) != "T")
        shop.allow()
        done = await until(jobs, job, SUCCEEDED)
        assert not done.yielding
        logs = [e.what.text for e in await events_of(jobs, job) if isinstance(e.what, Log)]
        assert "the job rests while calls to served models wait" in logs


@pytest.mark.parametrize("verb", ["cancel", "pause"])
async def test_a_job_that_rests_still_hears_its_user(shop: Shop, verb: str) -> None:
    pressure = 0.0
    limits = replace(QUICK, yielding=replace(QUICK.yielding, share=0.0))
    async with shop.open(limits, pressure=lambda: pressure) as jobs:
        job = await jobs.create(spec(wait="never"))
        await until_step(jobs, job, 4)
        pid, pressure = shop.pid(job), 5.0
        await until_true(lambda: state_of(pid) == "T")
        await getattr(jobs, verb)(job.id)
        await until(jobs, job, CANCELLED if verb == "cancel" else PAUSED)
        assert not alive(pid)


async def test_a_job_is_not_starved_by_a_server_that_is_always_busy(shop: Shop) -> None:
    limits = replace(QUICK, yielding=replace(QUICK.yielding, longest_s=0.05, share=0.3))
    async with shop.open(limits, pressure=lambda: 100.0) as jobs:
        job = await jobs.create(spec(steps=10))
        assert await until(jobs, job, SUCCEEDED)
