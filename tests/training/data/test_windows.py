"""Windows follow the season and the length of a series."""

import numpy as np
import pytest

from service.training.data.windows import SeriesPart, find_season, series_recipe, windows_of
from service.training.failures import CannotTrain
from service.training.hyperparameters import Hyperparameters


def wave(steps: int, period: int, trend: float = 0.5) -> np.ndarray:
    t = np.arange(steps)
    noise = np.random.default_rng(0).normal(0, 0.3, steps)
    return (10 + trend * t + 5 * np.sin(2 * np.pi * t / period) + noise)[:, None]


@pytest.mark.parametrize("period", [7, 12, 24])
def test_season_with_trend_and_noise_is_found(period: int) -> None:
    assert find_season([wave(20 * period, period)]) == period


@pytest.mark.parametrize("values", [np.ones((50, 1)), np.arange(50.0)[:, None]])
def test_constant_or_linear_series_has_no_season(values: np.ndarray) -> None:
    assert find_season([values]) == 1


def test_noise_has_no_season() -> None:
    assert find_season([np.random.default_rng(1).normal(size=(300, 1))]) == 1


def test_targets_lie_within_part_and_contexts_may_precede_it() -> None:
    values = np.arange(100.0)[:, None]
    recipe = series_recipe(Hyperparameters(context=10, horizon=5, season=1), [values[:70]], 100, 1)
    test = windows_of([SeriesPart(values, 85, 100)], recipe, "test")
    assert test.targets.min() == 85
    assert test.targets.max() == 99
    assert test.contexts[0, :, 0].tolist() == list(range(75, 85))


def test_series_shorter_than_window_is_rejected_with_lengths() -> None:
    with pytest.raises(CannotTrain, match="too short: 20 steps"):
        series_recipe(Hyperparameters(context=30, horizon=5), [wave(20, 7)], 30, 1)
