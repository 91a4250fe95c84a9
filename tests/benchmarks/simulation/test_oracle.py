"""The upper bound on goodput."""

import itertools

import numpy as np
import pytest

from benchmarks.simulation.contenders import CONTENDERS
from benchmarks.simulation.engine import simulate
from benchmarks.simulation.oracle import most_in_time_s
from benchmarks.simulation.profiles import Network
from benchmarks.simulation.request_load import Load
from benchmarks.simulation.scenarios import SCENARIOS
from service.scheduler.cost import Law


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("load", [0.8, 1.5])
def test_no_contender_exceeds_the_bound(scenario: str, load: float) -> None:
    about = SCENARIOS[scenario]
    networks, lanes = about.profiles, about.on.lanes
    came = about.load(load, 60.0, seed=7)
    bound = most_in_time_s(networks, lanes, came)
    for name, make in CONTENDERS.items():
        contender = make(networks, lanes, about.weight, [min(about.within_s)] * len(networks))
        run = simulate(networks, lanes, came, contender, lambda _: 1.0)  # without noise
        assert sum(tally.in_time_s for tally in run.tallies) <= bound * (1 + 1e-9), name


def test_bound_equals_the_optimum_in_simple_cases() -> None:
    network = Network("m", Law(0.0, 1.0, 0.0), 1, 0.0)  # a second a row

    def bound(*rows: tuple[float, float]) -> float:
        at, deadline = (np.array(column) for column in zip(*rows, strict=True))
        count = len(rows)
        return most_in_time_s(
            [network], 1, Load(at, np.zeros(count, np.int64), deadline, np.ones(count, np.int64), 100.0)
        )

    assert bound((0.0, 1.0), (0.0, 2.0), (0.0, 3.0)) == pytest.approx(3.0)
    assert bound((0.0, 2.0), (0.0, 2.0), (0.0, 2.0)) == pytest.approx(2.0)  # three seconds of work in two seconds
    assert bound((0.0, 9.0), (0.5, 1.6)) == pytest.approx(2.0)  # the second goes first
    assert bound((0.0, 1.0), (0.0, 0.9)) == pytest.approx(1.0)  # the second fits into no batch
    assert bound((99.5, 200.0)) == pytest.approx(0.5)  # work after the last arrival does not count


def test_bound_equals_the_best_choice_of_rows_by_exhaustive_search() -> None:
    """Small cases against every subset: a subset fits if no interval holds more work than time (Horn, 1974)."""
    network = Network("m", Law(0.0, 1.0, 0.0), 1, 0.0)
    rng = np.random.default_rng(11)
    for _ in range(50):
        at = np.sort(rng.integers(0, 6, 7).astype(float))
        deadline = at + rng.integers(1, 4, 7).astype(float)
        best = max(
            size
            for size in range(8)
            for rows in itertools.combinations(range(7), size)
            if all(
                sum(at[i] >= begin and deadline[i] <= end for i in rows) <= end - begin
                for begin in set(at)
                for end in set(deadline)
                if end > begin
            )
        )
        load = Load(at, np.zeros(7, np.int64), deadline, np.ones(7, np.int64), 100.0)
        assert most_in_time_s([network], 1, load) == pytest.approx(best)
