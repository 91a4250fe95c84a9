"""Which requests the policy admits, and which it refuses at once because they would be late."""

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.scheduler.cost import Cost, KnownCost, Law
from service.scheduler.policy import (
    Batch,
    BatchLimits,
    DevicePolicy,
    NetworkQueue,
)
from tests.support.scheduler.queues import (
    KNOWN,
    NEVER,
    UNKNOWN,
    World,
    push,
)

# ── who may come in ───────────────────────────────────────────────────────────────────────────────────────────────


def busy(lanes: int = 1, waiting: int = 8, cost: Cost = KNOWN) -> tuple[World, NetworkQueue]:
    """Every lane runs a full batch of four (0.5 s) since 0.0, and rows wait."""
    w = World(lanes)
    q = w.queue(cost=cost)
    push(q, *[60.0] * 4 * lanes)
    for _ in range(lanes):
        assert isinstance(w.policy.next(0.0), Batch)
    push(q, *[60.0] * waiting)
    return w, q


def test_request_that_cannot_be_in_time_is_refused_with_a_retry_hint() -> None:
    w, q = busy()
    # Half a second until the lane is free, as much for each of the two batches before it, 0.2 s for itself.
    assert w.policy.refuse(q, 1, 60.0, 0.0) is None
    push(q, *[0.9] * 8)
    assert w.policy.refuse(q, 1, 1.75, 0.0) == pytest.approx(0.5 + 2 * 0.5 + 0.5 - 1.75)


def test_only_rows_that_go_before_count_as_work_ahead() -> None:
    w, q = busy()
    assert w.policy.refuse(q, 1, 0.75, 0.0) is None, "it passes all that waits: 0.5 s for the lane and 0.2 of its own"
    assert w.policy.refuse(q, 1, 0.65, 0.0) == pytest.approx(0.05)


def test_request_too_short_for_an_idle_device_gets_no_retry_hint() -> None:
    w, q = busy()
    assert w.policy.refuse(q, 1, 0.19, 0.0) == math.inf
    assert w.policy.refuse(q, 1, 0.21, 0.0) == pytest.approx(0.7 - 0.21)


def test_request_that_idle_lanes_could_share_is_never_called_impossible() -> None:
    w, q = busy(lanes=2, waiting=0, cost=KnownCost(Law(0.0, 1.0, 0.0)))
    # Four a batch, four seconds: sixteen rows take an idle device eight, a round of 4 and 4 and another.
    assert w.policy.refuse(q, 16, 7.9, 0.0) == math.inf
    assert w.policy.refuse(q, 16, 8.1, 0.0) == pytest.approx(12.0 - 8.1)
    # Three take it two seconds, of 2 and 1.
    assert w.policy.refuse(q, 3, 1.9, 0.0) == math.inf
    assert w.policy.refuse(q, 3, 2.1, 0.0) == pytest.approx(7.0 - 2.1)


def test_rows_on_their_way_to_the_queue_count() -> None:
    w, q = busy(waiting=0)
    assert w.policy.refuse(q, 1, 0.75, 0.0) is None
    assert w.policy.refuse(q, 1, 0.75, 0.0, preparing=8) == pytest.approx(0.5 + 1.0 + 0.5 - 0.75)


def test_more_is_admitted_as_the_running_batch_nears_its_end() -> None:
    w, q = busy(waiting=0)
    assert w.policy.refuse(q, 1, 0.65, 0.0) is not None
    assert w.policy.refuse(q, 1, 0.95, 0.3) is None


def beside_the_patient(*, asked: list[tuple[int, float]]) -> Batch:
    """The batch after a full batch (42 ms), if a row that must run in a batch of twenty waits among many that have time, and
    others asked meanwhile for more than there was time for."""
    w = World()
    q = w.queue(batch=32, cost=KnownCost(Law(0.010, 0.001, 0.0)))
    push(q, *[60.0] * 32)
    running = w.policy.next(0.0)
    assert isinstance(running, Batch)
    push(q, 0.042 + 0.0305, *[60.0] * 31)
    for rows, deadline in asked:
        assert w.policy.refuse(q, rows, deadline, 0.0) is not None
    w.policy.finished(running, 0.042)
    step = w.policy.next(0.042)
    assert isinstance(step, Batch)
    return step


