"""The engine matches queueing theory where its results are known."""

import math
import random
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.simulate import play
from benchmarks.simulation.contenders import CONTENDERS, ArrivalOrder
from benchmarks.simulation.engine import INFINITY, Request, Run, SimulatedBatch, log_normal, simulate
from benchmarks.simulation.profiles import Network
from benchmarks.simulation.request_load import Load, Stream, draw
from benchmarks.simulation.scenarios import SCENARIOS
from service.scheduler.cost import Law

MEAN_S = 0.01
ALONE = Network("m", Law(MEAN_S, 0.0, 0.0), 1, 0.0)
"""Batches of one row."""


def sojourns(utilisation: float, lanes: int, noise: Callable[[int], float], seed: int = 5) -> NDArray[np.float64]:
    rate = utilisation * lanes / MEAN_S
    load = draw([Stream(1.0, (INFINITY,))], rate, 100_000, seed)
    run = simulate([ALONE], lanes, load, ArrivalOrder([ALONE]), noise)
    return np.frombuffer(run.tallies[0].latencies_s)[10_000:]


def exponential(seed: int) -> Callable[[int], float]:
    rng = random.Random(seed)
    return lambda _: rng.expovariate(1.0)


@pytest.mark.parametrize("utilisation", [0.3, 0.7])
def test_engine_with_one_exponential_server_matches_m_m_1(utilisation: float) -> None:
    seen = sojourns(utilisation, 1, exponential(1))
    mean = MEAN_S / (1.0 - utilisation)
    assert seen.mean() == pytest.approx(mean, rel=0.05)
    assert np.quantile(seen, 0.99) == pytest.approx(
        mean * math.log(100.0), rel=0.10
    )  # the time in the system is exponential


@pytest.mark.parametrize("utilisation", [0.3, 0.7])
def test_engine_with_one_server_of_fixed_time_matches_m_d_1(utilisation: float) -> None:
    seen = sojourns(utilisation, 1, lambda _: 1.0)
    assert seen.mean() == pytest.approx(MEAN_S * (1.0 + utilisation / (2.0 * (1.0 - utilisation))), rel=0.03)


def test_engine_with_two_exponential_servers_matches_m_m_2() -> None:
    utilisation = 0.7
    waits = 2 * utilisation**2 / (1 + utilisation)  # Erlang's C for two servers
    assert sojourns(utilisation, 2, exponential(2)).mean() == pytest.approx(
        MEAN_S * (1.0 + waits / (2.0 * (1.0 - utilisation))), rel=0.05
    )


def test_log_normal_noise_has_mean_one_and_the_given_spread() -> None:
    noise = log_normal([Network("m", Law(1.0, 0.0, 0.0), 1, 0.1)], seed=3)
    drawn = np.array([noise(0) for _ in range(50_000)])
    assert drawn.mean() == pytest.approx(1.0, abs=0.003)
    assert np.log(drawn).std() == pytest.approx(0.1, rel=0.03)


# ── requirements of every contender ─────────────────────────────────────────────────────────────────────────────────

NAMES = ("cpu-image-tight", "cpu-text-mixed", "cpu-two-bursty", "cpu-five-mixed", "a100-five-mixed")


def run_of(contender: str, scenario: str, load: float = 1.5, seed: int = 1, turns: float = 40.0) -> tuple[Load, Run]:
    came = SCENARIOS[scenario].load(load, turns, seed)
    return came, play(SCENARIOS[scenario], contender, came, seed)


PROMISING = [name for name, make in CONTENDERS.items() if make([ALONE], 1, [1.0], [1.0]).work_conserving]


@pytest.mark.parametrize("scenario", NAMES)
@pytest.mark.parametrize("contender", CONTENDERS)
def test_engine_ends_every_request_exactly_once(contender: str, scenario: str) -> None:
    load, run = run_of(contender, scenario)  # raises if a request ends twice
    assert run.ended == len(load)
    for index, tally in enumerate(run.tallies):
        assert sum(tally.fates.values()) == np.count_nonzero(load.network == index)
        assert tally.fates["answered"] == len(tally.latencies_s) == tally.rows >= tally.in_time


@pytest.mark.parametrize("scenario", NAMES)
@pytest.mark.parametrize("contender", PROMISING)
@pytest.mark.parametrize("load", [0.5, 1.5])
def test_work_conserving_contender_leaves_no_lane_idle_while_rows_wait(
    contender: str, scenario: str, load: float
) -> None:
    assert run_of(contender, scenario, load)[1].idle_s == 0.0


def test_zoo_contender_is_work_conserving() -> None:
    assert {"zoo", "fcfs"} <= set(PROMISING) < set(CONTENDERS)


@pytest.mark.parametrize("contender", ["triton", "torchserve"])
def test_engine_measures_idle_lanes_of_a_fixed_delay(contender: str) -> None:
    assert run_of(contender, "cpu-image-tight", 0.2)[1].idle_s > 0.0


@pytest.mark.parametrize("contender", CONTENDERS)
def test_run_is_determined_by_the_seed(contender: str) -> None:
    first, again, other = (run_of(contender, "cpu-two-bursty", seed=seed)[1].tallies for seed in (1, 1, 2))
    assert first == again
    assert first != other


class Careless:
    """Answers the first request twice, or never."""

    work_conserving = False
    waiting = 0

    def __init__(self, times: int) -> None:
        self._left = times
        self._seen: list[Request] = []

    def arrive(self, request: Request, now: float) -> bool:
        self._seen.append(request)
        return True

    def next(self, now: float) -> SimulatedBatch | float:
        if not self._left:
            return INFINITY
        self._left -= 1
        return SimulatedBatch(0, self._seen[:1])

    def finished(self, job: SimulatedBatch, now: float) -> None:
        pass


@pytest.mark.parametrize(("times", "message"), [(2, "was answered is now answered"), (0, "never ended")])
def test_contender_that_answers_twice_or_never_is_rejected(times: int, message: str) -> None:
    load = Load(np.array([0.5]), np.zeros(1, np.int64), np.array([9.0]), np.ones(1, np.int64), 1.0)
    with pytest.raises(RuntimeError, match=message):
        simulate([ALONE], 1, load, Careless(times), lambda _: 1.0)
