"""The contract of the stores of jobs: what users and servers rely on, on SQLite and on PostgreSQL alike.

Every statement that the stores send is sent here to both databases. The other
tests of jobs use SQLite, except those of takeover and of competing servers.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, text, update

from model_zoo.release import own_release
from model_zoo.strict_json import NotFinite
from service.database import Database
from service.database.tables import events as event_rows
from service.database.tables import jobs
from service.errors import AlreadyExists, IllegalMove, InvalidInput, NotFound, PermissionDenied, QuotaExceeded
from service.jobs.desired_state import DesiredState
from service.jobs.job_folder import job_folder
from service.jobs.job_limits import OwnerTerms, Quotas
from service.jobs.persistence.event_store import EventStore
from service.jobs.persistence.job_store import JobStore
from service.jobs.persistence.leases import Leases
from service.jobs.persistence.retention import Retention
from service.jobs.persistence.row_mapping import spec_text
from service.jobs.persistence.transitions import LeaseLost
from service.jobs.types import Checkpoint, Job, JobState, Log, Metric, Progress, StateChanged
from tests.support.database.fixtures import opened
from tests.support.jobs.fakes import DATA, spec, states_of
from tests.support.jobs.stores import QUOTAS, Clock, create

pytestmark = pytest.mark.asyncio

QUEUED, RUNNING, PAUSED, CANCELLING = JobState.QUEUED, JobState.RUNNING, JobState.PAUSED, JobState.CANCELLING
SUCCEEDED, FAILED, CANCELLED = JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED


# ── create ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_request_repeated_at_once_creates_one_job(database: Database) -> None:
    store = JobStore(database)
    made = await asyncio.gather(*(create(store, request_id="r1") for _ in range(8)))
    assert len({job.id for job in made}) == 1
    assert len((await store.list(10)).jobs) == 1
    repeated = await store.repeated(spec(), "r1", "")
    assert repeated is not None
    assert repeated.id == made[0].id
    assert await store.repeated(spec(), "r1", "another") is None
    assert (await create(store, request_id="r2")).id != made[0].id
    assert (await create(store, request_id="r1", owner="another")).id != made[0].id
    assert (await create(store)).id != (await create(store)).id, "without an id, each is a job of its own"


async def test_request_id_used_for_another_job_is_rejected(database: Database) -> None:
    store = JobStore(database)
    job = await create(store, request_id="r1")
    for again in (create(store, spec("trees"), "r1"), store.repeated(spec("trees"), "r1", "")):
        with pytest.raises(AlreadyExists, match=rf"'r1' was used before, for another job \({job.id}\)"):
            await again


async def test_owner_over_quota_is_rejected_even_when_requests_come_at_once(database: Database) -> None:
    store, quotas = JobStore(database), Quotas(per_owner=2, queued=100)
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


async def test_queue_over_its_limit_is_rejected(database: Database) -> None:
    store, quotas = JobStore(database), Quotas(per_owner=100, queued=3)
    for owner in ("a", "b", "c"):
        await create(store, owner=owner, quotas=quotas)
    with pytest.raises(QuotaExceeded, match="3 jobs wait already, and the limit is 3"):
        await create(store, owner="d", quotas=quotas)
    with pytest.raises(QuotaExceeded, match="3 jobs wait already"):
        await store.check_may_create("m", "d", quotas)


async def test_limit_of_an_owner_goes_before_that_of_the_server(database: Database) -> None:
    store, quotas = JobStore(database), Quotas(per_owner=2, queued=100)
    for _ in range(3):
        await create(store, owner="ann", quotas=quotas, terms=OwnerTerms(most=3))
    with pytest.raises(QuotaExceeded, match="the limit is 3"):
        await create(store, owner="ann", quotas=quotas, terms=OwnerTerms(most=3))
    await create(store, owner="bob", quotas=quotas, terms=OwnerTerms(most=1))
    with pytest.raises(QuotaExceeded, match="the limit is 1"):
        await store.check_may_create("m", "bob", quotas, OwnerTerms(most=1))


async def test_model_of_another_owner_takes_no_job_of_one_who_may_make_only_own_models(database: Database) -> None:
    store, sole = JobStore(database), OwnerTerms(sole=True)
    first = await create(store, owner="ann", terms=sole)
    await create(store, owner="ann", terms=sole)
    with pytest.raises(PermissionDenied, match="belongs to another principal"):
        await create(store, owner="bob", terms=sole)
    with pytest.raises(PermissionDenied):
        await store.check_may_create(first.spec.model, "bob", QUOTAS, sole)
    await create(store, spec(model="other"), owner="bob", terms=sole)
    await create(store, owner="root")  # who may change any model


async def test_model_for_which_every_job_failed_is_free_again(database: Database) -> None:
    store, sole = JobStore(database), OwnerTerms(sole=True)
    await store.cancel((await create(store, owner="ann", terms=sole)).id)
    await create(store, owner="bob", terms=sole)


async def test_owner_of_a_version_is_that_of_the_job_that_published_it(database: Database) -> None:
    store = JobStore(database)
    job = await create(store, owner="ann")
    published = update(jobs).where(jobs.c.id == job.id).values(version=3, state=SUCCEEDED)
    await database.write(lambda c: c.execute(published))
    assert await store.owner_of_version(job.spec.model, 3) == "ann"
    assert await store.owner_of_version(job.spec.model, 4) is None
    with pytest.raises(PermissionDenied):
        await create(store, owner="bob", terms=OwnerTerms(sole=True))


async def test_version_belongs_to_its_owner_when_its_job_was_deleted(database: Database, tmp_path: Path) -> None:
    store, sole = JobStore(database), OwnerTerms(sole=True)
    job = await create(store, owner="ann", terms=sole)
    published = update(jobs).where(jobs.c.id == job.id).values(version=1, state=SUCCEEDED)
    await database.write(lambda c: c.execute(published))
    await Retention(database, tmp_path).delete(job.id)
    assert await store.owner_of_version(job.spec.model, 1) == "ann"
    with pytest.raises(PermissionDenied):
        await create(store, owner="bob", terms=sole)
    await create(store, owner="ann", terms=sole)


# ── get and list ──────────────────────────────────────────────────────────────────────────────────────────────────


async def test_unknown_job_is_not_found_by_any_verb(database: Database) -> None:
    store, events = JobStore(database), EventStore(database)
    for ask in (
        store.get("unknown"),
        store.cancel("unknown"),
        store.pause("unknown"),
        store.resume("unknown", QUOTAS),
        events.after("unknown", 0, 1),
        events.checkpoints("unknown"),
        Retention(database, Path("/nowhere")).delete("unknown"),
    ):
        with pytest.raises(NotFound, match="unknown job 'unknown'"):
            await ask


async def test_pages_show_every_job_once_newest_first_while_jobs_are_created(database: Database) -> None:
    clock = Clock()
    store = JobStore(database, clock)
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


async def test_page_after_a_deleted_job_continues_behind_it(database: Database, tmp_path: Path) -> None:
    store = JobStore(database)
    made = [(await create(store)).id for _ in range(5)]
    page = await store.list(2)
    deleted = page.jobs[-1].id
    await store.cancel(deleted)
    await Retention(database, tmp_path).delete(deleted)
    rest = await store.list(10, page.next_token)
    assert sorted([page.jobs[0].id, deleted, *(job.id for job in rest.jobs)]) == sorted(made)


async def test_list_with_filters_shows_matching_jobs_only(database: Database) -> None:
    store = JobStore(database)
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
        await store.list(10, "unknown")


async def test_dataset_is_in_use_until_its_jobs_have_ended(database: Database) -> None:
    store = JobStore(database)
    one, other = await create(store), await create(store)
    await store.pause(one.id)
    assert sorted(await store.using(DATA)) == sorted([one.id, other.id])
    assert await store.using("another") == ()
    await store.cancel(one.id)
    await store.cancel(other.id)
    assert await store.using(DATA) == ()


# ── cancel, pause, resume ─────────────────────────────────────────────────────────────────────────────────────────


async def test_queued_job_is_paused_resumed_and_cancelled_at_once(database: Database) -> None:
    store, events = JobStore(database), EventStore(database)
    job = await create(store)
    assert (await store.pause(job.id)).state is PAUSED
    assert (await store.pause(job.id)).state is PAUSED, "a second pause changes nothing"
    assert (await store.resume(job.id, QUOTAS)).state is QUEUED
    assert (await store.resume(job.id, QUOTAS)).state is QUEUED, "nor does a second resume"
    cancelled = await store.cancel(job.id)
    assert cancelled.state is CANCELLED
    assert cancelled.ended is not None
    assert await store.cancel(job.id) == cancelled, "nor a second cancel"
    for ask in (store.pause(job.id), store.resume(job.id, QUOTAS)):
        with pytest.raises(IllegalMove, match="CANCELLED cannot be"):
            await ask
    _, seen = await events.after(job.id, 0, 100)
    assert states_of(seen) == [QUEUED, PAUSED, QUEUED, CANCELLED]


async def test_running_job_keeps_the_requests_of_its_users_for_its_server(database: Database) -> None:
    store, leases = JobStore(database), Leases(database)
    job = await create(store)
    claimed = await leases.claim("one", "cpu", 30.0)
    assert claimed is not None
    assert claimed.desired is DesiredState.RUN
    assert (await store.pause(job.id)).state is RUNNING
    assert (await leases.renew(job.id, "one", 30.0)).desired is DesiredState.PAUSE
    for _ in range(2):
        assert (await store.resume(job.id, QUOTAS)).state is RUNNING, "a job that runs is left to run"
        assert (await leases.renew(job.id, "one", 30.0)).desired is DesiredState.RUN
    assert (await store.cancel(job.id)).state is CANCELLING
    assert (await leases.renew(job.id, "one", 30.0)).desired is DesiredState.CANCEL


@pytest.mark.parametrize(
    ("request_stop", "ends_as", "becomes"),
    [
        (None, QUEUED, QUEUED),
        (None, PAUSED, QUEUED),
        ("pause", QUEUED, PAUSED),
        ("pause", PAUSED, PAUSED),
        ("pause", FAILED, FAILED),
        ("cancel", QUEUED, CANCELLED),
        ("cancel", FAILED, CANCELLED),
        ("cancel", SUCCEEDED, SUCCEEDED),
    ],
)
async def test_move_by_a_server_follows_what_users_want_at_that_moment(
    database: Database, request_stop: str | None, ends_as: JobState, becomes: JobState
) -> None:
    store, leases = JobStore(database), Leases(database)
    job = await create(store)
    await leases.claim("one", "cpu", 30.0)
    if request_stop is not None:
        await {"pause": store.pause, "cancel": store.cancel}[request_stop](job.id)
    moved = await leases.move(job.id, "one", ends_as, "a reason\0")
    assert moved.state is becomes
    assert moved.state_reason == ("a reason" if becomes is not CANCELLED else "")
    assert await store.get(job.id) == moved
    with pytest.raises(LeaseLost):
        await leases.renew(job.id, "one", 30.0)


async def test_failed_job_is_resumed_only_with_a_checkpoint_and_within_quotas(database: Database) -> None:
    store, leases, events = JobStore(database), Leases(database), EventStore(database)
    job = await create(store, owner="ann")
    await leases.claim("one", "cpu", 30.0)
    await leases.move(job.id, "one", FAILED, "it broke", deaths=2)
    with pytest.raises(IllegalMove, match="has no checkpoint cannot be resumed"):
        await store.resume(job.id, QUOTAS)
    other = await create(store)
    await leases.claim("one", "cpu", 30.0)
    await events.append(other.id, "one", [(1.0, Checkpoint(1, 1, {}, True, 1, other.created))])
    await leases.move(other.id, "one", FAILED, "it broke", deaths=2)
    with pytest.raises(QuotaExceeded):
        await store.resume(other.id, Quotas(per_owner=0))
    resumed = await store.resume(other.id, QUOTAS)
    assert (resumed.state, resumed.ended, resumed.state_reason) == (QUEUED, None, "")
    again = await leases.claim("one", "cpu", 30.0)
    assert again is not None
    assert (again.deaths, again.job.attempts) == (0, 2)


# ── leases ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_job_claimed_by_many_servers_at_once_goes_to_one(database: Database) -> None:
    store, leases = JobStore(database), Leases(database)
    for _ in range(6):
        await create(store)
    claims = await asyncio.gather(*(leases.claim(f"s{number}", "cpu", 30.0) for number in range(10)))
    # PostgreSQL's servers look past each other's candidates, and may see none where there is one; they look again.
    while (more := await leases.claim("late", "cpu", 30.0)) is not None:
        claims.append(more)
    won = [lease.job.id for lease in claims if lease is not None]
    assert len(won) == len(set(won)) == 6


async def test_claims_go_by_priority_and_then_by_age(database: Database) -> None:
    clock = Clock()
    store, leases = JobStore(database, clock), Leases(database, clock)
    for name, priority in (("early", 5), ("late", 5), ("idle", 9), ("urgent", 1)):
        await create(store, spec(name).model_copy(update={"priority": priority}))
        clock.now += 1
    claimed = []
    while (lease := await leases.claim("one", "cpu", 30.0)) is not None:
        claimed.append(lease.job.spec.model)
    assert claimed == ["urgent", "early", "late", "idle"]


NEW_CONTENT: dict[str, dict[str, Any]] = {
    "field": {"hologram": {"depth": 3}},
    "choice": {"method": "prefix"},
    "bound": {"priority": 99},
    "hyperparameter": {"hyperparameters": {"warp": 9}},
    "value of a hyperparameter": {"hyperparameters": {"epochs": 10**6}},
}


async def written(database: Database, job: Job, release: str | None, **content: Any) -> None:
    """Lets the row of a job be written by another release, with other content of its spec."""
    spec_now = json.dumps(json.loads(spec_text(job.spec)) | content)
    change = update(jobs).where(jobs.c.id == job.id).values(spec=spec_now, zoo_version=release)
    await database.write(lambda c: c.execute(change))


@pytest.mark.parametrize("content", NEW_CONTENT.values(), ids=NEW_CONTENT)
async def test_job_that_only_a_newer_release_understands_is_left_to_its_servers(
    database: Database, content: dict[str, Any]
) -> None:
    store, leases = JobStore(database), Leases(database)
    newer, other = await create(store), await create(store)
    await written(database, newer, "99.0.0", **content)
    lease = await leases.claim("here", "cpu", 30.0)
    assert lease is not None
    assert lease.job.id == other.id
    assert await leases.claim("here", "cpu", 30.0) is None
    left = await store.get(newer.id)
    assert (left.state, left.damaged, left.newer) == (QUEUED, "", True)
    assert left.state_reason == "waits for a server of the newer Zoo that created it"
    assert (left.spec.model, left.spec.base) == (newer.spec.model, newer.spec.base)
    assert (await store.cancel(newer.id)).state is CANCELLED


@pytest.mark.parametrize("release", [None, "0.0.1", own_release(), "new", ""])
async def test_wrong_spec_of_no_newer_release_fails_its_job(database: Database, release: str | None) -> None:
    store = JobStore(database)
    job = await create(store)
    await written(database, job, release, hologram=1)
    assert await Leases(database).claim("here", "cpu", 30.0) is None
    assert (await store.get(job.id)).state is FAILED


async def test_job_of_a_newer_release_that_this_one_understands_is_claimed_and_keeps_its_release(
    database: Database,
) -> None:
    store = JobStore(database)
    job = await create(store)
    await written(database, job, "99.0.0", hyperparameters={"epochs": 3})
    lease = await Leases(database).claim("here", "cpu", 30.0)
    assert lease is not None
    query = select(jobs.c.zoo_version).where(jobs.c.id == job.id)
    assert await database.read(lambda c: c.execute(query).scalar()) == "99.0.0"


async def test_row_with_an_id_that_cannot_be_read_stops_no_claim(tmp_path: Path) -> None:
    database = opened(f"sqlite:///{tmp_path / 'zoo.db'}")
    await database.open()
    store, leases = JobStore(database), Leases(database)
    hurt, damaged, whole = await create(store), await create(store), await create(store)
    await written(database, damaged, None, hologram=1)
    for number, job in enumerate((hurt, damaged)):
        statements = [
            f"INSERT INTO jobs SELECT CAST(x'ff61{number:02}' AS TEXT), {OTHER_COLUMNS} FROM jobs WHERE id = '{job.id}'",
            f"DELETE FROM jobs WHERE id = '{job.id}'",
        ]
        for statement in statements:
            await database.write(lambda c, statement=statement: c.execute(text(statement)))
    lease = await leases.claim("here", "cpu", 30.0)
    assert lease is not None
    assert lease.job.id == whole.id
    assert await leases.claim("here", "cpu", 30.0) is None
    database.close()


OTHER_COLUMNS = ", ".join(column.name for column in jobs.columns if column.name != "id")


async def test_fields_of_events_that_only_a_newer_zoo_knows_are_left_out(database: Database) -> None:
    store, event_store = JobStore(database), EventStore(database)
    job = await create(store)
    await Leases(database).claim("here", "cpu", 30.0)
    wanted = [
        Log(level="info", text="a"),
        Metric(name="loss", split="train", value=0.5, step=1),
        Progress(phase="training", ratio=0.5, step=1),
    ]
    await event_store.append(job.id, "here", [(5.0, what) for what in wanted])
    for row in await database.read(lambda c: c.execute(select(event_rows).where(event_rows.c.sequence > 2)).all()):
        body = json.dumps(json.loads(row.body) | {"hologram": 1})
        same = event_rows.c.sequence == row.sequence
        await database.write(
            lambda c, same=same, body=body: c.execute(update(event_rows).where(same).values(body=body))
        )
    _, stored = await event_store.after(job.id, 0, 100)
    assert [event.what for event in stored][2:] == wanted


async def test_lease_holds_while_it_is_renewed_and_is_then_taken_over(database: Database) -> None:
    clock = Clock()
    store, leases = JobStore(database, clock), Leases(database, clock)
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
        EventStore(database).append(job.id, "one", [(clock.now, Log(level="info", text="still here"))]),
        leases.take_over(job.id, "one", "three", 30.0),
    ):
        with pytest.raises(LeaseLost):
            await late
    assert (await store.get(job.id)).state is JobState.RUNNING


async def test_lease_of_a_server_that_has_certainly_ended_is_taken_over_before_it_runs_out(database: Database) -> None:
    store, leases = JobStore(database), Leases(database)
    job = await create(store)
    await leases.claim("one", "cpu", 3600.0)
    assert await leases.abandoned(("another",)) == ()
    assert await leases.abandoned(("one",)) == ((job.id, "one"),)
    with pytest.raises(LeaseLost):
        await leases.take_over(job.id, "one", "two", 30.0)
    await store.cancel(job.id)
    lease = await leases.take_over(job.id, "one", "one", 30.0)
    assert (lease.job.state, lease.desired) == (CANCELLING, DesiredState.CANCEL)


async def test_abandoned_job_taken_over_by_many_servers_at_once_goes_to_one(database: Database) -> None:
    clock = Clock()
    store, leases = JobStore(database, clock), Leases(database, clock)
    job = await create(store)
    await leases.claim("gone", "cpu", 30.0)
    clock.now += 60
    tries = [leases.take_over(job.id, "gone", f"s{number}", 30.0) for number in range(6)]
    outcomes = await asyncio.gather(*tries, return_exceptions=True)
    assert sum(isinstance(outcome, LeaseLost) for outcome in outcomes) == 5


async def test_job_whose_worker_died_is_claimed_after_its_delay(database: Database) -> None:
    clock = Clock()
    store, leases = JobStore(database, clock), Leases(database, clock)
    job = await create(store)
    await leases.claim("one", "cpu", 30.0)
    await leases.move(job.id, "one", JobState.QUEUED, "died", not_before=clock.now + 4.0, deaths=1)
    assert await leases.claim("one", "cpu", 30.0) is None
    clock.now += 4.0
    lease = await leases.claim("one", "cpu", 30.0)
    assert lease is not None
    assert (lease.deaths, lease.job.attempts) == (1, 2)


# ── events and checkpoints ────────────────────────────────────────────────────────────────────────────────────────


async def test_events_keep_their_order_and_exact_values(database: Database) -> None:
    store, events = JobStore(database), EventStore(database)
    leases = Leases(database)
    job = await create(store)
    await leases.claim("one", "cpu", 30.0)
    happened = [Metric(name="loss", split="train", value=1e300, step=2**40), Log(level="info", text="naïve ☃")]
    await events.append(job.id, "one", [(5.0, what) for what in happened], yielding=True)
    now, stored = await events.after(job.id, 0, 100)
    assert [event.what for event in stored][2:] == happened
    assert [event.sequence for event in stored] == [1, 2, 3, 4]
    assert now.metrics == {"train/loss": 1e300}
    assert now.yielding
    with pytest.raises(NotFinite, match="train/loss"):
        await events.append(job.id, "one", [(6.0, Metric(name="loss", split="train", value=float("nan"), step=3))])
    assert (await events.after(job.id, 0, 100)) == (now, stored)
    await leases.move(job.id, "one", JobState.PAUSED)
    assert not (await store.get(job.id)).yielding


async def test_events_after_any_number_are_read_in_order_up_to_a_limit(database: Database) -> None:
    store, leases, events = JobStore(database), Leases(database), EventStore(database)
    job = await create(store)
    await leases.claim("one", "cpu", 30.0)
    new = [Progress(phase="training", ratio=step / 10, step=step) for step in range(10)]
    await events.append(job.id, "one", [(5.0, event) for event in new])
    now, whole = await events.after(job.id, 0, 100)
    assert [event.sequence for event in whole] == list(range(1, 13))
    assert now.last_event == 12
    assert now.progress == new[-1]
    for after, limit in ((0, 3), (1, 100), (7, 2), (11, 100), (12, 100), (17, 100)):
        assert (await events.after(job.id, after, limit))[1] == whole[after : after + limit]


async def test_latest_best_checkpoint_is_the_best_and_a_repeated_step_is_stored_once(database: Database) -> None:
    store, events = JobStore(database), EventStore(database)
    leases = Leases(database)
    job = await create(store)
    await leases.claim("one", "cpu", 30.0)
    for step, best in ((10, True), (20, True), (30, False), (20, False), (30, True)):
        point = Checkpoint(step, 1, {"validation/loss": 1 / step}, best, 2**33, job.created)
        await events.append(job.id, "one", [(float(step), point)])
    kept = await events.checkpoints(job.id)
    assert [(point.step, point.best) for point in kept] == [(10, False), (20, False), (30, True)]
    assert kept[0].size_bytes == 2**33
    await events.keep_checkpoints(job.id, [30])
    assert [point.step for point in await events.checkpoints(job.id)] == [30]


async def test_checkpoint_resets_the_count_of_deaths(database: Database) -> None:
    store, leases, events = JobStore(database), Leases(database), EventStore(database)
    job = await create(store)
    await leases.claim("one", "cpu", 30.0)
    await leases.move(job.id, "one", QUEUED, "died", deaths=2)
    lease = await leases.claim("one", "cpu", 30.0)
    assert lease is not None
    assert lease.deaths == 2
    await events.append(job.id, "one", [(1.0, Checkpoint(1, 1, {}, True, 1, job.created))])
    assert (await leases.renew(job.id, "one", 30.0)).deaths == 0


# ── retention ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "jobs").mkdir()
    return tmp_path


async def ended(database: Database, home: Path, clock: Callable[[], float] = lambda: 1_000_000.0) -> Job:
    """A job that has succeeded, with events, a checkpoint and a folder."""
    store, leases, events = JobStore(database, clock), Leases(database, clock), EventStore(database)
    job = await create(store)
    await leases.claim("one", "cpu", 30.0)
    point = Checkpoint(1, 1, {}, True, 1, job.created)
    await events.append(job.id, "one", [(1.0, Log(level="info", text="hello")), (2.0, point)])
    folder = job_folder(home, job.id)
    folder.mkdir()
    (folder / "log.txt").write_text("a log")
    return await leases.move(job.id, "one", SUCCEEDED, version=1, promotion_outcome="stable is now 1")


async def test_deleted_job_is_gone_with_its_rows_and_its_folder(database: Database, home: Path) -> None:
    job, other = await ended(database, home), await ended(database, home)
    store, events, retention = JobStore(database), EventStore(database), Retention(database, home)
    assert await retention.delete(job.id) > 0
    for ask in (store.get(job.id), retention.delete(job.id), events.checkpoints(job.id), events.after(job.id, 0, 9)):
        with pytest.raises(NotFound):
            await ask
    assert not job_folder(home, job.id).exists()
    assert [one.id for one in (await store.list(10)).jobs] == [other.id]
    assert job_folder(home, other.id).exists()
    assert len((await events.after(other.id, 0, 9))[1]) == 5, "the others keep their events"
    assert len(await events.checkpoints(other.id)) == 1


async def test_job_that_has_not_ended_is_not_deleted(database: Database, home: Path) -> None:
    store, leases, retention = JobStore(database), Leases(database), Retention(database, home)
    job = await create(store)
    for state, move in (
        (QUEUED, None),
        (PAUSED, store.pause(job.id)),
        (QUEUED, store.resume(job.id, QUOTAS)),
        (RUNNING, leases.claim("one", "cpu", 30.0)),
        (CANCELLING, store.cancel(job.id)),
    ):
        if move is not None:
            await move
        with pytest.raises(IllegalMove, match=f"a job that is {state.upper()} cannot be deleted"):
            await retention.delete(job.id)
        assert (await store.get(job.id)).state is state


async def test_request_id_of_a_deleted_job_is_free_again(database: Database, home: Path) -> None:
    store = JobStore(database)
    job = await create(store, request_id="r1")
    await store.cancel(job.id)
    await Retention(database, home).delete(job.id)
    assert (await create(store, request_id="r1")).id != job.id


async def test_old_job_keeps_its_row_and_its_last_event(database: Database, home: Path) -> None:
    job = await ended(database, home)
    store, events, retention = JobStore(database), EventStore(database), Retention(database, home)
    assert job.ended is not None
    _, whole = await events.after(job.id, 0, 9)
    assert await retention.trim(before=job.ended.timestamp() - 1) == 0, "not yet"
    assert await retention.trim(before=job.ended.timestamp() + 1) == 1
    assert await store.get(job.id) == job, "with its metrics, its version and its outcome"
    assert (await events.after(job.id, 0, 9))[1] == whole[-1:]
    assert whole[-1].what == StateChanged(SUCCEEDED)
    assert await events.checkpoints(job.id) == ()
    assert not job_folder(home, job.id).exists()
    assert await retention.trim(before=job.ended.timestamp() + 1) == 0, "once is enough"


async def test_job_that_has_not_ended_is_never_trimmed(database: Database, home: Path) -> None:
    store, retention = JobStore(database), Retention(database, home)
    waiting, paused = await create(store), await create(store)
    await store.pause(paused.id)
    assert await retention.trim(before=float("inf")) == 0
    assert len((await EventStore(database).after(paused.id, 0, 10))[1]) == 2
    assert (await store.get(waiting.id)).state is QUEUED


async def test_servers_that_trim_one_job_at_once_trim_it_once(database: Database, home: Path) -> None:
    job = await ended(database, home)
    servers = [Retention(database, home) for _ in range(4)]
    assert job.ended is not None
    before = job.ended.timestamp() + 1
    assert sum(await asyncio.gather(*(server.trim(before) for server in servers))) == 1
