"""The policy in virtual time, under more load than a device can serve."""

import itertools
import random
from collections.abc import Callable

import pytest

from service.scheduler.cost import KnownCost, Law, LearnedCost
from service.scheduler.policy import BORROW_S, BatchLimits, DevicePolicy
from tests.support.scheduler.simulation import (
    Arrival,
    Run,
    poisson,
    simulate,
)

LANES = 2
BATCH = 8
CNN = Law(0.010, 0.005, 0.0)
"""Batching gains threefold."""
TEXT = Law(0.004, 0.0005, 0.00015)


def capacity(law: Law, length: int = 1) -> float:
    """Rows a second in full batches on both lanes."""
    return LANES * BATCH / law.seconds(BATCH, length)


def uneven(rng: random.Random) -> Callable[[], float]:
    """Batches vary by 5 %, and one in a hundred takes three times as long."""
    return lambda: max(0.5, rng.gauss(1.0, 0.05)) * (3.0 if rng.random() < 0.01 else 1.0)


def overload(law: Law, load: float, within_s: float, seed: int, seconds: float = 30.0, *, admit: bool = True) -> Run:
    rng, policy = random.Random(seed), DevicePolicy(LANES)
    queue = policy.add("m", BatchLimits(BATCH, 512), LearnedCost())
    arrivals = [Arrival(at, queue, within_s) for at in poisson(rng, load * capacity(law), seconds)]
    return simulate(policy, arrivals, {"m": law}, admit=admit, noise=uneven(rng))


@pytest.mark.parametrize("law", [CNN, Law(0.03, 0.002, 0.0), Law(0.001, 0.012, 0.0)])
@pytest.mark.parametrize("turns", [3, 5, 20])
def test_at_twice_its_capacity_a_device_still_answers_nine_tenths_of_it_in_time(law: Law, turns: int) -> None:
    within_s = turns * law.seconds(BATCH, 1)
    run = overload(law, 2.0, within_s, seed=turns)
    assert run.good(begin=2.0, end=30.0) / 28.0 >= 0.90 * capacity(law)


def test_first_come_first_served_collapses_at_twice_the_capacity() -> None:
    """What the policy is for: the same arrivals without admission and without knowledge of cost."""
    rng, policy = random.Random(5), DevicePolicy(LANES)
    queue = policy.add("m", BatchLimits(BATCH, 10**6), KnownCost(None))
    arrivals = [Arrival(at, queue, 0.25) for at in poisson(rng, 2 * capacity(CNN), 30.0)]
    run = simulate(policy, arrivals, {"m": CNN}, admit=False, noise=uneven(rng))
    assert run.good(begin=2.0, end=30.0) / 28.0 < 0.5 * capacity(CNN)


def test_batch_without_admission_does_not_fill_with_too_late_rows() -> None:
    run = overload(CNN, 2.0, 0.25, seed=1, admit=False)
    assert run.good(begin=2.0, end=30.0) / 28.0 >= 0.80 * capacity(CNN)


@pytest.mark.parametrize("load", [0.5, 0.7])
def test_below_capacity_hardly_any_request_is_refused(load: float) -> None:
    run = overload(CNN, load, 0.3, seed=2)
    turned_away = sum(not outcome.good for outcome in run.outcomes)
    assert turned_away <= 0.002 * len(run.outcomes)


def test_near_capacity_few_requests_are_refused() -> None:
    run = overload(CNN, 0.95, 0.5, seed=2)
    assert sum(not outcome.good for outcome in run.outcomes) <= 0.02 * len(run.outcomes)


def test_refusals_come_at_once_and_admitted_requests_are_mostly_in_time() -> None:
    run = overload(CNN, 2.0, 0.25, seed=3)
    refused = [o for o in run.outcomes if o.fate == "refused"]
    let_in = [o for o in run.outcomes if o.fate != "refused"]
    assert all(o.ended == o.arrival.at for o in refused)
    assert sum(o.good for o in let_in) >= 0.9 * len(let_in)


