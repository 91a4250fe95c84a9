"""Which row runs next, under a given clock."""

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.fakes import item
from service.scheduler.policy import Entry, Limits, NetworkQueue, choose

NEVER = math.inf
AT_ONCE = -math.inf


def queue(name: str = "q", batch: int = 4, delay_s: float = 0.0) -> NetworkQueue:
    return NetworkQueue(name, Limits(batch, 64, delay_s))


def push(to: NetworkQueue, *deadlines: float, now: float = 0.0) -> list[Entry]:
    return [to.push(item(i), "ticket", i, deadline, now) for i, deadline in enumerate(deadlines)]


def indices(of: NetworkQueue, now: float = 0.0) -> list[int]:
    return [entry.index for entry, _ in of.take(now).rows]


# ── which row ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_earliest_deadline_rides_first() -> None:
    q = queue()
    push(q, 30, 10, 20)
    assert indices(q) == [1, 2, 0]


def test_equal_deadlines_ride_in_the_order_they_came() -> None:
    q = queue(batch=100)
    push(q, *[5.0] * 50)
    assert indices(q) == list(range(50))


def test_a_batch_never_holds_more_rows_than_its_limit_and_the_rest_stays_in_order() -> None:
    q = queue(batch=4)
    push(q, *range(1, 11))
    assert [indices(q), indices(q), indices(q), indices(q)] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9], []]


def test_a_row_past_its_deadline_comes_back_late_and_takes_no_place_in_the_batch() -> None:
    q = queue(batch=2)
    push(q, 1, 2, 10, 11, 12)
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


# ── who left ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_dropped_row_never_runs_and_does_not_count() -> None:
    q = queue()
    entries = push(q, 1, 2, 3)
    q.drop(entries[1])
    assert len(q) == 2
    assert indices(q) == [0, 2]


def test_dropping_twice_or_after_the_row_was_taken_changes_nothing() -> None:
    q = queue(batch=1)
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
    (late, *_) = push(q, 1, 10)
    assert [e.index for e in q.take(now=5).late] == [0]
    q.drop(late)
    assert len(q) == 0


def test_a_dropped_row_lets_go_of_its_tensors_at_once() -> None:
    q = queue()
    (entry,) = push(q, 1)
    q.drop(entry)
    assert entry.item is None


def test_callers_who_leave_do_not_fill_the_heap() -> None:
    q = queue(batch=8)
    entries = push(q, *range(1000))
    for entry in entries[:-3]:
        q.drop(entry)
    assert len(q) == 3
    assert len(q._heap) < 200, "places of dropped rows are given back"
    assert indices(q, now=-1) == [997, 998, 999]
    assert len(q) == 0


def test_a_queue_whose_callers_all_left_is_empty() -> None:
    q = queue()
    for entry in push(q, 1, 2):
        q.drop(entry)
    assert len(q) == 0
    assert q.head() is None
    assert q.ready_at() == NEVER
    assert choose([q], 0.0) == NEVER


# ── which queue ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_empty_queue_is_never_chosen() -> None:
    assert choose([], 0.0) == NEVER
    assert choose([queue(), queue()], 0.0) == NEVER


def test_an_idle_device_does_not_wait() -> None:
    q = queue()
    push(q, 100)
    assert choose([q], 0.0) is q


def test_the_queue_with_the_earliest_deadline_runs_next() -> None:
    a, b, c = queue("a"), queue("b"), queue("c")
    push(a, 30, 20)
    push(b, 40, 10)
    push(c, 15)
    assert choose([a, b, c], 0.0) is b
    b.take(0.0)
    assert choose([a, b, c], 0.0) is c
    c.take(0.0)
    assert choose([a, b, c], 0.0) is a


def test_between_equal_deadlines_the_older_row_wins_whichever_queue_it_is_in() -> None:
    for order in itertools.permutations(range(3)):
        queues = [queue(str(i)) for i in range(3)]
        for i in order:
            push(queues[i], 10)
        assert choose(queues, 0.0) is queues[order[0]]


def test_a_row_whose_caller_left_does_not_speak_for_its_queue() -> None:
    a, b = queue("a"), queue("b")
    (urgent, _) = push(a, 1, 50)
    push(b, 10)
    a.drop(urgent)
    assert choose([a, b], 0.0) is b


# ── the opt-in delay ──────────────────────────────────────────────────────────────────────────────────────────────


def test_a_queue_with_a_delay_waits_until_its_oldest_row_has_waited_so_long() -> None:
    q = queue(delay_s=0.5)
    push(q, 100, now=1.0)
    push(q, 90, now=1.2)  # due earlier, but not older
    assert q.ready_at() == 1.5
    assert choose([q], 1.4) == 1.5
    assert choose([q], 1.5) is q


def test_a_full_batch_does_not_wait_for_the_delay() -> None:
    q = queue(batch=3, delay_s=10)
    push(q, 100, 100)
    assert choose([q], 0.0) == 10
    push(q, 100)
    assert choose([q], 0.0) is q


@pytest.mark.parametrize("deadline", [50, 200])  # in front of the other, and behind it
def test_rows_whose_callers_left_do_not_make_a_batch_full_nor_old(deadline: float) -> None:
    q = queue(batch=2, delay_s=10)
    (first,) = push(q, deadline, now=0.0)
    push(q, 100, now=3.0)
    q.drop(first)
    assert choose([q], 9.0) == 13.0


