"""Which row runs next, with whom, and who may come in, under a given clock."""

import itertools
import math
import weakref
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.fakes import item
from service.scheduler.cost import Cost, KnownCost, Law
from service.scheduler.memory_limit import RECOVERY_BATCHES, RECOVERY_STEPS
from service.scheduler.policy import (
    BORROW_S,
    CLASS_S,
    PATIENCE_S,
    PROBE_S,
    Batch,
    DevicePolicy,
    Entry,
    Limits,
    NetworkQueue,
)
from service.types import Item

NEVER = math.inf
UNKNOWN = KnownCost(None)
LAW = Law(0.1, 0.1, 0.0)
KNOWN = KnownCost(LAW)


class World:
    """A device and its queues by name."""

    def __init__(self, lanes: int = 1) -> None:
        self.policy = DevicePolicy(lanes)

    def queue(
        self, name: str = "q", batch: int = 4, delay_s: float = 0.0, cost: Cost = UNKNOWN, lengths: bool = False
    ) -> NetworkQueue:
        return self.policy.add(name, Limits(batch, 64, delay_s), cost, lengths)

    def run(self, now: float, seconds: float = 0.0) -> list[int]:
        """The next batch, which takes so long; the indices of its rows."""
        batch = self.policy.next(now)
        assert isinstance(batch, Batch)
        self.policy.finished(batch, now + seconds)
        return [entry.index for entry, _ in batch.rows]


def queue(batch: int = 4, delay_s: float = 0.0, cost: Cost = UNKNOWN, lengths: bool = False) -> NetworkQueue:
    return World().queue("q", batch, delay_s, cost, lengths)


def push(to: NetworkQueue, *deadlines: float, now: float = 0.0, priority: int = 0) -> list[Entry]:
    return [to.push(item(i), "ticket", i, deadline, now, priority) for i, deadline in enumerate(deadlines)]


def push_lengths(to: NetworkQueue, *lengths: int, deadline: float = 9.0, now: float = 0.0) -> list[Entry]:
    return [to.push(Item({}, length), "ticket", i, deadline, now) for i, length in enumerate(lengths)]


def indices(of: NetworkQueue, now: float = 0.0) -> list[int]:
    return [entry.index for entry, _ in of.take(now).rows]


def lengths_of(batch: Batch) -> list[int]:
    return sorted(entry.length for entry, _ in batch.rows)


# ── which row ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_earliest_deadline_rides_first() -> None:
    q = queue()
    push(q, 3, 1, 2)
    assert indices(q) == [1, 2, 0]


def test_equal_deadlines_ride_in_the_order_they_came() -> None:
    q = queue(batch=100)
    push(q, *[5.0] * 50)
    assert indices(q) == list(range(50))


def test_a_batch_never_holds_more_rows_than_its_limit_and_the_rest_stays_in_order() -> None:
    q = queue(batch=4)
    push(q, *[i / 2 for i in range(1, 11)])
    assert [indices(q), indices(q), indices(q), indices(q)] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9], []]


@pytest.mark.parametrize("lengths", [False, True])
def test_a_row_past_its_deadline_comes_back_late_and_takes_no_place_in_the_batch(lengths: bool) -> None:
    q = queue(batch=2, lengths=lengths)
    push(q, 1, 2, 7, 8, 9)
    batch = q.take(now=2)
    assert [e.index for e in batch.late] == [0, 1], "a deadline that is now has passed"
    assert [e.index for e, _ in batch.rows] == [2, 3]
    assert len(q) == 1


def test_a_batch_carries_the_items_of_its_rows() -> None:
    q = queue()
    given_item = item(7)
    q.push(given_item, "ticket", 0, 1.0, 0.0)
    ((_, taken),) = q.take(0.0).rows
    assert taken is given_item