def test_impossible_request_does_not_mark_the_queue_overloaded() -> None:
    one_row_in_a_millisecond, two_hundred_in_a_tenth_of_a_second = (1, 0.001), (200, 0.1)
    batch = beside_the_patient(asked=[one_row_in_a_millisecond, two_hundred_in_a_tenth_of_a_second])
    assert (len(batch.rows), len(batch.too_late)) == (20, 0)


def test_under_a_load_that_makes_others_late_batches_stay_full() -> None:
    time_enough_on_an_idle_device = (1, 0.050)
    batch = beside_the_patient(asked=[time_enough_on_an_idle_device])
    assert (len(batch.rows), len(batch.too_late)) == (31, 1)


def test_waiting_rows_are_shared_by_the_lanes() -> None:
    one, of_one = busy(lanes=1, waiting=0)
    two, of_two = busy(lanes=2, waiting=0)
    at_one = one.policy.answered_at(of_one, 8, 60.0, 0.0)
    at_two = two.policy.answered_at(of_two, 8, 60.0, 0.0)
    assert at_one == pytest.approx(1.5)
    assert at_two == pytest.approx(1.0)


def test_idle_device_refuses_no_request() -> None:
    w = World()
    q = w.queue(cost=KNOWN)
    assert w.policy.refuse(q, 100, 0.001, 0.0) is None


def test_no_request_is_refused_while_the_cost_is_unknown() -> None:
    w, q = busy(cost=UNKNOWN)
    assert w.policy.refuse(q, 1, 0.001, 0.0) is None


@given(
    st.tuples(st.floats(1e-5, 1.0), st.floats(0.0, 1.0), st.floats(0.0, 0.1)),
    st.integers(0, 40),
    st.integers(0, 3),
    st.integers(1, 9),
    st.integers(0, 9),
    st.floats(0.0, 20.0),
    st.floats(0.0, 20.0),
)
@settings(max_examples=300, deadline=None)
def test_quick_check_admits_only_what_the_full_check_admits(
    law: tuple[float, float, float], waiting: int, taken: int, rows: int, preparing: int, passed: float, left: float
) -> None:
    policy = DevicePolicy(lanes=2)
    asked = policy.add("q", BatchLimits(4, 64), KnownCost(Law(*law), 0.2))
    policy.add("idle", BatchLimits(4, 64), KNOWN)
    push(asked, *[NEVER] * waiting)
    for _ in range(min(taken, 2)):
        policy.next(0.0)
    now, deadline = passed, passed + left
    at = policy.answered_at(asked, rows, deadline, now, preparing=preparing)
    assert at is not None
    if policy._surely_before(asked, Law(*law), rows + preparing, deadline, now):
        assert at <= deadline


def test_rows_are_refused_by_their_own_length() -> None:
    """Hundreds of moments of sound after hours of it are a matter of seconds; hundreds of hours after moments are not."""
    w, q = busy(waiting=0, cost=KnownCost(Law(0.0, 0.0, 0.001)))
    q.usual_length = 1000.0
    assert w.policy.refuse(q, 400, 60.0, 0.0) is not None
    assert w.policy.refuse(q, 400, 60.0, 0.0, length=1.0) is None
    q.usual_length = 1.0
    assert w.policy.refuse(q, 400, 60.0, 0.0) is None
    assert w.policy.refuse(q, 400, 60.0, 0.0, length=1000.0) is not None


def test_another_network_takes_no_more_than_its_share_of_the_time() -> None:
    w = World()
    mine, other = w.queue("mine", cost=KNOWN), w.queue("other", cost=KNOWN)
    push(other, *[1.0] * 400)
    running = w.policy.next(0.0)
    assert isinstance(running, Batch)
    at = w.policy.answered_at(mine, 1, 60.0, 0.0)
    assert at == pytest.approx(0.5 + 0.2 + 0.2), "as much for the other as for mine, not its 396 rows"
    other.set_limits(replace(other.limits, weight=3.0))
    assert w.policy.answered_at(mine, 1, 60.0, 0.0) == pytest.approx(0.5 + 0.2 + 0.6)
