"""The size of a batch: what its deadlines, the lengths of its rows and the other lanes allow."""

from dataclasses import replace

import pytest

from service.scheduler.cost import KnownCost, Law
from service.scheduler.policy import (
    PATIENCE_S,
    PROBE_S,
    Batch,
    BatchLimits,
    DevicePolicy,
)
from tests.support.scheduler.queues import (
    BY_LENGTH,
    KNOWN,
    LAW,
    NEVER,
    UNKNOWN,
    World,
    lengths_of,
    push,
    push_lengths,
    queue,
)

# ── batches that keep deadlines ───────────────────────────────────────────────────────────────────────────────────


def test_a_batch_shrinks_rather_than_make_its_urgent_row_late() -> None:
    q = queue(batch=8, cost=KNOWN)
    push(q, 0.35, *[9.0] * 7)
    batch = q.take(0.0)
    assert [e.index for e, _ in batch.rows] == [0, 1]
    assert batch.predicted_s == pytest.approx(0.3)
    assert len(q) == 6


def test_a_row_with_time_does_not_make_a_batch_small() -> None:
    q = queue(batch=8, cost=KNOWN)
    push(q, *[9.0] * 8)
    assert len(q.take(0.0).rows) == 8


@pytest.mark.parametrize("lengths", [False, True])
def test_rows_that_can_no_longer_be_in_time_do_not_run(lengths: bool) -> None:
    q = queue(batch=2, cost=KNOWN, lengths=lengths)
    push(q, 0.15, 9.0, 9.0)
    batch = q.take(0.0)
    assert [e.index for e in batch.too_late] == [0]
    assert [e.index for e, _ in batch.rows] == [1, 2]


def test_idle_device_runs_a_too_late_row_so_that_a_wrong_cost_cannot_last() -> None:
    q = queue(batch=2, cost=KNOWN)
    push(q, 0.1, 0.15)
    batch = q.take(0.0, device_is_idle=True)
    assert ([e.index for e in batch.too_late], [e.index for e, _ in batch.rows]) == ([0], [1])
    push(q, 0.1, 0.15)
    batch = q.take(0.0, device_is_idle=False)
    assert (len(batch.too_late), len(batch.rows)) == (2, 0), "but not on a busy one"


def test_network_with_a_wrong_cost_gets_a_probe_beside_a_busy_one() -> None:
    """Else a cost learned in a bad moment would keep it from ever learning better."""
    w = World()
    busy_one, wrong = w.queue("busy", cost=KNOWN), w.queue("wrong", cost=KnownCost(Law(1000.0, 0.0, 0.0)))
    push(busy_one, 1e6)
    assert isinstance(w.policy.next(0.0), Batch)
    assert w.policy.refuse(wrong, 1, 60.0, 0.0) is None
    push(wrong, 60.0)
    assert len(wrong.take(0.0, device_is_idle=False).rows) == 1
    assert w.policy.refuse(wrong, 1, 61.0, 1.0) is not None, "not again at once"
    push(wrong, 61.0, now=1.0)
    assert len(wrong.take(1.0, device_is_idle=False).too_late) == 1
    later = 1.0 + PROBE_S + 0.1
    assert w.policy.refuse(wrong, 1, 64.0, later) is None
    push(wrong, 64.0, now=later)
    assert len(wrong.take(later, device_is_idle=False).rows) == 1


def test_no_row_is_too_late_while_the_cost_is_unknown() -> None:
    q = queue(cost=UNKNOWN)
    push(q, 0.001)
    assert len(q.take(0.0, device_is_idle=False).rows) == 1


def test_one_row_does_not_shrink_a_batch_under_overload() -> None:
    q = queue(batch=8, cost=KnownCost(Law(1.0, 0.01, 0.0)))
    push(q, 1.025, *[9.0] * 7)
    q.mark_overloaded(0.0)
    batch = q.take(0.0)
    assert (len(batch.too_late), len(batch.rows)) == (1, 7)


@pytest.mark.parametrize(("arrived_at", "overloaded"), [(0.0, False), (-1.0, True)])
def test_only_a_row_that_the_load_made_late_marks_overload(arrived_at: float, overloaded: bool) -> None:
    q = queue(batch=8, cost=KNOWN)
    push(q, 0.15, 0.15, now=arrived_at)
    assert len(q.take(0.0).too_late) == 1
    assert q.is_overloaded(0.0) == overloaded


def test_too_late_row_reports_by_how_much() -> None:
    q = queue(batch=8, cost=KnownCost(LAW, spread=0.1))
    push(q, 0.15, 0.15)
    batch = q.take(0.0)
    assert batch.late_by_s(batch.too_late[0]) == pytest.approx(0.2 * 1.2 - 0.15)


def test_row_that_would_be_late_in_a_batch_waits_for_another() -> None:
    q = queue(batch=8, cost=KNOWN)
    push(q, 3.0, priority=1)
    push(q, *[0.7] * 2)
    push(q, *[9.0] * 5)
    batch = q.take(0.0)
    assert [e.deadline for e, _ in batch.rows] == [3.0, 9.0, 9.0, 9.0, 9.0, 9.0]
    assert [e.deadline for e, _ in q.take(0.0).rows] == [0.7, 0.7]


