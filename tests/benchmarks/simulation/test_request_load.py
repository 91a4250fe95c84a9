"""Arrivals, deadlines and lengths of simulated requests."""

import math

import numpy as np
import pytest

from benchmarks.simulation.request_load import ON_FACTOR, Stream, bursty, draw, poisson


def test_bursty_arrivals_keep_the_mean_rate_and_triple_it_in_bursts() -> None:
    at = bursty(100.0, 200_000, np.random.default_rng(4), cycle_s=2.0)
    assert len(at) / at[-1] == pytest.approx(100.0, rel=0.05)
    counts = np.bincount((at * 10).astype(int))  # by tenths of a second, which are shorter than a burst
    assert counts.var() > 5 * counts.mean()  # equal for Poisson arrivals
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
