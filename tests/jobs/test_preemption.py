"""Served models come first; jobs get their share all the same. Pure: the clock is a number."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.jobs.preemption import PreemptionLimits, PreemptionPolicy

STEP = 0.01


def run(limits: PreemptionLimits, seconds: float, pressure: Callable[[float], float]) -> list[bool]:
    """Whether the worker is held, looked at a hundred times a second."""
    policy = PreemptionPolicy(limits)
    return [policy.decide(i * STEP, pressure(i * STEP)) for i in range(round(seconds / STEP))]


def test_a_worker_runs_while_nobody_waits_too_long() -> None:
    assert not any(run(PreemptionLimits(), 60.0, lambda now: 0.99))


def test_it_rests_at_the_first_look_at_a_row_that_waits_too_long() -> None:
    held = run(PreemptionLimits(), 2.0, lambda now: 1.0 if now >= 1.0 else 0.0)
    assert held.index(True) == 100


def test_it_goes_on_once_it_has_been_calm_for_a_while() -> None:
    held = run(PreemptionLimits(calm_s=0.2), 3.0, lambda now: 0.0 if now >= 1.0 else 2.0)
    assert all(held[:120])
    assert not any(held[121:])


def test_a_pressure_about_the_threshold_does_not_make_it_stop_and_go() -> None:
    held = run(PreemptionLimits(share=0.0), 10.0, lambda now: 1.01 if round(now / STEP) % 2 else 0.7)
    assert sum(a != b for a, b in pairwise(held)) == 1


@pytest.mark.parametrize("share", [0.05, 0.1, 0.5])
def test_on_a_server_that_is_always_busy_it_gets_its_share(share: float) -> None:
    held = run(PreemptionLimits(share=share), 300.0, lambda now: 50.0)
    assert 1 - sum(held) / len(held) == pytest.approx(share, rel=0.1)


def test_a_share_of_nought_may_wait_for_ever_and_one_of_all_never_rests() -> None:
    assert all(run(PreemptionLimits(share=0.0), 300.0, lambda now: 50.0))
    assert not any(run(PreemptionLimits(share=1.0), 60.0, lambda now: 50.0))


@given(
    share=st.floats(0.01, 0.9),
    waves=st.lists(st.tuples(st.floats(0.0, 5.0), st.integers(1, 400)), min_size=1, max_size=30),
)
def test_whatever_the_pressure_no_rest_is_longer_than_the_limit(share: float, waves: list[tuple[float, int]]) -> None:
    limits = PreemptionLimits(share=share, longest_s=1.0)
    policy, longest, since = PreemptionPolicy(limits), 0.0, None
    now = 0.0
    for pressure, looks in waves:
        for _ in range(looks):
            held = policy.decide(now, pressure)
            since = (since if since is not None else now) if held else None
            longest = max(longest, 0.0 if since is None else now - since)
            now += STEP
    assert longest <= limits.longest_s + STEP
