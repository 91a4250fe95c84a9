"""What users and servers rely on of the jobs in a database, whichever it is."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from model_zoo.strict_json import NotFinite
from service.errors import AlreadyExists, IllegalMove, InvalidInput, QuotaExceeded
from service.jobs.job_states import ACTIVE, MOVES, check_move
from service.jobs.persistence.event_store import EventStore
from service.jobs.persistence.job_store import JobStore, Quotas
from service.jobs.persistence.leases import Leases
from service.jobs.persistence.transitions import LeaseLost
from service.jobs.types import Checkpoint, Job, JobSpec, JobState, Log, Metric, StateChanged
from tests.support.job_fakes import Shop, spec

QUOTAS = Quotas(per_owner=1000, queued=1000)


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


async def create(
    store: JobStore, asked: JobSpec | None = None, request_id: str = "", owner: str = "", **more: Any
) -> Job:
    asked = asked or spec()
    return await store.create(asked, asked, request_id, owner, more.get("quotas", QUOTAS))


# ── made once ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.asyncio
async def test_a_request_that_is_sent_again_makes_no_second_job(shop_on_both: Shop) -> None:
    jobs = shop_on_both.supervisor()
    made = await asyncio.gather(*(jobs.create(spec(), "r1") for _ in range(8)))
    assert len({job.id for job in made}) == 1
    assert len((await jobs.list(10)).jobs) == 1
    assert (await jobs.create(spec(), "r2")).id != made[0].id
    assert (await jobs.create(spec(), "r1", owner="somebody else")).id != made[0].id
    assert (await jobs.create(spec())).id != (await jobs.create(spec())).id, "without an id, each is a job of its own"


@pytest.mark.asyncio
async def test_a_request_id_names_one_job_only(shop_on_both: Shop) -> None:
    jobs = shop_on_both.supervisor()
    job = await jobs.create(spec(), "r1")
    with pytest.raises(AlreadyExists, match=rf"'r1' was used before, for another job \({job.id}\)"):
        await jobs.create(spec("trees"), "r1")


@pytest.mark.asyncio
async def test_a_request_that_is_sent_again_gives_its_job_even_if_it_could_not_be_made_any_more(shop: Shop) -> None:
    jobs = shop.supervisor()
    job = await jobs.create(spec(), "r1")

    async def gone(dataset_id: str) -> None:
        raise AssertionError("is not asked again")

    again = shop.supervisor(dataset=gone)
    assert (await again.create(spec(), "r1")).id == job.id


# ── quotas ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.asyncio
async def test_nobody_holds_more_jobs_than_they_may(shop_on_both: Shop) -> None:
    store, quotas = JobStore(shop_on_both.database), Quotas(per_owner=2, queued=100)
    made = await asyncio.gather(*(create(store, owner="ann", quotas=quotas) for _ in range(5)), return_exceptions=True)
    assert sum(isinstance(job, Job) for job in made) == 2, "not even those who ask at once"
    refused = next(error for error in made if isinstance(error, QuotaExceeded))
    assert refused.message == "you have 2 jobs that have not ended, and the limit is 2"
    await create(store, owner="bob", quotas=quotas)
    first = next(job for job in made if isinstance(job, Job))
    await store.pause(first.id)
    with pytest.raises(QuotaExceeded):
        await create(store, owner="ann", quotas=quotas)
    await store.cancel(first.id)
    await create(store, owner="ann", quotas=quotas)


@pytest.mark.asyncio
async def test_the_queue_is_bounded(shop: Shop) -> None:
    store, quotas = JobStore(shop.database), Quotas(per_owner=100, queued=3)
    for owner in ("a", "b", "c"):
        await create(store, owner=owner, quotas=quotas)
    with pytest.raises(QuotaExceeded, match="3 jobs wait already, and the limit is 3"):
        await create(store, owner="d", quotas=quotas)


# ── lists ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.asyncio
async def test_pages_show_every_job_once_the_newest_first_while_new_ones_come(shop_on_both: Shop) -> None:
    clock = Clock()
    store = JobStore(shop_on_both.database, clock)
    made = []
    for number in range(11):
        clock.now += number % 2  # some at the very same time
        made.append((await create(store)).id)
    seen: list[str] = []
    page = await store.list(4)
    while True:
        seen += [job.id for job in page.jobs]
        if not page.next_token:
            break
        clock.now += 1
        await create(store)
        page = await store.list(4, page.next_token)
    assert sorted(seen) == sorted(made)
    assert len(seen) == 11
    times = [(await store.get(job_id)).created for job_id in seen]
    assert times == sorted(times, reverse=True)


@pytest.mark.asyncio
async def test_lists_can_be_narrowed(shop_on_both: Shop) -> None:
    store = JobStore(shop_on_both.database)
    one = await create(store, spec("one"), owner="ann")
    two = await create(store, spec("two"), owner="bob")
    await store.cancel(two.id)

    async def ids(**filters: Any) -> list[str]:
        return [job.id for job in (await store.list(10, **filters)).jobs]

    assert await ids(state=JobState.QUEUED) == [one.id]
    assert await ids(model="two") == [two.id]
    assert await ids(owner="ann") == [one.id]
    assert await ids(owner="ann", model="two") == []
    assert (await store.counts())[JobState.CANCELLED] == 1
    with pytest.raises(InvalidInput, match="page_token"):
        await store.list(10, "nobody")


# ── leases ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.asyncio
async def test_a_job_is_claimed_by_one_server_only(shop_on_both: Shop) -> None:
    store, leases = JobStore(shop_on_both.database), Leases(shop_on_both.database)
    for _ in range(6):
        await create(store)
    claims = await asyncio.gather(*(leases.claim(f"s{number}", "cpu", 30.0) for number in range(10)))
    # PostgreSQL's servers look past each other's candidates, and may see none where there is one; they look again.
    while (more := await leases.claim("late", "cpu", 30.0)) is not None:
        claims.append(more)
    won = [lease.job.id for lease in claims if lease is not None]
    assert len(won) == len(set(won)) == 6


@pytest.mark.asyncio
async def test_a_lease_holds_as_long_as_it_is_renewed(shop_on_both: Shop) -> None:
    clock = Clock()
    store, leases = JobStore(shop_on_both.database, clock), Leases(shop_on_both.database, clock)
    job = await create(store)
    await leases.claim("one", "cpu", 30.0)
    clock.now += 20
    await leases.renew(job.id, "one", 30.0)
    clock.now += 20
    assert await leases.abandoned() == ()
    clock.now += 20
    assert await leases.abandoned() == ((job.id, "one"),)
    assert (await leases.take_over(job.id, "one", "two", 30.0)).job.state is JobState.RUNNING
    for late in (
        leases.renew(job.id, "one", 30.0),
        leases.move(job.id, "one", JobState.SUCCEEDED),
        EventStore(shop_on_both.database).append(job.id, "one", [(clock.now, Log(level="info", text="still here"))]),
        leases.take_over(job.id, "one", "three", 30.0),
    ):
        with pytest.raises(LeaseLost):
            await late
    assert (await store.get(job.id)).state is JobState.RUNNING


@pytest.mark.asyncio
async def test_a_job_whose_worker_died_waits_before_the_next(shop_on_both: Shop) -> None:
    clock = Clock()
    store, leases = JobStore(shop_on_both.database, clock), Leases(shop_on_both.database, clock)
    job = await create(store)
    await leases.claim("one", "cpu", 30.0)
    await leases.move(job.id, "one", JobState.QUEUED, "died", not_before=clock.now + 4.0, deaths=1)
    assert await leases.claim("one", "cpu", 30.0) is None
    clock.now += 4.0
    lease = await leases.claim("one", "cpu", 30.0)
    assert lease is not None
    assert (lease.deaths, lease.job.attempts) == (1, 2)


# ── history ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.asyncio
async def test_what_happened_is_kept_in_order_with_its_values_as_they_were(shop_on_both: Shop) -> None:
    store, history = JobStore(shop_on_both.database), EventStore(shop_on_both.database)
    leases = Leases(shop_on_both.database)
    job = await create(store)
    await leases.claim("one", "cpu", 30.0)
    happened = [Metric(name="loss", split="train", value=1e300, step=2**40), Log(level="info", text="naïve ☃")]
    await history.append(job.id, "one", [(5.0, what) for what in happened], yielding=True)
    now, events = await history.after(job.id, 0, 100)
    assert [event.what for event in events][2:] == happened
    assert [event.sequence for event in events] == [1, 2, 3, 4]
    assert now.metrics == {"train/loss": 1e300}
    assert now.yielding
    with pytest.raises(NotFinite, match="train/loss"):
        await history.append(job.id, "one", [(6.0, Metric(name="loss", split="train", value=float("nan"), step=3))])
    assert (await history.after(job.id, 0, 100)) == (now, events)
    await leases.move(job.id, "one", JobState.PAUSED)
    assert not (await store.get(job.id)).yielding


@pytest.mark.asyncio
async def test_the_last_best_checkpoint_is_the_best_and_a_repeated_step_counts_once(shop_on_both: Shop) -> None:
    store, history = JobStore(shop_on_both.database), EventStore(shop_on_both.database)
    leases = Leases(shop_on_both.database)
    job = await create(store)
    await leases.claim("one", "cpu", 30.0)
    for step, best in ((10, True), (20, True), (30, False), (20, False), (30, True)):
        point = Checkpoint(step, 1, {"validation/loss": 1 / step}, best, 2**33, job.created)
        await history.append(job.id, "one", [(float(step), point)])
    kept = await history.checkpoints(job.id)
    assert [(point.step, point.best) for point in kept] == [(10, False), (20, False), (30, True)]
    assert kept[0].size_bytes == 2**33
    await history.keep_checkpoints(job.id, [30])
    assert [point.step for point in await history.checkpoints(job.id)] == [30]


# ── moves ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_every_state_can_be_reached_and_left_or_is_an_end() -> None:
    reached = {JobState.QUEUED}
    while more := {new for state in reached for new in MOVES[state]} - reached:
        reached |= more
    assert reached == set(JobState)
    for state in JobState:
        assert state.ended == (state not in ACTIVE)
        assert state.ended or MOVES[state]


def test_an_illegal_move_says_what_cannot_be() -> None:
    with pytest.raises(IllegalMove, match="a job that is SUCCEEDED cannot be paused"):
        check_move(JobState.SUCCEEDED, JobState.PAUSED, "be paused")


VERBS = ("claim", "cancel", "pause", "resume", "succeed", "fail", "rest", "retry", "checkpoint", "expire", "take over")


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(verbs=st.lists(st.sampled_from(VERBS), max_size=14))
@pytest.mark.asyncio
async def test_whatever_is_asked_in_whatever_order_only_legal_moves_happen(shop: Shop, verbs: list[str]) -> None:
    clock = Clock()
    store, history = JobStore(shop.database, clock), EventStore(shop.database)
    leases = Leases(shop.database, clock)
    job = await create(store, quotas=replace(QUOTAS, per_owner=10**6, queued=10**6))

    async def claim_it() -> None:
        while (lease := await leases.claim("one", "cpu", 30.0)) is not None and lease.job.id != job.id:
            await leases.move(lease.job.id, "one", JobState.FAILED, "not this one")

    point = Checkpoint(1, 1, {}, True, 1, job.created)
    for verb in verbs:
        clock.now += 1
        ask = {
            "claim": claim_it,
            "cancel": lambda: store.cancel(job.id),
            "pause": lambda: store.pause(job.id),
            "resume": lambda: store.resume(job.id, QUOTAS),
            "succeed": lambda: leases.move(job.id, "one", JobState.SUCCEEDED, version=1),
            "fail": lambda: leases.move(job.id, "one", JobState.FAILED, "no"),
            "rest": lambda: leases.move(job.id, "one", JobState.PAUSED),
            "retry": lambda: leases.move(job.id, "one", JobState.QUEUED),
            "checkpoint": lambda: history.append(job.id, "one", [(clock.now, point)]),
            "expire": lambda: asyncio.sleep(0, setattr(clock, "now", clock.now + 60)),
            "take over": lambda: leases.take_over(job.id, "one", "one", 30.0),
        }[verb]
        try:
            await ask()
        except (IllegalMove, LeaseLost):
            continue
    now, events = await history.after(job.id, 0, 1000)
    states = [event.what.state for event in events if isinstance(event.what, StateChanged)]
    assert states[0] is JobState.QUEUED
    assert all(new in MOVES[old] for old, new in pairwise(states))
    assert states[-1] is now.state
    assert [event.sequence for event in events] == list(range(1, now.last_event + 1))
    assert (now.ended is not None) == now.state.ended
    await store.cancel(job.id)  # none is left for the next example to claim
