"""Baselines."""

import numpy as np

from service.training.evaluation import baseline


def test_seasonal_naive_repeats_the_last_season() -> None:
    context = np.arange(8.0).reshape(1, 8, 1)
    assert baseline.seasonal_naive(context, 5, 3)[0, :, 0].tolist() == [5, 6, 7, 5, 6]
    assert baseline.seasonal_naive(context, 2, 1)[0, :, 0].tolist() == [7, 7]
    assert baseline.seasonal_naive(context, 2, 99)[0, :, 0].tolist() == [7, 7]
