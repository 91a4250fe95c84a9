"""Served models come first, and jobs still get their share. Pure: the clock is a number."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.jobs.preemption import PreemptionLimits, PreemptionPolicy

STEP = 0.01


def run(limits: PreemptionLimits, seconds: float, pressure: Callable[[float], float]) -> list[bool]:
    """Whether the worker is suspended, decided a hundred times a second."""
    policy = PreemptionPolicy(limits)
    return [policy.decide(i * STEP, pressure(i * STEP)) for i in range(round(seconds / STEP))]


def test_worker_below_the_limit_is_never_suspended() -> None:
    assert not any(run(PreemptionLimits(), 60.0, lambda now: 0.99))


def test_worker_is_suspended_at_the_first_decision_over_the_limit() -> None:
    suspended = run(PreemptionLimits(), 2.0, lambda now: 1.0 if now >= 1.0 else 0.0)
    assert suspended.index(True) == 100


def test_worker_is_resumed_after_a_calm_time() -> None:
    suspended = run(PreemptionLimits(calm_s=0.2), 3.0, lambda now: 0.0 if now >= 1.0 else 2.0)
    assert all(suspended[:120])
    assert not any(suspended[121:])


def test_pressure_around_the_threshold_suspends_once() -> None:
    suspended = run(PreemptionLimits(share=0.0), 10.0, lambda now: 1.01 if round(now / STEP) % 2 else 0.7)
    assert sum(a != b for a, b in pairwise(suspended)) == 1


@pytest.mark.parametrize("share", [0.05, 0.1, 0.5])
def test_worker_on_a_server_that_is_always_busy_gets_its_share(share: float) -> None:
    suspended = run(PreemptionLimits(share=share), 300.0, lambda now: 50.0)
    assert 1 - sum(suspended) / len(suspended) == pytest.approx(share, rel=0.1)


def test_share_of_0_is_suspended_without_end_and_share_of_1_never() -> None:
    assert all(run(PreemptionLimits(share=0.0), 300.0, lambda now: 50.0))
    assert not any(run(PreemptionLimits(share=1.0), 60.0, lambda now: 50.0))


@given(
    share=st.floats(0.01, 0.9),
    waves=st.lists(st.tuples(st.floats(0.0, 5.0), st.integers(1, 400)), min_size=1, max_size=30),
)
def test_no_suspension_is_longer_than_the_limit_at_any_pressure(share: float, waves: list[tuple[float, int]]) -> None:
    limits = PreemptionLimits(share=share, longest_s=1.0)
    policy, longest, since = PreemptionPolicy(limits), 0.0, None
    now = 0.0
    for pressure, looks in waves:
        for _ in range(looks):
            suspended = policy.decide(now, pressure)
            since = (since if since is not None else now) if suspended else None
            longest = max(longest, 0.0 if since is None else now - since)
            now += STEP
    assert longest <= limits.longest_s + STEP
