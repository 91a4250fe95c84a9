"""An interval of 80 % contains about 80 % of future values, even if it comes from few errors."""

import numpy as np
import pytest

from model_zoo.cards.tuned_parts import TargetScale
from service.tasks.series.time_series_forecasting import spread_of
from service.training.evaluation.conformal import forecast_scale, with_interval
from tests.support.training import random_walks


@pytest.mark.parametrize("errors", [10, 19, 50])
def test_number_interval_from_few_errors_has_its_nominal_coverage(errors: int) -> None:
    """Over 2,000 models. Plain quantiles of ten errors contain only 0.66 of future values."""
    rng = np.random.default_rng(0)
    held = []
    for _ in range(2000):
        predicted = rng.normal(size=errors)
        scale = with_interval(TargetScale(mean=0, std=1), predicted, predicted + rng.exponential(size=errors))
        assert scale.lower is not None
        assert scale.upper is not None
        come = rng.exponential(size=50)
        held.append(((scale.lower <= come) & (come <= scale.upper)).mean())
    # The exact expectation is (n + 1 - 2 ⌊(n + 1) / 10⌋) / (n + 1), which is 0.8 or a little more.
    assert np.mean(held) == pytest.approx(1 - 2 * ((errors + 1) // 10) / (errors + 1), abs=0.01)
    assert np.mean(held) >= 0.79


def test_nine_errors_give_no_interval() -> None:
    scale = TargetScale(mean=0, std=1)
    assert with_interval(scale, np.zeros(9), np.arange(9.0)) == scale


@pytest.mark.parametrize("kind", list(random_walks.REMAINING_SHARE))
@pytest.mark.parametrize(("horizon", "steps"), [(1, 40), (6, 60), (12, 200)])
def test_forecast_interval_of_overlapping_windows_has_its_nominal_coverage(kind: str, horizon: int, steps: int) -> None:
    """Over 100 series each. The 10th and 90th percentiles of the errors contain only 0.75 to 0.79."""
    rng = np.random.default_rng(1)
    held = []
    for _ in range(100):
        values = random_walks.series(kind, steps + 400, rng)
        seen, come = (
            random_walks.windows(values, b, e, horizon) for b, e in ((20, 20 + steps), (80 + steps, 400 + steps))
        )
        scale = forecast_scale(seen.contexts, seen.targets, random_walks.best_forecasts(kind, seen), seen.step)
        assert scale is not None
        errors = (come.targets - random_walks.best_forecasts(kind, come)) / spread_of(come.contexts)
        held.append(((np.array(scale.lower) <= errors) & (errors <= np.array(scale.upper))).mean())
    assert 0.79 <= np.mean(held) <= 0.88


def test_windows_that_all_overlap_give_no_interval() -> None:
    """Fifteen windows of twelve steps each count as little more than two independent ones."""
    rng = np.random.default_rng(0)
    seen = random_walks.windows(random_walks.series("random walk", 60, rng), 34, 60, 12)
    assert len(seen.targets) == 15
    assert forecast_scale(seen.contexts, seen.targets, random_walks.best_forecasts("random walk", seen)) is None


def test_constant_contexts_give_no_interval() -> None:
    still = np.ones((100, 12, 1))
    assert forecast_scale(still, np.zeros((100, 3, 1)), np.zeros((100, 3, 1))) is None
