"""The load is equal for every participant and has the stated distribution."""

import numpy as np
import pytest

from benchmarks.load.arrivals import LONGEST, SHORTEST, largest_rate, poisson, review_lengths


def test_arrivals_and_lengths_depend_on_the_seed_only() -> None:
    assert np.array_equal(poisson(50.0, 4.0, 1), poisson(50.0, 4.0, 1))
    assert not np.array_equal(poisson(50.0, 4.0, 1)[:20], poisson(50.0, 4.0, 2)[:20])
    assert np.array_equal(review_lengths(100, 1), review_lengths(100, 1))
    assert not np.array_equal(review_lengths(100, 1), review_lengths(100, 2))


def test_poisson_arrivals_have_the_requested_rate() -> None:
    rate, seconds = 100.0, 400.0
    times = poisson(rate, seconds, 3)
    gaps = np.diff(times)

    assert times[0] > 0.0
    assert times[-1] < seconds
    assert (gaps > 0.0).all()
    assert len(times) == pytest.approx(rate * seconds, rel=0.02)
    # Exponential gaps: the deviation equals the mean, and a share of 1/e is longer than the mean.
    assert gaps.std() == pytest.approx(gaps.mean(), rel=0.03)
    assert (gaps > gaps.mean()).mean() == pytest.approx(np.exp(-1.0), abs=0.01)
    # The number in each second is the rate ± its square root.
    counts = np.bincount(times.astype(int), minlength=int(seconds))
    assert counts.var() == pytest.approx(counts.mean(), rel=0.2)


def test_poisson_of_a_low_rate_may_be_empty() -> None:
    assert len(poisson(0.001, 1.0, 1)) == 0


def test_review_lengths_are_log_normal_within_bounds() -> None:
    lengths = review_lengths(20_000, 5)

    assert len(lengths) == 20_000
    assert lengths.min() >= SHORTEST
    assert lengths.max() <= LONGEST
    assert np.median(lengths) == pytest.approx(40, abs=2)
    assert lengths.mean() > 1.2 * np.median(lengths)  # long texts raise the mean, as in reviews
    assert np.quantile(lengths, 0.9) > 90


def test_largest_rate_is_a_rate_that_held() -> None:
    tried: list[float] = []

    def holds(rate: float) -> bool:
        tried.append(rate)
        return rate <= 37.0

    found = largest_rate(holds, 10.0, 100.0, 8)

    assert found in tried
    assert found <= 37.0
    assert found == pytest.approx(37.0, abs=90.0 / 2**7)
    assert len(tried) == 8


def test_largest_rate_is_zero_if_none_holds_and_the_highest_if_all_hold() -> None:
    assert largest_rate(lambda rate: False, 10.0, 100.0, 5) == 0.0
    assert largest_rate(lambda rate: True, 10.0, 100.0, 5) == 100.0
