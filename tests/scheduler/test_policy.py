"""Which row runs next, with whom, under a given clock."""

import itertools
import weakref
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.scheduler.policy import (
    BORROW_S,
    PATIENCE_S,
    PRIORITY_STEP_S,
    Batch,
    BatchLimits,
    NetworkQueue,
    QueuedRow,
)
from service.types import Item
from tests.support.scheduler.fakes import item
from tests.support.scheduler.queues import (
    BY_LENGTH,
    KNOWN,
    NEVER,
    World,
    indices,
    push,
    queue,
)

# ── which row ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_earliest_deadline_runs_first() -> None:
    q = queue()
    push(q, 3, 1, 2)
    assert indices(q) == [1, 2, 0]


def test_equal_deadlines_run_in_arrival_order() -> None:
    q = queue(batch=100)
    push(q, *[5.0] * 50)
    assert indices(q) == list(range(50))


def test_a_batch_never_holds_more_rows_than_its_limit_and_the_rest_stays_in_order() -> None:
    q = queue(batch=4)
    push(q, *[i / 2 for i in range(1, 11)])
    assert [indices(q), indices(q), indices(q), indices(q)] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9], []]


@pytest.mark.parametrize("lengths", [False, True])
def test_row_past_its_deadline_is_expired_and_takes_no_place_in_the_batch(lengths: bool) -> None:
    q = queue(batch=2, lengths=lengths)
    push(q, 1, 2, 7, 8, 9)
    batch = q.take(now=2)
    assert [e.index for e in batch.expired] == [0, 1], "a deadline that is now has passed"
    assert [e.index for e, _ in batch.rows] == [2, 3]
    assert len(q) == 1


def test_a_batch_carries_the_items_of_its_rows() -> None:
    q = queue()
    given_item = item(7)
    q.push(given_item, "owner", 0, 1.0, 0.0)
    ((_, taken),) = q.take(0.0).rows
    assert taken is given_item


def test_near_deadlines_pass_a_far_one_for_a_bounded_time() -> None:
    q = queue(batch=1)
    (patient,) = push(q, 1e6)
    now = 0.0
    while patient.waiting:
        push(q, now + 0.5, now=now)
        q.take(now)
        now += 0.25
        assert now <= PATIENCE_S + 1.0
    assert now > PATIENCE_S - 1.0, "until then the near ones were first"


def test_high_priority_passes_others_and_a_low_one_waits_a_bounded_time() -> None:
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
    assert now == pytest.approx(PRIORITY_STEP_S, abs=1.0), "one step of priority is worth this much waiting"


def test_default_priority_is_five_and_the_last_is_nine() -> None:
    q = queue(batch=9)
    keys = [push(q, 5.0, priority=priority)[0].effective_deadline for priority in (0, 5, 9, 10, 2**63)]
    assert keys[0] == keys[1]
    assert keys[2] == keys[3] == keys[4]


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


def test_dropping_an_expired_row_changes_nothing() -> None:
    q = queue()
    (late, *_) = push(q, 1, 9)
    assert [e.index for e in q.take(now=5).expired] == [0]
    q.drop(late)
    assert len(q) == 0


@pytest.mark.parametrize("lengths", [False, True])
def test_dropped_row_frees_its_tensors_at_once(lengths: bool) -> None:
    q = queue(lengths=lengths)
    entry = q.push(item(1), "owner", 0, 1.0, 0.0)
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


def test_dropped_row_does_not_order_its_queue() -> None:
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
@pytest.mark.parametrize("within_s", [60.0, 0.3])  # all deadlines far; all near
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


def test_network_that_was_idle_gets_its_share_and_no_more() -> None:
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


def test_near_deadline_wins_over_a_network_with_less_device_time() -> None:
    w = World()
    a, b = w.queue("a", cost=KNOWN), w.queue("b", cost=KNOWN)
    push(a, 60.0)
    push(b, 60.0)
    w.run(0.0, 0.2)  # a has had its turn
    push(a, 0.5, now=0.2)
    assert w.policy.choose(0.2) is a, "one turn of all would make it late"


def test_far_deadline_does_not_win_over_a_network_with_less_device_time() -> None:
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
    q.set_limits(BatchLimits(5, 64))
    assert len(indices(q)) == 5


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
def test_every_row_is_taken_exactly_once_and_every_batch_keeps_its_bounds(
    steps: list[tuple[str, int, float, int]],
) -> None:
    w = World(lanes=2)
    queues = [
        w.queue("a", batch=3),
        w.queue("b", batch=5, delay_s=2.0, cost=KNOWN),
        w.queue("c", batch=4, cost=BY_LENGTH, lengths=True),
    ]
    waiting: dict[QueuedRow, NetworkQueue] = {}
    fates: dict[QueuedRow, list[str]] = {}
    everyone: list[tuple[NetworkQueue, QueuedRow]] = []
    now = 0.0

    def add(where: int, ahead: float, length: int) -> None:
        entry = queues[where].push(Item({}, length if where == 2 else 1), "owner", 0, now + ahead, now, length % 10)
        everyone.append((queues[where], entry))
        waiting[entry], fates[entry] = queues[where], []

    def met(entry: QueuedRow, fate: str) -> None:
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
            (e for e in mine if e not in batch.expired + batch.too_late),
            key=lambda e: (e.effective_deadline, e.sequence),
            default=None,
        )
        taken = [e for e, _ in batch.rows]
        assert taken or batch.expired or batch.too_late
        assert len(taken) <= q.limits.max_batch_size
        assert len(taken) == 1 or len(taken) <= q.most_rows(batch.length)
        assert first is None or first in taken, "the first row is in the batch"
        assert all(e.deadline <= now for e in batch.expired)
        assert all(e.deadline > now for e in taken + batch.too_late)
        assert not taken or batch.length == max(e.length for e in taken)
        if batch.predicted_s is not None and len(taken) > 1:
            assert all(e.deadline >= now + batch.predicted_s - 1e-9 for e in taken)
        for fate, entries in {"late": batch.expired, "too_late": batch.too_late, "run": taken}.items():
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
