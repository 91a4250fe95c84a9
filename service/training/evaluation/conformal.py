"""Prediction intervals by split conformal prediction (Lei et al. 2018, arXiv:1604.04173).

Sort the errors on data that the weights have not learned from. The next error is equally likely to fall into each gap between two
of them. So, of n errors, the error of rank (n + 1) × share bounds the next one with the probability `share`. The 1 stands for the
next error; without it, intervals from few errors are too narrow.

This holds on average, for exchangeable errors: errors of the same kind in any order. It does not hold for data that have drifted,
nor for each example by itself. Validation data also decide when training stops: their errors are slightly smaller than new ones.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from model_zoo.cards.tuned_parts import ForecastScale, TargetScale
from service.tasks.series.time_series_forecasting import spread_of

Floats = NDArray[np.floating]

INTERVAL_SHARE = 0.8
"""Of future errors: an interval contains this share."""
MIN_ERRORS = 10
"""Fewer errors do not bound a tenth on either side."""


def with_interval(scale: TargetScale, predicted: Floats, targets: Floats) -> TargetScale:
    """The scale with an interval of 80 % of future errors, a tenth beyond either side; without one if too few errors are
    known."""
    errors = np.sort(np.asarray(targets, np.float64) - predicted)
    if len(errors) < MIN_ERRORS:
        return scale
    beyond = int((len(errors) + 1) * (1 - INTERVAL_SHARE) / 2 + 1e-9)  # rounding must not lose a rank
    return scale.model_copy(update={"lower": float(errors[beyond - 1]), "upper": float(errors[-beyond])})


def forecast_scale(contexts: Floats, targets: Floats, forecasts: Floats, step: int = 1) -> ForecastScale | None:
    """Symmetric intervals of 80 % of future errors, for each step ahead, in spreads of the context.

    Windows `step` apart overlap. Errors of a good forecast k steps ahead depend on each other over k steps (Diebold and Mariano
    1995), so n windows count as n × step ÷ k independent ones. None if even the largest error does not bound 80 %, or if the
    contexts are constant.

    Args:
        contexts: `(n, steps, channels)`, in the units of the data.
        targets: `(n, horizon, channels)`, as `forecasts`.
    """
    spread = spread_of(contexts)  # (n, 1, channels)
    varying = (spread > 0).all(axis=(1, 2))
    errors = np.abs(np.asarray(targets, np.float64) - np.asarray(forecasts, np.float64))[varying] / spread[varying]
    windows, horizon, _ = errors.shape
    independent = np.minimum(windows, windows * step / np.arange(1, horizon + 1))  # for each step ahead
    level = INTERVAL_SHARE * (independent + 1) / independent if windows else np.full(horizon, np.inf)
    if (level > 1).any() or not np.isfinite(errors).all():
        return None
    rank = np.minimum(np.ceil(level * windows - 1e-9).astype(int), windows) - 1  # of the sorted errors, from 0
    upper = np.sort(errors, axis=0)[rank, np.arange(horizon)]  # (horizon, channels)
    return ForecastScale(lower=(-upper).tolist(), upper=upper.tolist())
