"""Profiles, arrivals, the bound and the figures of the simulation are what they are said to be."""

import itertools
import math

import numpy as np
import pytest

from benchmarks.simulate import play
from benchmarks.simulation import measured, published
from benchmarks.simulation.contenders import CONTENDERS
from benchmarks.simulation.engine import simulate
from benchmarks.simulation.metrics import fair_shares
from benchmarks.simulation.oracle import most_in_time_s
from benchmarks.simulation.profiles import Network
from benchmarks.simulation.request_load import ON_FACTOR, Load, Stream, bursty, draw, poisson
from benchmarks.simulation.scenarios import SCENARIOS
from benchmarks.simulation.table import Table
from service.scheduler.cost import Law

TABLES = [value for module in (published, measured) for value in vars(module).values() if isinstance(value, Table)]


# ── profiles ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_table_interpolates_linearly_between_its_points() -> None:
    table = Table("128 1 1.0 1.1\n128 4 4.0 4.1\n256 1 2.0 2.1\n256 4 8.0 8.1")
    assert table.seconds(4, 256) == pytest.approx(0.008)
    assert table.seconds(2, 128) == pytest.approx(0.002)
    assert table.seconds(4, 192) == pytest.approx(0.006)
    assert table.seconds(1, 3) == pytest.approx(0.001)  # nothing is known below, so it is no cheaper
    with pytest.raises(ValueError, match="nothing is known of 5 rows of 256"):
        table.seconds(5, 256)


@pytest.mark.parametrize("table", TABLES)
def test_profile_times_rise_with_batch_size(table: Table) -> None:
    assert table.is_rising  # the bound counts on it: padding never makes a batch cheaper
    assert 0.0 <= table.sigma < 0.2


def test_best_cost_of_a_row_is_that_of_the_largest_batch_within_its_deadline() -> None:
    network = Network("m", Law(0.010, 0.005, 0.0), 8, 0.0)
    assert network.best_s(1) == pytest.approx(0.050 / 8)
    assert network.best_s(1, 0.021) == pytest.approx(0.020 / 2)
    assert network.best_s(1, 0.014) == math.inf


# ── arrivals ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_bursty_arrivals_keep_the_mean_rate_and_triple_it_in_bursts() -> None:
    at = bursty(100.0, 200_000, np.random.default_rng(4), cycle_s=2.0)
    assert len(at) / at[-1] == pytest.approx(100.0, rel=0.05)
    counts = np.bincount((at * 10).astype(int))  # by tenths of a second, short beside a burst
    assert counts.var() > 5 * counts.mean()  # of Poisson arrivals the two are equal
    assert np.quantile(counts, 0.95) == pytest.approx(100.0 * ON_FACTOR / 10, rel=0.15)
    plain = np.bincount((poisson(100.0, 200_000, np.random.default_rng(4)) * 10).astype(int))
    assert plain.var() == pytest.approx(plain.mean(), rel=0.1)


def test_draw_gives_streams_their_shares_deadlines_and_lengths() -> None:
    streams = [Stream(3.0, (0.1, 0.5)), Stream(1.0, (math.inf,), varies=True, stretch=2.0)]
    load = draw(streams, 50.0, 40_000, seed=2)
    assert (load.network == 0).mean() == pytest.approx(0.75, abs=0.01)
    within = np.round((load.deadline - load.at)[load.network == 0], 6)
    assert set(within) == {0.1, 0.5}
    assert (within == 0.1).mean() == pytest.approx(0.5, abs=0.02)
    lengths = load.length[load.network == 1]
    assert np.isinf(load.deadline[load.network == 1]).all()
    assert 6 <= lengths.min() < 20
    assert 300 < lengths.max() <= 400
    assert (load.length[load.network == 0] == 1).all()


def test_load_of_one_equals_the_capacity_of_the_device() -> None:
    for name in ("cpu-image-tight", "cpu-text-mixed", "cpu-two-bursty", "cpu-five-mixed", "a100-five-mixed"):
        scenario = SCENARIOS[name]
        load = scenario.load(1.0, 400.0, seed=3)
        lengths = zip(load.network.tolist(), load.length.tolist(), strict=True)
        work = sum(scenario.profiles[index].best_s(length) for index, length in lengths)
        asked = [part / sum(scenario.work) for part in scenario.work]
        assert work / load.seconds / scenario.on.lanes == pytest.approx(
            1.0, rel=0.25 if scenario.pattern == "bursty" else 0.05
        )
        assert sum(asked) == pytest.approx(1.0)


# ── the bound ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("load", [0.8, 1.5])
def test_no_contender_exceeds_the_bound(scenario: str, load: float) -> None:
    about = SCENARIOS[scenario]
    networks, lanes = about.profiles, about.on.lanes
    came = about.load(load, 60.0, seed=7)
    bound = most_in_time_s(networks, lanes, came)
    for name, make in CONTENDERS.items():
        contender = make(networks, lanes, about.weight, [min(about.within_s)] * len(networks))
        run = simulate(networks, lanes, came, contender, lambda _: 1.0)  # without noise, there is no luck
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
    assert bound((0.0, 2.0), (0.0, 2.0), (0.0, 2.0)) == pytest.approx(2.0)  # three seconds of work, two of time
    assert bound((0.0, 9.0), (0.5, 1.6)) == pytest.approx(2.0)  # the second goes first
    assert bound((0.0, 1.0), (0.0, 0.9)) == pytest.approx(1.0)  # the second fits into no batch at all
    assert bound((99.5, 200.0)) == pytest.approx(0.5)  # what is not done when requests end does not count


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


# ── figures ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("offered", "weights", "fair"),
    [
        ([2.0, 2.0], [1.0, 1.0], [1.0, 1.0]),
        ([2.0, 2.0], [3.0, 1.0], [1.5, 0.5]),
        ([3.0, 0.4], [1.0, 1.0], [1.6, 0.4]),
        ([0.3, 0.4], [1.0, 1.0], [0.3, 0.4]),
        ([9.0, 0.1, 9.0], [1.0, 1.0, 2.0], [1.9 / 3, 0.1, 3.8 / 3]),
        ([0.0, 5.0], [1.0, 1.0], [0.0, 2.0]),
    ],
)
def test_fair_shares_follow_weights_up_to_the_offered_load(
    offered: list[float], weights: list[float], fair: list[float]
) -> None:
    assert fair_shares(offered, weights, 2.0) == pytest.approx(fair)


def test_zoo_keeps_goodput_at_twice_the_capacity_where_fcfs_loses_it() -> None:
    """The reason for the policy, in half a minute of virtual time."""
    scenario = SCENARIOS["cpu-image-tight"]
    came = scenario.load(2.0, 300.0, seed=1)
    zoo, fcfs = (play(scenario, name, came, 1).tallies[0].in_time_s / came.seconds / 2 for name in ("zoo", "fcfs"))
    assert zoo >= 0.90
    assert fcfs < 0.10
