"""What a batch will take, learned from those that ran."""

import itertools
import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.scheduler.cost import MAX_OUTLIERS, MIN_BATCHES, KnownCost, Law, LearnedCost

TRUTH = Law(0.004, 0.001, 0.00002)
GRID = list(itertools.product((1, 2, 4, 8), (8, 32, 128, 300)))


def feed(cost: LearnedCost, law: Law, batches: int, rng: random.Random, outliers: float = 0.05) -> None:
    """Batches of 1 to 8 rows and log-normal lengths, with 5 % of noise and now and then one that takes ten times as long."""
    for _ in range(batches):
        rows, length = rng.randint(1, 8), min(512, max(3, round(rng.lognormvariate(3.3, 0.8))))
        seconds = law.seconds(rows, length) * rng.gauss(1.0, 0.05)
        cost.observe(rows, length, seconds * (10.0 if rng.random() < outliers else 1.0))


def worst(cost: LearnedCost, law: Law) -> float:
    """Greatest relative error over small and large batches."""
    assert cost.law is not None
    return max(abs(cost.law.seconds(*point) / law.seconds(*point) - 1.0) for point in GRID)


def times(law: Law, factor: float) -> Law:
    return Law(*(factor * part for part in law))


@pytest.mark.parametrize("seed", range(8))
def test_law_is_learned_under_noise_and_outliers(seed: int) -> None:
    cost = LearnedCost()
    feed(cost, TRUTH, 300, random.Random(seed))
    assert worst(cost, TRUTH) < 0.1
    assert cost.spread < 0.12, "outliers do not make predictions look worse than they are"


@pytest.mark.parametrize("factor", [2.0, 0.5])
@pytest.mark.parametrize("seed", range(4))
def test_law_that_changes_is_learned_anew(seed: int, factor: float) -> None:
    rng, cost = random.Random(seed), LearnedCost()
    feed(cost, TRUTH, 300, rng)
    feed(cost, times(TRUTH, factor), 100, rng)
    assert worst(cost, times(TRUTH, factor)) < 0.2


def test_a_change_shows_after_a_handful_of_batches() -> None:
    cost = LearnedCost()
    for _ in range(100):
        cost.observe(8, 1, 0.010)
    for _ in range(MAX_OUTLIERS):
        cost.observe(8, 1, 0.020)
    assert cost.law is not None
    assert cost.law.seconds(8, 1) == pytest.approx(0.020, rel=0.1)


def test_a_single_outlier_changes_next_to_nothing() -> None:
    cost = LearnedCost()
    for _ in range(100):
        cost.observe(8, 1, 0.010)
    cost.observe(8, 1, 10.0)
    for _ in range(20):
        cost.observe(8, 1, 0.010)
    assert cost.law is not None
    assert cost.law.seconds(8, 1) == pytest.approx(0.010, rel=0.02)


def test_a_slow_drift_is_followed() -> None:
    cost = LearnedCost()
    for i in range(1000):
        cost.observe(1 + i % 8, 1, (0.01 + 0.002 * (1 + i % 8)) * (1 + i / 1000))
    assert cost.law is not None
    assert cost.law.seconds(8, 1) == pytest.approx(0.052, rel=0.08)


def test_nothing_is_predicted_before_the_least_number_of_batches() -> None:
    cost = LearnedCost()
    for _ in range(MIN_BATCHES - 1):
        cost.observe(1, 1, 0.01)
        assert cost.law is None
    cost.observe(1, 1, 0.01)
    assert cost.law is not None


def test_equal_batches_predict_themselves_and_plausible_values_for_others() -> None:
    cost = LearnedCost()
    for _ in range(20):
        cost.observe(8, 64, 0.080)
    assert cost.law is not None
    assert cost.law.seconds(8, 64) == pytest.approx(0.080, rel=0.01)
    assert 0.010 <= cost.law.seconds(1, 64) <= 0.080
    assert 0.080 <= cost.law.seconds(16, 64) <= 0.160


def test_warm_up_alone_gives_a_first_law() -> None:
    cost = LearnedCost()
    for _ in range(2):
        cost.observe(1, 8, TRUTH.seconds(1, 8))
        cost.observe(2, 8, TRUTH.seconds(2, 8))
    assert cost.law is not None
    assert cost.law.seconds(8, 8) == pytest.approx(TRUTH.seconds(8, 8), rel=0.25)


def test_length_far_beyond_earlier_ones_is_learned_from_its_first_batch() -> None:
    """Warm-up is short; the first real recording must not be taken for an outlier of it."""
    cost = LearnedCost()
    for rows in (1, 2, 1, 2):
        cost.observe(rows, 8, 0.002)
    assert cost.reach < 1000
    for _ in range(8):
        cost.observe(1, 16_000, 0.005)
    assert cost.reach >= 16_000
    assert cost.law is not None
    assert cost.law.seconds(1, 16_000) == pytest.approx(0.005, rel=0.1)
    assert cost.law.seconds(1, 8) == pytest.approx(0.002, rel=0.3)


@pytest.mark.parametrize(("rows", "seconds"), [(0, 0.1), (1, -1.0), (1, math.nan), (1, math.inf)])
def test_impossible_observation_is_ignored(rows: int, seconds: float) -> None:
    cost = LearnedCost()
    for _ in range(10):
        cost.observe(rows, 1, seconds)
    assert cost.law is None


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.integers(1, 64), st.integers(0, 10**7), st.floats(0, 1e4)), min_size=4, max_size=120))
def test_predictions_are_never_negative_or_nan(seen: list[tuple[int, int, float]]) -> None:
    cost = LearnedCost()
    for batch in seen:
        cost.observe(*batch)
    assert cost.law is not None
    assert all(0.0 <= part < math.inf for part in cost.law)
    assert 0.0 <= cost.spread < 1e3
    assert cost.law.seconds(1, 1) <= cost.law.seconds(2, 1) <= cost.law.seconds(2, 2)


def test_most_rows_is_the_inverse_of_seconds() -> None:
    for rows, length in GRID:
        assert TRUTH.most_rows(length, TRUTH.seconds(rows, length) + 1e-9) == rows
        assert TRUTH.most_rows(length, TRUTH.seconds(rows, length) - 1e-9) == rows - 1
    assert Law(1.0, 0.0, 0.0).most_rows(5, 0.5) == 0
    assert Law(1.0, 0.0, 0.0).most_rows(5, 1.0) >= 10**6
    assert TRUTH.most_rows(5, math.inf) >= 10**6
    assert TRUTH.most_rows(5, 0.001) < 1


def test_a_known_cost_stays_as_it_is() -> None:
    cost = KnownCost(TRUTH)
    cost.observe(1, 1, 99.0)
    assert cost.law == TRUTH