def test_a_row_that_cannot_wait_for_the_delay_runs_at_once() -> None:
    """Deadlines are true: an idle device must not hold a row back until it is late."""
    q = queue(delay_s=0.5)
    push(q, 100, now=0.0)
    assert choose([q], 0.0) == 0.5
    push(q, 0.2, now=0.0)
    assert choose([q], 0.0) is q
    assert len(q.take(0.0).rows) == 2


def test_a_queue_that_waits_does_not_hold_back_another() -> None:
    patient, prompt = queue("patient", delay_s=10), queue("prompt")
    push(patient, 50)
    push(prompt, 1000)
    assert choose([patient, prompt], 0.0) is prompt


def test_the_device_looks_again_when_the_first_of_several_delays_ends() -> None:
    a, b = queue("a", delay_s=10), queue("b", delay_s=5)
    push(a, 100)
    push(b, 100)
    assert choose([a, b], 0.0) == choose([b, a], 0.0) == 5


# ── always ────────────────────────────────────────────────────────────────────────────────────────────────────────

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("push"), st.integers(0, 2), st.floats(0, 20)),
        st.tuples(st.just("drop"), st.integers(0, 300), st.just(0.0)),
        st.tuples(st.just("take"), st.integers(0, 2), st.just(0.0)),
        st.tuples(st.just("run"), st.just(0), st.just(0.0)),
        st.tuples(st.just("wait"), st.just(0), st.floats(0, 5)),
        st.tuples(st.just("crowd"), st.integers(0, 2), st.floats(0, 20)),
        st.tuples(st.just("leave"), st.integers(0, 2), st.just(0.0)),
    ),
    max_size=60,
)


class Model:
    """What a queue should hold, kept as plainly as can be."""

    def __init__(self) -> None:
        self.waiting: dict[Entry, tuple[int, float, int]] = {}  # → queue, deadline, age
        self.fates: dict[Entry, list[str]] = {}
        self.age = 0

    def pushed(self, entry: Entry, where: int) -> None:
        self.waiting[entry] = (where, entry.deadline, self.age)
        self.fates[entry] = []
        self.age += 1

    def met(self, entry: Entry, fate: str) -> None:
        self.fates[entry].append(fate)
        self.waiting.pop(entry, None)

    def of(self, where: int) -> list[Entry]:
        mine = [(deadline, age, e) for e, (w, deadline, age) in self.waiting.items() if w == where]
        return [e for _, _, e in sorted(mine, key=lambda known: known[:2])]


@settings(max_examples=200, deadline=None, derandomize=True)
@given(STEPS)
def test_every_row_comes_out_exactly_once_as_run_late_or_dropped(steps: list[tuple[str, int, float]]) -> None:
    queues = [queue("a", batch=3), queue("b", batch=1), queue("c", batch=5, delay_s=2.0)]
    model, now = Model(), 0.0
    everyone: list[tuple[NetworkQueue, Entry]] = []

    def take(where: int) -> None:
        q = queues[where]
        due = model.of(where)
        batch = q.take(now)
        assert len(batch.rows) <= q.limits.max_batch_size
        assert [*batch.late, *[e for e, _ in batch.rows]] == due[: len(batch.late) + len(batch.rows)]
        assert all(e.deadline <= now for e in batch.late)
        assert all(e.deadline > now for e, _ in batch.rows)
        if len(batch.rows) < q.limits.max_batch_size:
            assert len(q) == 0, "nothing is left behind while there is room"
        for entry in batch.late:
            model.met(entry, "late")
        for entry, _ in batch.rows:
            model.met(entry, "run")

    def add(where: int, ahead: float) -> None:
        entry = queues[where].push(item(0), "ticket", 0, now + ahead, now)
        everyone.append((queues[where], entry))
        model.pushed(entry, where)

    def drop(owner: NetworkQueue, entry: Entry) -> None:
        owner.drop(entry)
        if entry in model.waiting:
            model.met(entry, "dropped")

    for what, which, amount in steps:
        match what:
            case "push":
                add(which, amount)
            case "crowd":
                for _ in range(80):
                    add(which, amount)
            case "leave":
                for entry in model.of(which)[1:]:
                    drop(queues[which], entry)
            case "drop" if everyone:
                drop(*everyone[which % len(everyone)])
            case "take":
                take(which)
            case "wait":
                now += amount
            case "run":
                chosen = choose(queues, now)
                if isinstance(chosen, NetworkQueue):
                    assert len(chosen) > 0
                    take(queues.index(chosen))
                else:
                    assert chosen > now
                    assert not model.of(0)
                    assert not model.of(1), "a queue without a delay never waits"
        for where, q in enumerate(queues):
            assert len(q) == len(model.of(where))
            assert (q.head() is None) == (len(q) == 0)
    for where in range(3):
        while len(queues[where]):
            take(where)
    assert all(len(fates) == 1 for fates in model.fates.values())


@pytest.mark.parametrize("waiting", [0, 1, 3])
def test_waiting_says_whether_a_row_still_wants_to_run(waiting: int) -> None:
    q = queue(batch=8)
    entries = push(q, *[5.0] * waiting)
    assert all(e.waiting for e in entries)
    q.take(0.0)
    assert not any(e.waiting for e in entries)