def test_near_deadlines_pass_a_far_one_only_for_so_long() -> None:
    q = queue(batch=1)
    (patient,) = push(q, 1e6)
    now = 0.0
    while patient.waiting:
        push(q, now + 0.5, now=now)
        q.take(now)
        now += 0.25
        assert now <= PATIENCE_S + 1.0
    assert now > PATIENCE_S - 1.0, "until then the near ones were first"


def test_a_priority_passes_those_after_it_and_a_low_one_waits_but_not_for_ever() -> None:
    q = queue(batch=1)
    (low,) = push(q, 1e6, priority=6)
    (usual,) = push(q, 1e6)
    (high,) = push(q, 1e6, priority=1)
    assert [q.take(0.0).rows[0][0] for _ in range(3)] == [high, usual, low]
    (low,) = push(q, 1e6, priority=6)
    now = 0.0
    while low.waiting:
        push(q, 1e6, now=now)
        q.take(now)
        now += 0.5
    assert now == pytest.approx(CLASS_S, abs=1.0), "one step of priority is worth this much waiting"


def test_the_usual_priority_is_five_and_there_is_none_below_nine() -> None:
    q = queue(batch=9)
    claims = [push(q, 5.0, priority=priority)[0].claim for priority in (0, 5, 9, 10, 2**63)]
    assert claims[0] == claims[1]
    assert claims[2] == claims[3] == claims[4]


# ── who left ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("lengths", [False, True])
def test_a_dropped_row_never_runs_and_does_not_count(lengths: bool) -> None:
    q = queue(lengths=lengths)
    entries = push(q, 1, 2, 3)
    q.drop(entries[1])
    assert len(q) == 2
    assert indices(q) == [0, 2]


@pytest.mark.parametrize("lengths", [False, True])
def test_dropping_twice_or_after_the_row_was_taken_changes_nothing(lengths: bool) -> None:
    q = queue(batch=1, lengths=lengths)
    entries = push(q, 1, 2, 3)
    q.drop(entries[2])
    q.drop(entries[2])
    q.take(0.0)
    q.drop(entries[0])
    assert len(q) == 1
    assert indices(q) == [1]
    assert len(q) == 0


def test_dropping_a_row_that_came_back_late_changes_nothing() -> None:
    q = queue()
    (late, *_) = push(q, 1, 9)
    assert [e.index for e in q.take(now=5).late] == [0]
    q.drop(late)
    assert len(q) == 0


@pytest.mark.parametrize("lengths", [False, True])
def test_a_dropped_row_lets_go_of_everything_at_once(lengths: bool) -> None:
    q = queue(lengths=lengths)
    entry = q.push(item(1), "ticket", 0, 1.0, 0.0)
    array = weakref.ref(entry.item.tensors["x"])  # type: ignore[union-attr]
    q.drop(entry)
    assert array() is None


def test_a_queue_whose_callers_all_left_is_empty() -> None:
    w = World()
    q = w.queue()
    for entry in push(q, 1, 2):
        q.drop(entry)
    assert len(q) == 0
    assert q.head() is None
    assert q.ready_at() == NEVER
    assert w.policy.next(0.0) == NEVER


def test_a_queue_that_is_closed_gives_its_rows_back() -> None:
    w = World()
    q = w.queue(lengths=True)
    entries = push(q, 1, 2)
    assert w.policy.remove(q) == entries
    assert q not in w.policy
    assert w.policy.remove(q) == []
    assert w.policy.next(0.0) == NEVER


# ── which queue ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_empty_queue_is_never_chosen() -> None:
    w = World()
    assert w.policy.next(0.0) == NEVER
    w.queue("a")
    w.queue("b")
    assert w.policy.next(0.0) == NEVER
    assert not w.policy.waiting


def test_an_idle_device_does_not_wait() -> None:
    w = World()
    push(w.queue(), 100)
    assert w.policy.waiting
    assert w.run(0.0) == [0]


