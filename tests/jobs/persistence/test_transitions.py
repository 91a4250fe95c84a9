"""Users and servers may ask for anything in any order: a job makes legal moves only, and has one event for each."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.errors import IllegalMove
from service.jobs.job_states import MOVES
from service.jobs.persistence.event_store import EventStore
from service.jobs.persistence.job_store import JobStore
from service.jobs.persistence.leases import Leases
from service.jobs.persistence.transitions import LeaseLost
from service.jobs.types import Checkpoint, JobState, StateChanged
from tests.support.jobs.fakes import JobSandbox
from tests.support.jobs.stores import QUOTAS, Clock, create

VERBS = ("claim", "cancel", "pause", "resume", "succeed", "fail", "stop", "retry", "checkpoint", "expire", "take over")


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(verbs=st.lists(st.sampled_from(VERBS), max_size=14))
@pytest.mark.asyncio
async def test_requests_in_any_order_make_legal_moves_only(sandbox: JobSandbox, verbs: list[str]) -> None:
    clock = Clock()
    store, event_store = JobStore(sandbox.database, clock), EventStore(sandbox.database)
    leases = Leases(sandbox.database, clock)
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
            "stop": lambda: leases.move(job.id, "one", JobState.PAUSED),
            "retry": lambda: leases.move(job.id, "one", JobState.QUEUED),
            "checkpoint": lambda: event_store.append(job.id, "one", [(clock.now, point)]),
            "expire": lambda: asyncio.sleep(0, setattr(clock, "now", clock.now + 60)),
            "take over": lambda: leases.take_over(job.id, "one", "one", 30.0),
        }[verb]
        try:
            await ask()
        except (IllegalMove, LeaseLost):
            continue
    now, events = await event_store.after(job.id, 0, 1000)
    states = [event.what.state for event in events if isinstance(event.what, StateChanged)]
    assert states[0] is JobState.QUEUED
    assert all(new in MOVES[old] for old, new in pairwise(states))
    assert states[-1] is now.state
    assert [event.sequence for event in events] == list(range(1, now.last_event + 1))
    assert (now.ended is not None) == now.state.ended
    await store.cancel(job.id)  # none is left for the next example to claim
