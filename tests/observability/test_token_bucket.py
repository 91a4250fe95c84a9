"""The token bucket, under a clock of the test."""

from service.observability.token_bucket import TokenBucket


def test_bucket_allows_its_burst_and_then_its_rate() -> None:
    now = [100.0]
    bucket = TokenBucket(3, 0.5, lambda: now[0])
    assert [bucket.take() for _ in range(5)] == [True, True, True, False, False]
    now[0] += 1.0
    assert not bucket.take(), "half a token"
    now[0] += 1.0
    assert bucket.take()
    assert not bucket.take()


def test_full_bucket_gains_nothing_more() -> None:
    now = [0.0]
    bucket = TokenBucket(2, 1.0, lambda: now[0])
    now[0] = 1e6
    assert [bucket.take() for _ in range(3)] == [True, True, False]


def test_clock_that_goes_back_takes_no_tokens_away() -> None:
    now = [10.0]
    bucket = TokenBucket(2, 1.0, lambda: now[0])
    now[0] = 5.0
    assert bucket.take()
    assert bucket.take()
    assert not bucket.take()