def test_the_queue_with_the_earliest_deadline_runs_next() -> None:
    w = World()
    a, b, c = w.queue("a"), w.queue("b"), w.queue("c")
    push(a, 3.0, 2.0)
    push(b, 4.0, 1.0)
    push(c, 1.5)
    for expected in (b, c, a):
        assert w.policy.choose(0.0) is expected
        w.run(0.0)


def test_between_equal_deadlines_the_older_row_wins_whichever_queue_it_is_in() -> None:
    for order in itertools.permutations(range(3)):
        w = World()
        queues = [w.queue(str(i)) for i in range(3)]
        for i in order:
            push(queues[i], 5)
        assert w.policy.choose(0.0) is queues[order[0]]


def test_a_row_whose_caller_left_does_not_speak_for_its_queue() -> None:
    w = World()
    a, b = w.queue("a"), w.queue("b")
    (urgent, _) = push(a, 1, 9)
    push(b, 5)
    a.drop(urgent)
    assert w.policy.choose(0.0) is b


def served(
    w: World, seconds_of: dict[NetworkQueue, float], until: float, within_s: dict[NetworkQueue, float]
) -> dict[str, float]:
    """Device time that queues get which always have a full batch waiting, on one lane."""
    got = {q.name: 0.0 for q in seconds_of}
    now = 0.0
    while now < until:
        for q in seconds_of:
            while len(q) < 4:
                push(q, now + within_s[q], now=now)
        batch = w.policy.next(now)
        assert isinstance(batch, Batch)
        if not batch.rows:
            continue  # all were late: the lane is still free
        now += seconds_of[batch.queue]
        got[batch.queue.name] += seconds_of[batch.queue]
        w.policy.finished(batch, now)
    return got


@pytest.mark.parametrize("weight", [1.0, 2.0, 5.0])
@pytest.mark.parametrize("within_s", [60.0, 0.3])  # nobody in a hurry; everybody
def test_networks_that_always_have_work_share_the_device_by_weight(weight: float, within_s: float) -> None:
    w = World()
    a, b = w.queue("a"), w.queue("b")
    a.set_limits(replace(a.limits, weight=weight))
    got = served(w, {a: 0.02, b: 0.05}, 60.0, {a: within_s, b: within_s})
    assert abs(got["a"] / weight - got["b"]) <= BORROW_S + 0.1, (
        "the least difference that whole batches and haste allow"
    )


def test_a_network_whose_deadlines_are_always_near_does_not_starve_another() -> None:
    w = World()
    hasty, patient = w.queue("hasty"), w.queue("patient")
    got = served(w, {hasty: 0.02, patient: 0.05}, 60.0, {hasty: 0.05, patient: 3600.0})
    assert got["patient"] >= 30.0 - BORROW_S - 0.1


def test_a_network_that_slept_gets_its_share_and_no_more() -> None:
    w = World()
    a, b = w.queue("a"), w.queue("b")
    served(w, {a: 0.02}, 30.0, {a: 60.0})
    got = served(w, {a: 0.02, b: 0.02}, 10.0, {a: 60.0, b: 60.0})
    assert got["a"] == pytest.approx(got["b"], abs=0.1)


def test_a_weight_changes_while_work_waits() -> None:
    w = World()
    a, b = w.queue("a"), w.queue("b")
    served(w, {a: 0.02, b: 0.02}, 10.0, {a: 60.0, b: 60.0})
    a.set_limits(replace(a.limits, weight=3.0))
    got = served(w, {a: 0.02, b: 0.02}, 10.0, {a: 60.0, b: 60.0})
    assert got["a"] / got["b"] == pytest.approx(3.0, rel=0.05)


def test_a_near_deadline_wins_over_a_network_that_was_given_less() -> None:
    w = World()
    a, b = w.queue("a", cost=KNOWN), w.queue("b", cost=KNOWN)
    push(a, 60.0)
    push(b, 60.0)
    w.run(0.0, 0.2)  # a has had its turn
    push(a, 0.5, now=0.2)
    assert w.policy.choose(0.2) is a, "one turn of all would make it late"


