"""The opt-in delay: an idle device waits for a fuller batch, but no row is late for it, and none waits twice."""

import pytest

from service.scheduler.cost import KnownCost, Law
from service.scheduler.policy import Batch
from tests.support.scheduler.queues import (
    BY_LENGTH,
    World,
    push,
    push_lengths,
)

QUICK = KnownCost(Law(0.020, 0.0, 0.0), spread=0.1)
"""20 ms a batch, more or less."""


def sizes(w: World, now: float) -> list[int]:
    """Rows of the batches that start now, one on each lane that finds one."""
    found = []
    for _ in range(w.policy.lanes):
        step = w.policy.next(now)
        if isinstance(step, Batch):
            assert not step.too_late
            found.append(len(step.rows))
    return found


# ── how long ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_queue_with_a_delay_waits_until_its_oldest_row_has_waited_so_long() -> None:
    w = World()
    q = w.queue(delay_s=0.5)
    push(q, 100, now=1.0)
    push(q, 90, now=1.2)  # due earlier, but not older
    assert q.ready_at() == 1.5
    assert w.policy.choose(1.4) == 1.5
    assert w.policy.choose(1.5) is q


def test_a_full_batch_does_not_wait_for_the_delay() -> None:
    w = World()
    q = w.queue(batch=3, delay_s=10)
    push(q, 100, 100)
    assert w.policy.choose(0.0) == 10
    push(q, 100)
    assert w.policy.choose(0.0) is q


@pytest.mark.parametrize("deadline", [50, 200])  # in front of the other, and behind it
def test_dropped_rows_do_not_make_a_batch_full_or_old(deadline: float) -> None:
    w = World()
    q = w.queue(batch=2, delay_s=10)
    (first,) = push(q, deadline, now=0.0)
    push(q, 100, now=3.0)
    q.drop(first)
    assert w.policy.choose(9.0) == 13.0


def test_a_row_that_cannot_wait_for_the_delay_runs_at_once() -> None:
    """Deadlines are true: an idle device must not hold a row back until it is late."""
    w = World()
    q = w.queue(delay_s=0.5)
    push(q, 100, now=0.0)
    assert w.policy.choose(0.0) == 0.5
    push(q, 0.2, now=0.0)
    assert w.policy.choose(0.0) is q
    assert len(q.take(0.0).rows) == 2


def test_a_delay_ends_where_the_batch_itself_would_make_a_row_late() -> None:
    w = World()
    q = w.queue(delay_s=0.5)
    q.last_batch_s = 0.3
    push(q, 0.7)
    assert w.policy.choose(0.0) is q


def test_delayed_queue_does_not_hold_back_another() -> None:
    w = World()
    patient, prompt = w.queue("patient", delay_s=10), w.queue("prompt")
    push(patient, 50)
    push(prompt, 1000)
    assert w.policy.choose(0.0) is prompt


def test_the_device_looks_again_when_the_first_of_several_delays_ends() -> None:
    w = World()
    a, b = w.queue("a", delay_s=10), w.queue("b", delay_s=5)
    push(a, 100)
    push(b, 100)
    assert w.policy.choose(0.0) == 5


@pytest.mark.parametrize("spread", [0.0, 0.2])
def test_delayed_batch_is_in_time_for_all_its_rows(spread: float) -> None:
    """The last batch was of one row and quick; the one that waits is longer, and predictions err."""
    w = World()
    law = Law(0.010, 0.005, 0.0)
    q = w.queue(batch=8, delay_s=0.050, cost=KnownCost(law, spread))
    q.last_batch_s = law.seconds(1, 1)
    push(q, *[0.050 + law.seconds(4, 1) * (1 + 2 * spread) - 0.001] * 4)
    assert sizes(w, 0.0) == [4], "at the end of the delay there would be no time for four"


@pytest.mark.parametrize("spare_s", [0.0005, 0.0045, 0.0055])
def test_lane_that_wakes_a_little_late_makes_no_row_late(spare_s: float) -> None:
    w = World()
    q = w.queue(delay_s=0.050, cost=QUICK)
    push(q, *[0.050 + 0.020 * 1.2 + spare_s] * 3)
    if isinstance(awake := w.policy.choose(0.0), float):
        awake += 0.005
    else:
        awake = 0.0
    assert sizes(w, awake) == [3]


def test_delay_is_not_ended_by_a_prediction_for_an_unknown_length() -> None:
    w = World()
    q = w.queue(batch=8, delay_s=0.5, cost=KnownCost(Law(0.0, 0.0, 1.0), reach=10.0), lengths=True)
    push_lengths(q, 1000, deadline=2.0)
    assert w.policy.choose(0.0) == 0.5


# ── for whom it is over ───────────────────────────────────────────────────────────────────────────────────────────


def test_a_full_batch_runs_at_once_on_all_lanes_that_share_it() -> None:
    w = World(lanes=2)
    push(w.queue(batch=4, delay_s=1.0), *[100.0] * 4)
    assert sizes(w, 0.0) == [2, 2]


def test_rows_that_have_waited_run_at_once_on_all_lanes_that_share_them() -> None:
    w = World(lanes=2)
    q = w.queue(batch=8, delay_s=1.0)
    push(q, 100.0)
    push(q, *[100.0] * 2, now=0.9)
    assert w.policy.choose(0.9) == 1.0
    assert sizes(w, 1.0) == [2, 1]


@pytest.mark.parametrize("lanes", [1, 2])
def test_rows_beyond_a_full_batch_wait_for_a_batch_of_their_own(lanes: int) -> None:
    w = World(lanes)
    q = w.queue(batch=4, delay_s=1.0)
    push(q, *[100.0] * 7)
    assert w.run(0.0) == [0, 1, 2, 3]
    assert w.policy.choose(0.0) == 1.0
    push(q, 100.0, now=0.5)
    assert w.policy.choose(0.5) is q


def test_rows_left_out_for_their_length_do_not_wait_for_the_delay_again() -> None:
    w = World(lanes=1)
    q = w.queue(batch=4, delay_s=1.0, cost=BY_LENGTH, lengths=True)
    push_lengths(q, 10, 500, 10, 500)
    assert w.run(0.0) == [0, 2]
    assert w.run(0.0) == [1, 3]


def test_row_after_a_dropped_full_batch_waits_for_the_delay() -> None:
    w = World(lanes=2)
    q = w.queue(batch=4, delay_s=1.0)
    entries = push(q, *[100.0] * 4)
    assert w.run(0.0) == [0, 1]
    for entry in entries:
        q.drop(entry)
    push(q, 100.0, now=0.1)
    assert w.policy.choose(0.1) == 1.1


def test_a_batch_is_full_when_memory_has_room_for_no_more() -> None:
    w = World()
    q = w.queue(batch=32, delay_s=1.0)
    q.memory.exceeded(32, 1)
    push(q, *[100.0] * 15)
    assert w.policy.choose(0.0) == 1.0
    push(q, 100.0)
    assert sizes(w, 0.0) == [16]
