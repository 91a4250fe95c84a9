"""A batch that fails runs again in halves, until a bad row stands alone: its neighbours are answered."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Sequence

import pytest
from structlog.testing import capture_logs

from service.errors import DeadlineExceeded, InternalError, InvalidInput, OutOfMemory, ZooError
from service.scheduler.batch_runner import BatchRunner
from service.scheduler.queued_row import QueuedRow
from service.types import Item, Row
from tests.support.scheduler.fakes import Clock, double, value_of
from tests.support.scheduler.queues import BY_LENGTH, NEVER, UNKNOWN, push, push_lengths, queue

SECRET = "CUDA error in /a/path"


class Network:
    """y = 2 x. Raises `error` for a batch with a value of `poison`, and OutOfMemory for more than `fits` rows."""

    def __init__(self, poison: set[int] | None = None, error: Exception | None = None, fits: int = 10**9) -> None:
        self.poison = poison or set()
        self.error = error
        self.fits = fits
        self.batches: list[list[int]] = []

    def __call__(self, items: Sequence[Item], predicted_s: float | None) -> list[Row]:
        self.batches.append([int(i.tensors["x"][0]) for i in items])
        if len(items) > self.fits:
            raise OutOfMemory
        if self.poison & set(self.batches[-1]):
            raise self.error or RuntimeError(SECRET)
        return double(items)


class Bench:
    """A queue of eight rows a batch, and a runner on it."""

    def __init__(self, execute: Callable[[Sequence[Item], float | None], Sequence[Row | ZooError]]) -> None:
        self.queue = queue(batch=8, cost=UNKNOWN)
        self.clock = Clock()
        self.lock = threading.Condition(threading.Lock())
        self.runner = BatchRunner(self.queue, 3, execute, self.clock, self.lock)

    def run(self, *deadlines: float) -> tuple[list[Row | ZooError], bool]:
        """The outcomes of rows with the values 0, 1, 2 …, in their order; each row has one."""
        rows = push(self.queue, *deadlines)
        outcomes, together = self.runner.run(self.queue.take(self.clock.now).rows)
        by_row: dict[QueuedRow, Row | ZooError] = dict(outcomes)
        assert len(outcomes) == len(by_row) == len(rows), "each row has one outcome"
        return [by_row[row] for row in rows], together


def reference_of(outcome: object) -> str:
    assert isinstance(outcome, InternalError), outcome
    assert SECRET not in outcome.message
    return outcome.message.partition("reference ")[2]


# ── together ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_rows_that_run_together_get_each_their_own_answer() -> None:
    network = Network()
    outcomes, together = Bench(network).run(*[NEVER] * 4)
    assert ([value_of(outcome) for outcome in outcomes], together) == ([0, 2, 4, 6], True)
    assert network.batches == [[0, 1, 2, 3]]


def test_error_that_the_network_gives_for_one_row_reaches_that_row_and_halves_nothing() -> None:
    def run(items: Sequence[Item], _: float | None) -> list[Row | ZooError]:
        rows: list[Row | ZooError] = [*double(items)]
        rows[1] = error
        return rows

    error = InvalidInput("x", "is one")
    outcomes, together = Bench(run).run(*[NEVER] * 3)
    assert (value_of(outcomes[0]), outcomes[1], value_of(outcomes[2]), together) == (0, error, 4, True)


def test_prediction_is_of_all_rows_at_the_length_of_the_longest() -> None:
    told: list[float | None] = []

    def run(items: Sequence[Item], predicted_s: float | None) -> list[ZooError]:
        told.append(predicted_s)
        return [InternalError() for _ in items]

    bench = Bench(run)
    bench.run(NEVER)
    bench.queue.cost = BY_LENGTH
    push_lengths(bench.queue, 10, 30, 20, deadline=NEVER)
    bench.runner.run(bench.queue.take(0.0).rows)
    assert BY_LENGTH.law is not None
    assert told == [None, BY_LENGTH.law.seconds(3, 30)]


def test_queue_is_not_locked_while_the_network_runs() -> None:
    def run(items: Sequence[Item], _: float | None) -> list[Row]:
        assert bench.lock.acquire(blocking=False)
        bench.lock.release()
        if len(items) > 1:
            raise OutOfMemory
        return double(items)

    bench = Bench(run)
    assert [value_of(outcome) for outcome in bench.run(NEVER, NEVER)[0]] == [0, 2]


# ── in halves ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_batch_that_raises_is_halved_until_the_guilty_row_alone_fails() -> None:
    network = Network({5})
    outcomes, together = (bench := Bench(network)).run(*[NEVER] * 8)
    assert network.batches == [[*range(8)], [0, 1, 2, 3], [4, 5, 6, 7], [4, 5], [4], [5], [6, 7]]
    assert reference_of(outcomes[5])
    assert [value_of(outcomes[i]) for i in range(8) if i != 5] == [0, 2, 4, 6, 8, 12, 14]
    assert not together
    assert bench.queue.most_rows(1) == 8, "it was no question of memory"


@pytest.mark.parametrize("error", [RuntimeError(SECRET), InvalidInput("x", "is bad"), OutOfMemory()])
@pytest.mark.parametrize("seed", range(4))
def test_bad_rows_never_fail_their_neighbours(seed: int, error: Exception) -> None:
    draw = random.Random(seed)
    rows = draw.randint(1, 8)
    guilty = {*draw.sample(range(rows), draw.randint(1, rows))}
    outcomes, _ = Bench(Network(guilty, error)).run(*[NEVER] * rows)
    assert {i for i, outcome in enumerate(outcomes) if isinstance(outcome, ZooError)} == guilty
    assert all(value_of(outcome) == 2 * i for i, outcome in enumerate(outcomes) if i not in guilty)


def test_cause_is_logged_once_for_each_guilty_row_under_the_reference_of_its_caller() -> None:
    with capture_logs() as logs:
        outcomes, _ = Bench(Network({0, 3})).run(*[NEVER] * 4)
    first, second = (line for line in logs if line["event"] == "execution failed")
    assert (first["network"], first["version"], first["reference"]) == ("q", 3, reference_of(outcomes[0]))
    assert first["reference"] != second["reference"] == reference_of(outcomes[3])


def test_zoo_error_of_a_batch_reaches_the_guilty_row_unchanged_and_holds_no_frames() -> None:
    error = InvalidInput("x", "is two")
    outcomes, _ = Bench(Network({2}, error)).run(*[NEVER] * 4)
    assert outcomes[2] is error
    assert error.__traceback__ is None
    assert [value_of(outcomes[i]) for i in (0, 1, 3)] == [0, 2, 6]


@pytest.mark.parametrize("change", [-1, 1])
def test_network_that_gives_a_wrong_number_of_rows_shifts_no_answers(change: int) -> None:
    def run(items: Sequence[Item], _: float | None) -> list[Row]:
        rows = double(items)
        return rows if len(rows) == 1 else (rows * 2)[1 : len(rows) + 1 + change]

    outcomes, _ = Bench(run).run(*[NEVER] * 4)
    assert [value_of(outcome) for outcome in outcomes] == [0, 2, 4, 6]


def test_row_whose_deadline_passes_meanwhile_does_not_run_again() -> None:
    def run(items: Sequence[Item], predicted_s: float | None) -> list[Row]:
        bench.clock.now += 1.0
        return network(items, predicted_s)

    network = Network({3})
    bench = Bench(run)
    outcomes, _ = bench.run(1.0, 5.0, 9.0, 9.0)
    assert network.batches == [[0, 1, 2, 3], [1], [2, 3], [2], [3]]
    assert isinstance(outcomes[0], DeadlineExceeded)
    assert [value_of(outcomes[1]), value_of(outcomes[2])] == [2, 4]
    assert reference_of(outcomes[3])


# ── memory ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_batch_that_does_not_fit_is_halved_and_the_next_batch_is_smaller() -> None:
    network = Network(fits=4)
    bench = Bench(network)
    outcomes, together = bench.run(*[NEVER] * 8)
    assert [value_of(outcome) for outcome in outcomes] == [2 * i for i in range(8)]
    assert (network.batches[1:], together) == ([[0, 1, 2, 3], [4, 5, 6, 7]], False)
    assert bench.queue.most_rows(1) == 4


def test_half_that_is_known_not_to_fit_is_not_tried() -> None:
    network = Network(fits=2)
    outcomes, _ = Bench(network).run(*[NEVER] * 8)
    assert [len(batch) for batch in network.batches] == [8, 4, 2, 2, 2, 2]
    assert [value_of(outcome) for outcome in outcomes] == [2 * i for i in range(8)]


def test_row_that_does_not_fit_alone_fails_with_out_of_memory_and_leaves_no_limit() -> None:
    bench = Bench(Network({0}, OutOfMemory()))
    assert isinstance(bench.run(NEVER)[0][0], OutOfMemory)
    assert bench.queue.most_rows(1) == 8