def test_a_far_deadline_does_not() -> None:
    w = World()
    a, b = w.queue("a", cost=KNOWN), w.queue("b", cost=KNOWN)
    push(a, 60.0)
    push(b, 60.0)
    w.run(0.0, 0.2)
    push(a, 5.0, now=0.2)
    assert w.policy.choose(0.2) is b


def test_a_new_batch_size_holds_for_the_next_batch() -> None:
    q = queue(batch=2)
    push(q, *[5.0] * 8)
    assert len(indices(q)) == 2
    q.set_limits(Limits(5, 64))
    assert len(indices(q)) == 5


# ── the opt-in delay ──────────────────────────────────────────────────────────────────────────────────────────────


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
def test_rows_whose_callers_left_do_not_make_a_batch_full_nor_old(deadline: float) -> None:
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
    q.turn_s = 0.3
    push(q, 0.7)
    assert w.policy.choose(0.0) is q


def test_a_queue_that_waits_does_not_hold_back_another() -> None:
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
def test_what_cannot_be_in_time_any_more_is_not_run(lengths: bool) -> None:
    q = queue(batch=2, cost=KNOWN, lengths=lengths)
    push(q, 0.15, 9.0, 9.0)
    batch = q.take(0.0)
    assert [e.index for e in batch.hopeless] == [0]
    assert [e.index for e, _ in batch.rows] == [1, 2]


def test_an_idle_device_tries_what_seems_hopeless_so_that_a_wrong_cost_cannot_last() -> None:
    q = queue(batch=2, cost=KNOWN)
    push(q, 0.1, 0.15)
    batch = q.take(0.0, device_is_idle=True)
    assert ([e.index for e in batch.hopeless], [e.index for e, _ in batch.rows]) == ([0], [1])
    push(q, 0.1, 0.15)
    batch = q.take(0.0, device_is_idle=False)
    assert (len(batch.hopeless), len(batch.rows)) == (2, 0), "but not on a busy one"


def test_a_network_that_never_ran_for_a_wrong_cost_gets_to_try_beside_a_busy_one() -> None:
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
    assert len(wrong.take(1.0, device_is_idle=False).hopeless) == 1
    later = 1.0 + PROBE_S + 0.1
    assert w.policy.refuse(wrong, 1, 64.0, later) is None
    push(wrong, 64.0, now=later)
    assert len(wrong.take(later, device_is_idle=False).rows) == 1


def test_nothing_is_hopeless_while_the_cost_is_unknown() -> None:
    q = queue(cost=UNKNOWN)
    push(q, 0.001)
    assert len(q.take(0.0, device_is_idle=False).rows) == 1


def test_under_overload_one_row_does_not_cost_others_their_places() -> None:
    q = queue(batch=8, cost=KnownCost(Law(1.0, 0.01, 0.0)))
    push(q, 1.025, *[9.0] * 7)
    q.press(0.0)
    batch = q.take(0.0)
    assert (len(batch.hopeless), len(batch.rows)) == (1, 7)


def test_a_row_that_would_be_late_in_company_waits_for_another() -> None:
    q = queue(batch=8, cost=KNOWN)
    push(q, 3.0, priority=1)
    push(q, *[0.7] * 2)
    push(q, *[9.0] * 5)
    batch = q.take(0.0)
    assert [e.deadline for e, _ in batch.rows] == [3.0, 9.0, 9.0, 9.0, 9.0, 9.0]
    assert [e.deadline for e, _ in q.take(0.0).rows] == [0.7, 0.7]


# ── lengths ───────────────────────────────────────────────────────────────────────────────────────────────────────

BY_LENGTH = KnownCost(Law(0.004, 0.0005, 0.0001))