def test_far_deadlines_beside_near_ones_are_met() -> None:
    """A third of the callers has no deadline to speak of; the others are four times too many."""
    rng, policy = random.Random(4), DevicePolicy(LANES)
    queue = policy.add("m", BatchLimits(BATCH, 10**6), LearnedCost())
    arrivals = [Arrival(at, queue, 0.3) for at in poisson(rng, 1.6 * capacity(CNN), 20.0)]
    patient = [Arrival(at, queue, 60.0) for at in poisson(rng, 0.4 * capacity(CNN), 20.0)]
    run = simulate(policy, arrivals + patient, {"m": CNN}, noise=uneven(rng))
    assert all(o.good for o in run.outcomes if o.arrival.within_s == 60.0)


def test_texts_of_unlike_lengths_are_answered_at_twice_the_rate_of_arrival_order() -> None:
    answered, padding = {}, {}
    for packed in (True, False):
        rng, policy = random.Random(7), DevicePolicy(LANES)
        queue = policy.add("m", BatchLimits(BATCH, 10**6), LearnedCost(), variable_length=packed)
        lengths = [min(200, max(3, round(rng.lognormvariate(3.2, 0.9)))) for _ in range(20_000)]
        arrivals = [
            Arrival(at, queue, 1e6, length) for at, length in zip(poisson(rng, 600, 20.0), lengths, strict=False)
        ]
        run = simulate(policy, arrivals, {"m": TEXT}, admit=False, until=20.0)
        answered[packed] = sum(o.fate == "answered" for o in run.outcomes)
        padding[packed] = run.padding_ratio
    assert answered[True] >= 2 * answered[False]
    assert padding[True] <= 0.10 < padding[False]


def test_light_load_of_texts_does_not_wait_for_fuller_batches() -> None:
    rng, policy = random.Random(8), DevicePolicy(LANES)
    queue = policy.add("m", BatchLimits(BATCH, 512), LearnedCost(), variable_length=True)
    arrivals = [Arrival(at, queue, 60.0, rng.randint(3, 200)) for at in poisson(rng, 10.0, 60.0)]
    run = simulate(policy, arrivals, {"m": TEXT})
    idle = [o for o in run.outcomes if o.started == o.arrival.at]
    assert len(idle) >= 0.9 * len(run.outcomes)


def test_two_networks_under_overload_share_by_weight_and_lose_no_capacity() -> None:
    rng, policy = random.Random(9), DevicePolicy(LANES)
    laws = {"a": CNN, "b": Law(0.02, 0.01, 0.0)}
    queues = {
        name: policy.add(name, BatchLimits(BATCH, 512, weight=w), LearnedCost()) for name, w in (("a", 2.0), ("b", 1.0))
    }
    arrivals = [
        Arrival(at, queue, 8 * laws[name].seconds(BATCH, 1))
        for name, queue in queues.items()
        for at in poisson(rng, 1.5 * capacity(laws[name]), 30.0)
    ]
    run = simulate(policy, arrivals, laws, noise=uneven(rng), until=30.0)
    assert run.busy_s["a"] / run.busy_s["b"] == pytest.approx(2.0, rel=0.1)
    worth = {name: capacity(law) for name, law in laws.items()}
    used = sum(1.0 / worth[o.arrival.queue.name] for o in run.outcomes if o.good) / 30.0
    assert used >= 0.85


def test_model_with_near_deadlines_leaves_half_to_one_with_far_deadlines() -> None:
    rng, policy = random.Random(10), DevicePolicy(LANES)
    laws = {"hasty": CNN, "patient": CNN}
    queues = {name: policy.add(name, BatchLimits(BATCH, 10**6), LearnedCost()) for name in laws}
    arrivals = [Arrival(at, queues["hasty"], 0.2) for at in poisson(rng, 2 * capacity(CNN), 20.0)]
    arrivals += [Arrival(at, queues["patient"], 600.0) for at in poisson(rng, 2 * capacity(CNN), 20.0)]
    run = simulate(policy, arrivals, laws, noise=uneven(rng), until=20.0)
    assert run.busy_s["patient"] >= 20.0 - BORROW_S - 0.5
    starts = sorted(began for name, *_, began, _ in run.batches if name == "patient")
    assert max(b - a for a, b in itertools.pairwise(starts)) <= 2 * BORROW_S
