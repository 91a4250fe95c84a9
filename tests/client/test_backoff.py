"""Pauses before a stream is opened again: they grow, they are bounded, and they end."""

from __future__ import annotations

import random

import pytest

from service.client.backoff import MAX_RECONNECTS, Backoff
from service.client.channel import Retry
from service.client.errors import (
    IllegalMove,
    NotFound,
    Overloaded,
    ServerUnreachable,
    TimedOut,
    Unavailable,
    ZooClientError,
)

DOWN = Unavailable("the server is down")
RETRY = Retry(attempts=5, initial_backoff_s=0.5, max_backoff_s=3.0)


@pytest.fixture
def no_jitter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.client.backoff.random.uniform", lambda low, high: 1.0)


def pauses(backoff: Backoff, error: ZooClientError = DOWN) -> list[float]:
    """The pauses until the error is raised."""
    given: list[float] = []
    while True:
        try:
            given.append(backoff.next_pause(error))
        except ZooClientError as raised:
            if raised is not error:
                raise
            return given


def test_each_pause_is_twice_the_last_one_up_to_the_longest(no_jitter: None) -> None:
    assert pauses(Backoff(RETRY)) == [0.5, 1.0, 2.0, 3.0]


@pytest.mark.parametrize("seed", range(3))
def test_pause_varies_by_a_fifth_so_that_callers_spread_in_time(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    monkeypatch.setattr("service.client.backoff.random", random.Random(seed))
    first = [Backoff(RETRY).next_pause(DOWN) for _ in range(200)]
    assert 0.4 <= min(first) < 0.42
    assert 0.58 < max(first) <= 0.6


@pytest.mark.parametrize("attempts", [1, 2, 5])
def test_server_that_never_answered_is_given_up_after_the_attempts_of_the_caller(attempts: int) -> None:
    assert len(pauses(Backoff(Retry(attempts=attempts)))) == attempts - 1


def test_stream_that_made_progress_is_opened_again_far_more_often(no_jitter: None) -> None:
    backoff = Backoff(RETRY)
    backoff.reset()
    given = pauses(backoff)
    assert len(given) == MAX_RECONNECTS - 1
    assert given[:4] == [0.5, 1.0, 2.0, 3.0]
    assert set(given[4:]) == {3.0}


def test_progress_starts_the_count_and_the_pauses_again(no_jitter: None) -> None:
    backoff = Backoff(RETRY)
    assert [backoff.next_pause(DOWN) for _ in range(4)] == [0.5, 1.0, 2.0, 3.0]
    for _ in range(3):
        backoff.reset()
        assert [backoff.next_pause(DOWN) for _ in range(MAX_RECONNECTS - 1)][:2] == [0.5, 1.0]


def test_caller_who_wants_no_retry_gets_none_after_progress_either() -> None:
    backoff = Backoff(Retry(attempts=1))
    backoff.reset()
    assert pauses(backoff) == []


def test_stream_that_a_limit_refused_is_opened_again_when_the_server_says() -> None:
    pause_s = Backoff(Retry()).next_pause(Overloaded("too many", code="RESOURCE_EXHAUSTED", retry_after_s=3.0))
    assert 3.0 <= pause_s <= 3.6
    with pytest.raises(Overloaded):
        Backoff(Retry()).next_pause(Overloaded("a quota", code="RESOURCE_EXHAUSTED"))


def test_unreachable_server_is_tried_again() -> None:
    assert len(pauses(Backoff(RETRY), ServerUnreachable("no server answers"))) == 4


@pytest.mark.parametrize("kind", [NotFound, Overloaded, TimedOut, IllegalMove, ZooClientError])
@pytest.mark.parametrize("progress", [False, True])
def test_error_that_a_retry_cannot_help_is_raised_at_once(kind: type[ZooClientError], progress: bool) -> None:
    backoff = Backoff(RETRY)
    if progress:
        backoff.reset()
    assert pauses(backoff, kind("in vain")) == []