def test_neighbours_in_length_ride_with_the_row_that_is_first() -> None:
    q = queue(batch=3, cost=BY_LENGTH, lengths=True)
    push_lengths(q, 100, 10, 101, 11, 102, 12)
    assert lengths_of(q.take(0.0)) == [100, 101, 102]
    assert lengths_of(q.take(0.0)) == [10, 11, 12]


def test_a_long_recording_does_not_ride_with_seven_short_ones() -> None:
    q = queue(batch=8, cost=BY_LENGTH, lengths=True)
    push_lengths(q, 9_600_000, *[16_000] * 7, deadline=1e6)
    assert lengths_of(q.take(0.0)) == [9_600_000]
    assert lengths_of(q.take(0.0)) == [16_000] * 7


def test_every_batch_takes_the_row_with_the_first_claim_so_nobody_is_passed_over_for_ever() -> None:
    """The fairness bound: each batch that passes a row over takes one with an earlier claim, and none comes after PATIENCE_S."""
    q = queue(batch=4, cost=BY_LENGTH, lengths=True)
    (odd,) = push_lengths(q, 500, deadline=1e6)
    earlier = 0
    now = 0.0
    while odd.waiting:
        push_lengths(q, *[10] * 6, deadline=now + 0.9, now=now)  # a crowd of short rows in a hurry, for ever
        head = q.head()
        batch = q.take(now)
        assert head in [*batch.late, *[entry for entry, _ in batch.rows]]
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
    assert not batch.hopeless


def test_nobody_is_turned_away_by_a_guess_about_lengths_never_seen() -> None:
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


def test_batches_of_known_length_tell_what_they_should_take() -> None:
    q = queue(batch=8, cost=BY_LENGTH, lengths=True)
    push_lengths(q, 30, 31)
    batch = q.take(0.0)
    assert batch.length == 31
    assert batch.predicted_s == pytest.approx(0.004 + 2 * (0.0005 + 31 * 0.0001))


# ── memory ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("lengths", [False, True])
def test_what_waits_is_spread_evenly_over_the_lanes(lengths: bool) -> None:
    policy = DevicePolicy(lanes=2)
    rows = policy.add("q", Limits(8, 64), KNOWN, lengths)
    push(rows, *[NEVER] * 7)
    sizes = [len(step.rows) for step in (policy.next(0.0), policy.next(0.0)) if isinstance(step, Batch)]
    assert sizes == [4, 3]


def test_callers_who_come_back_together_do_not_make_large_and_tiny_batches_take_turns() -> None:
    """Twelve callers that ask again at once; one lane begins with eleven of them, the other with one."""
    policy = DevicePolicy(lanes=2)
    rows = policy.add("q", Limits(12, 64), KNOWN)
    push(rows, *[NEVER] * 11)
    running = [(LAW.seconds(11, 1), policy.next(0.0, whole=True))]
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
    one, two = (policy.add(name, Limits(8, 64), KNOWN) for name in ("one", "two"))
    push(one, *[NEVER] * 6)
    push(two, *[NEVER] * 6)
    sizes = [len(step.rows) for step in (policy.next(0.0), policy.next(0.0)) if isinstance(step, Batch)]
    assert sizes == [6, 6]


