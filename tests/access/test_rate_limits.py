"""A token's calls stay within its limits; a caller within the rate is never refused."""

from __future__ import annotations

import pytest

from service.access.rate_limits import Limits, RateLimits
from service.errors import RateLimited


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_limits_of_zero_refuse_nothing() -> None:
    limits = RateLimits(Limits(), Clock())
    for _ in range(10_000):
        limits.begin()
        limits.take_rows(1000)
    assert limits.running == 10_000


def test_one_second_of_calls_may_come_at_once_and_the_next_is_told_when() -> None:
    clock = Clock()
    limits = RateLimits(Limits(requests_per_second=10), clock)
    for _ in range(10):
        limits.begin()
    with pytest.raises(RateLimited) as refused:
        limits.begin()
    assert refused.value.retry_after_s == pytest.approx(0.1)
    clock.now += 0.1
    limits.begin()
    with pytest.raises(RateLimited):
        limits.begin()


def test_caller_at_the_rate_is_never_refused() -> None:
    clock = Clock()
    limits = RateLimits(Limits(requests_per_second=7), clock)
    for _ in range(1000):
        limits.begin()
        clock.now += 1 / 7


def test_rate_below_one_lets_the_first_call_through() -> None:
    clock = Clock()
    limits = RateLimits(Limits(requests_per_second=0.1), clock)
    limits.begin()
    with pytest.raises(RateLimited) as refused:
        limits.begin()
    assert refused.value.retry_after_s == pytest.approx(10.0)


def test_calls_at_once_are_bounded_and_an_end_makes_room() -> None:
    limits = RateLimits(Limits(concurrent_requests=2), Clock())
    limits.begin()
    limits.begin()
    with pytest.raises(RateLimited, match="2 requests under way"):
        limits.begin()
    limits.end()
    limits.begin()
    assert limits.running == 2


def test_call_refused_for_calls_at_once_takes_nothing_of_the_rate() -> None:
    limits = RateLimits(Limits(requests_per_second=2, concurrent_requests=1), Clock())
    limits.begin()
    for _ in range(5):
        with pytest.raises(RateLimited, match="under way"):
            limits.begin()
    limits.end()
    limits.begin()


def test_request_with_more_rows_than_a_second_has_waits_for_a_full_bucket_and_delays_the_next() -> None:
    clock = Clock()
    limits = RateLimits(Limits(rows_per_second=10), clock)
    limits.take_rows(30)
    with pytest.raises(RateLimited) as refused:
        limits.take_rows(1)
    assert refused.value.retry_after_s == pytest.approx(2.1)
    clock.now += 2.1
    limits.take_rows(1)


def test_open_streams_are_bounded_beside_calls_and_each_is_one_call() -> None:
    limits = RateLimits(Limits(requests_per_second=4, concurrent_requests=2), Clock())
    limits.begin_stream()
    limits.begin_stream()
    assert limits.running == 0
    with pytest.raises(RateLimited, match="2 streams open"):
        limits.begin_stream()
    limits.begin()
    limits.end_stream()
    limits.begin_stream()
    limits.end_stream()
    with pytest.raises(RateLimited, match="a second"):
        limits.begin_stream()


def test_limits_of_a_token_go_before_the_defaults() -> None:
    both = Limits(requests_per_second=5).over(Limits(requests_per_second=100, jobs=3))
    assert both == Limits(requests_per_second=5, jobs=3)
