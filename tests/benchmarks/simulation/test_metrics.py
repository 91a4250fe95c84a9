"""The metrics of a simulated run."""

import pytest

from benchmarks.simulation.metrics import fair_shares


@pytest.mark.parametrize(
    ("offered", "weights", "fair"),
    [
        ([2.0, 2.0], [1.0, 1.0], [1.0, 1.0]),
        ([2.0, 2.0], [3.0, 1.0], [1.5, 0.5]),
        ([3.0, 0.4], [1.0, 1.0], [1.6, 0.4]),
        ([0.3, 0.4], [1.0, 1.0], [0.3, 0.4]),
        ([9.0, 0.1, 9.0], [1.0, 1.0, 2.0], [1.9 / 3, 0.1, 3.8 / 3]),
        ([0.0, 5.0], [1.0, 1.0], [0.0, 2.0]),
    ],
)
def test_fair_shares_follow_weights_up_to_the_offered_load(
    offered: list[float], weights: list[float], fair: list[float]
) -> None:
    assert fair_shares(offered, weights, 2.0) == pytest.approx(fair)