def test_out_of_memory_halves_the_limit_and_calm_brings_it_back() -> None:
    w = World()
    q = w.queue(batch=8)
    q.memory.exceeded(8, 1)
    sizes = []
    for _ in range(RECOVERY_BATCHES * (RECOVERY_STEPS // 2 + 1)):
        push(q, *[1e6] * 8)
        sizes.append(len(w.run(0.0)))
    assert sizes[0] == 4
    assert sizes == sorted(sizes)
    assert sizes[RECOVERY_BATCHES * RECOVERY_STEPS // 2] == 8


def test_out_of_memory_again_halves_again_down_to_a_single_row() -> None:
    q = queue(batch=8)
    sizes = []
    for rows in (8, 4, 2, 1):
        q.memory.exceeded(rows, 1)
        sizes.append(q.most_rows(1))
    assert sizes == [4, 2, 1, 1]


def test_long_rows_that_did_not_fit_leave_short_ones_their_batches() -> None:
    q = queue(batch=8, cost=BY_LENGTH, lengths=True)
    q.memory.exceeded(8, 512)
    assert q.most_rows(512) == 4
    assert q.most_rows(64) == 8


def test_a_row_that_does_not_fit_alone_says_nothing_of_others() -> None:
    q = queue(batch=8)
    q.memory.exceeded(1, 1)
    assert q.most_rows(1) == 8


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


def test_who_cannot_be_answered_in_time_is_told_at_once_when_to_try_again() -> None:
    w, q = busy()
    # Half a second until the lane is free, as much for each of the two batches before it, 0.2 s for itself.
    assert w.policy.refuse(q, 1, 60.0, 0.0) is None
    push(q, *[0.9] * 8)
    assert w.policy.refuse(q, 1, 1.75, 0.0) == pytest.approx(0.5 + 2 * 0.5 + 0.5 - 1.75)


def test_only_what_goes_before_a_row_counts() -> None:
    w, q = busy()
    assert w.policy.refuse(q, 1, 0.75, 0.0) is None, "it passes all that waits: 0.5 s for the lane and 0.2 of its own"
    assert w.policy.refuse(q, 1, 0.65, 0.0) == pytest.approx(0.05)


def test_rows_on_their_way_to_the_queue_count() -> None:
    w, q = busy(waiting=0)
    assert w.policy.refuse(q, 1, 0.75, 0.0) is None
    assert w.policy.refuse(q, 1, 0.75, 0.0, preparing=8) == pytest.approx(0.5 + 1.0 + 0.5 - 0.75)


def test_as_the_lane_comes_nearer_to_its_end_more_may_come_in() -> None:
    w, q = busy(waiting=0)
    assert w.policy.refuse(q, 1, 0.65, 0.0) is not None
    assert w.policy.refuse(q, 1, 0.95, 0.3) is None


def test_lanes_share_what_waits() -> None:
    one, of_one = busy(lanes=1, waiting=0)
    two, of_two = busy(lanes=2, waiting=0)
    at_one = one.policy.answered_at(of_one, 8, 60.0, 0.0)
    at_two = two.policy.answered_at(of_two, 8, 60.0, 0.0)
    assert at_one == pytest.approx(1.5)
    assert at_two == pytest.approx(1.0)


def test_a_device_that_is_idle_refuses_nobody() -> None:
    w = World()
    q = w.queue(cost=KNOWN)
    assert w.policy.refuse(q, 100, 0.001, 0.0) is None


def test_nobody_is_refused_while_the_cost_is_unknown() -> None:
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
def test_the_quick_look_lets_nobody_in_whom_the_long_one_would_refuse(
    law: tuple[float, float, float], waiting: int, taken: int, rows: int, preparing: int, passed: float, left: float
) -> None:
    policy = DevicePolicy(lanes=2)
    asked = policy.add("q", Limits(4, 64), KnownCost(Law(*law), 0.2))
    policy.add("idle", Limits(4, 64), KNOWN)
    push(asked, *[NEVER] * waiting)
    for _ in range(min(taken, 2)):
        policy.next(0.0)
    now, deadline = passed, passed + left
    at = policy.answered_at(asked, rows, deadline, now, preparing=preparing)
    assert at is not None
    if policy._surely_before(asked, Law(*law), rows + preparing, deadline, now):
        assert at <= deadline


def test_rows_are_refused_by_their_own_length_and_not_by_what_came_before() -> None:
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


# ── always ────────────────────────────────────────────────────────────────────────────────────────────────────────

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("push"), st.integers(0, 2), st.floats(0, 20), st.integers(1, 40)),
        st.tuples(st.just("crowd"), st.integers(0, 2), st.floats(0, 20), st.integers(1, 40)),
        st.tuples(st.just("drop"), st.integers(0, 300), st.just(0.0), st.just(0)),
        st.tuples(st.just("leave"), st.integers(0, 2), st.just(0.0), st.just(0)),
        st.tuples(st.just("run"), st.just(0), st.floats(0, 1), st.just(0)),
        st.tuples(st.just("wait"), st.just(0), st.floats(0, 5), st.just(0)),
        st.tuples(st.just("oom"), st.integers(0, 2), st.just(0.0), st.integers(2, 60)),
    ),
    max_size=60,
)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(STEPS)
def test_every_row_comes_out_exactly_once_and_no_batch_breaks_its_word(
    steps: list[tuple[str, int, float, int]],
) -> None:
    w = World(lanes=2)
    queues = [
        w.queue("a", batch=3),
        w.queue("b", batch=5, delay_s=2.0, cost=KNOWN),
        w.queue("c", batch=4, cost=BY_LENGTH, lengths=True),
    ]
    waiting: dict[Entry, NetworkQueue] = {}
    fates: dict[Entry, list[str]] = {}
    everyone: list[tuple[NetworkQueue, Entry]] = []
    now = 0.0

    def add(where: int, ahead: float, length: int) -> None:
        entry = queues[where].push(Item({}, length if where == 2 else 1), "ticket", 0, now + ahead, now, length % 10)
        everyone.append((queues[where], entry))
        waiting[entry], fates[entry] = queues[where], []

    def met(entry: Entry, fate: str) -> None:
        fates[entry].append(fate)
        waiting.pop(entry, None)

    def run(seconds: float) -> None:
        batch = w.policy.next(now)
        if not isinstance(batch, Batch):
            assert batch > now
            assert not any(q is not queues[1] for q in waiting.values()), "a queue without a delay never waits"
            return
        q = batch.queue
        mine = [e for e, of in waiting.items() if of is q]
        first = min(
            (e for e in mine if e not in batch.late + batch.hopeless), key=lambda e: (e.claim, e.sequence), default=None
        )
        taken = [e for e, _ in batch.rows]
        assert taken or batch.late or batch.hopeless
        assert len(taken) <= q.limits.max_batch_size
        assert len(taken) == 1 or len(taken) <= q.most_rows(batch.length)
        assert first is None or first in taken, "whoever is first is in the batch"
        assert all(e.deadline <= now for e in batch.late)
        assert all(e.deadline > now for e in taken + batch.hopeless)
        assert not taken or batch.length == max(e.length for e in taken)
        if batch.predicted_s is not None and len(taken) > 1:
            assert all(e.deadline >= now + batch.predicted_s - 1e-9 for e in taken)
        for fate, entries in {"late": batch.late, "hopeless": batch.hopeless, "run": taken}.items():
            for entry in entries:
                met(entry, fate)
        w.policy.finished(batch, now + seconds)

    for what, which, amount, length in steps:
        match what:
            case "push":
                add(which, amount, length)
            case "crowd":
                for i in range(40):
                    add(which, amount, 1 + (length + i) % 40)
            case "leave":
                for entry in [e for e, q in waiting.items() if q is queues[which]][1:]:
                    queues[which].drop(entry)
                    met(entry, "dropped")
            case "drop" if everyone:
                owner, entry = everyone[which % len(everyone)]
                owner.drop(entry)
                if entry in waiting:
                    met(entry, "dropped")
            case "wait":
                now += amount
            case "oom":
                queues[which].memory.exceeded(length, length)
            case "run":
                run(amount)
        for q in queues:
            assert len(q) == sum(of is q for of in waiting.values())
            assert (q.head() is None) == (len(q) == 0)
    while waiting:
        run(0.01)
        now += 1.0
    assert all(len(met_with) == 1 for met_with in fates.values())
    assert all(not e.waiting for e in fates)
