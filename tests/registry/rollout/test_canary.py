"""A canary that does worse than stable leaves its bounds; one that does as well keeps its share."""

import random

from service.registry.rollout.canary import Bounds, CanaryWatch


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def observe(watch: CanaryWatch, calls: int, canary: bool, *, every: int = 0, seconds: float = 0.01) -> str | None:
    """Many calls, each `every`-th of which fails. The first reason against the canary."""
    for i in range(1, calls + 1):
        reason = watch.observe(canary, bool(every) and i % every == 0, seconds)
        if reason is not None:
            return reason
    return None


def test_canary_as_good_as_stable_keeps_its_share() -> None:
    watch = CanaryWatch(Bounds(), Clock())
    draw = random.Random(1)
    for _ in range(5000):
        assert watch.observe(draw.random() < 0.2, draw.random() < 0.02, draw.lognormvariate(-4, 0.5)) is None


def test_canary_with_more_errors_than_stable_leaves_its_bounds_with_figures() -> None:
    watch = CanaryWatch(Bounds(), Clock())
    assert observe(watch, 100, False, every=50) is None
    reason = observe(watch, 40, True, every=4)
    assert reason == (
        "5 of its last 20 calls failed (25.0%); of the stable version's 2.0% did, and 5.0% more is allowed"
    )


def test_canary_with_the_errors_of_stable_keeps_its_share() -> None:
    watch = CanaryWatch(Bounds(), Clock())
    observe(watch, 100, False, every=4)
    assert observe(watch, 100, True, every=4) is None


def test_canary_with_few_calls_keeps_its_share() -> None:
    watch = CanaryWatch(Bounds(least_calls=20), Clock())
    assert observe(watch, 19, True, every=1) is None
    assert watch.observe(True, True, 0.01) is not None


def test_canary_twice_as_slow_leaves_its_bounds() -> None:
    watch = CanaryWatch(Bounds(), Clock())
    observe(watch, 100, False, seconds=0.020)
    reason = observe(watch, 100, True, seconds=0.050)
    assert reason is not None
    assert "95th percentile of its latency is 50.0 ms; that of the stable version is 20.0 ms" in reason


def test_latency_difference_of_a_few_milliseconds_keeps_the_canary() -> None:
    watch = CanaryWatch(Bounds(), Clock())
    observe(watch, 100, False, seconds=0.001)
    assert observe(watch, 100, True, seconds=0.009) is None


def test_canary_with_one_slow_call_in_a_hundred_keeps_its_share() -> None:
    watch = CanaryWatch(Bounds(), Clock())
    observe(watch, 100, False)
    for i in range(100):
        assert watch.observe(True, False, 5.0 if i == 50 else 0.01) is None


def test_canary_watch_forgets_calls_outside_its_window() -> None:
    clock = Clock()
    watch = CanaryWatch(Bounds(window_s=60.0), clock)
    observe(watch, 19, True, every=1)
    clock.now = 61.0
    assert observe(watch, 19, True) is None
    assert watch.observe(True, True, 0.01) is None, "one error of twenty"


def test_canary_watch_remembers_a_bounded_number_of_calls() -> None:
    watch = CanaryWatch(Bounds(most_calls=50), Clock())
    observe(watch, 1000, False)
    observe(watch, 1000, True)
    assert (len(watch._stable), len(watch._canary)) == (50, 50)