# ── lengths ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_rows_of_neighbouring_length_share_the_batch_of_the_first_row() -> None:
    q = queue(batch=3, cost=BY_LENGTH, lengths=True)
    push_lengths(q, 100, 10, 101, 11, 102, 12)
    assert lengths_of(q.take(0.0)) == [100, 101, 102]
    assert lengths_of(q.take(0.0)) == [10, 11, 12]


def test_long_recording_does_not_share_a_batch_with_seven_short_ones() -> None:
    q = queue(batch=8, cost=BY_LENGTH, lengths=True)
    push_lengths(q, 9_600_000, *[16_000] * 7, deadline=1e6)
    assert lengths_of(q.take(0.0)) == [9_600_000]
    assert lengths_of(q.take(0.0)) == [16_000] * 7


def test_every_batch_takes_the_row_with_the_earliest_effective_deadline() -> None:
    """The fairness bound: each batch without a row takes one with an earlier effective deadline, and no row waits beyond
    PATIENCE_S."""
    q = queue(batch=4, cost=BY_LENGTH, lengths=True)
    (odd,) = push_lengths(q, 500, deadline=1e6)
    earlier = 0
    now = 0.0
    while odd.waiting:
        push_lengths(q, *[10] * 6, deadline=now + 0.9, now=now)  # a crowd of short rows in a hurry, for ever
        head = q.head()
        batch = q.take(now)
        assert head in [*batch.expired, *[entry for entry, _ in batch.rows]]
        earlier += 1
        now += 0.5
        assert now <= PATIENCE_S + 1.0
    assert earlier > 1


def test_a_batch_of_many_lengths_is_as_quick_as_its_urgent_row_needs() -> None:
    law = Law(0.004, 0.0005, 0.0001)
    q = queue(batch=8, cost=KnownCost(law), lengths=True)
    push_lengths(q, *[11] * 7, deadline=9.0)
    push_lengths(q, 10, deadline=law.seconds(3, 11) + 1e-6)
    batch = q.take(0.0)
    assert lengths_of(batch) == [10, 11, 11]
    assert not batch.too_late


def test_no_row_is_refused_by_a_prediction_for_an_unknown_length() -> None:
    cost = replace(BY_LENGTH, reach=100.0)
    w = World()
    q = w.queue(batch=8, cost=cost, lengths=True)
    push_lengths(q, 10)
    assert isinstance(w.policy.next(0.0), Batch)
    push_lengths(q, 1000, deadline=0.05)
    batch = q.take(0.0, device_is_idle=False)
    assert lengths_of(batch) == [1000]
    q.usual_length = 1000.0
    assert w.policy.refuse(q, 1, 0.001, 0.0) is None


def test_batches_of_known_length_have_a_prediction() -> None:
    q = queue(batch=8, cost=BY_LENGTH, lengths=True)
    push_lengths(q, 30, 31)
    batch = q.take(0.0)
    assert batch.length == 31
    assert batch.predicted_s == pytest.approx(0.004 + 2 * (0.0005 + 31 * 0.0001))


# ── lanes ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("lengths", [False, True])
def test_waiting_rows_are_spread_evenly_over_the_lanes(lengths: bool) -> None:
    policy = DevicePolicy(lanes=2)
    rows = policy.add("q", BatchLimits(8, 64), KNOWN, lengths)
    push(rows, *[NEVER] * 7)
    sizes = [len(step.rows) for step in (policy.next(0.0), policy.next(0.0)) if isinstance(step, Batch)]
    assert sizes == [4, 3]


def test_callers_that_return_together_do_not_alternate_large_and_tiny_batches() -> None:
    """Twelve callers that ask again at once; one lane begins with eleven of them, the other with one."""
    policy = DevicePolicy(lanes=1)
    rows = policy.add("q", BatchLimits(12, 64), KNOWN)
    push(rows, *[NEVER] * 11)
    running = [(LAW.seconds(11, 1), policy.next(0.0))]
    policy.lanes = 2
    push(rows, NEVER)
    running.append((LAW.seconds(1, 1), policy.next(0.0)))
    sizes = []
    for _ in range(20):
        running.sort(key=lambda pair: pair[0])
        now, batch = running.pop(0)
        assert isinstance(batch, Batch)
        policy.finished(batch, now)
        push(rows, *[NEVER] * len(batch.rows), now=now)
        step = policy.next(now)
        assert isinstance(step, Batch)
        sizes.append(len(step.rows))
        running.append((now + LAW.seconds(len(step.rows), 1), step))
    assert set(sizes[-10:]) <= {5, 6, 7}


def test_a_lane_takes_all_of_its_network_where_another_network_wants_the_other_lane() -> None:
    policy = DevicePolicy(lanes=2)
    one, two = (policy.add(name, BatchLimits(8, 64), KNOWN) for name in ("one", "two"))
    push(one, *[NEVER] * 6)
    push(two, *[NEVER] * 6)
    sizes = [len(step.rows) for step in (policy.next(0.0), policy.next(0.0)) if isinstance(step, Batch)]
    assert sizes == [6, 6]
