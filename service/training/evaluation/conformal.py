"""Where what comes will lie around a prediction: split conformal prediction (Lei et al. 2018, arXiv:1604.04173).

Errors on data that the weights have not learned from, in order of size: the next error is as likely to fall between any two of
them as between any other two. Hence, of n errors, the one of rank (n + 1) × share bounds the next with that probability; the
1 stands for the error to come, and without it intervals from few errors are too narrow.

That holds on average, for errors that are exchangeable: of the same kind in any order. It is not promised for data that have
drifted since, nor for each example by itself. Validation data also chose when training stopped, so that their errors are
slightly smaller than new ones.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from model_zoo.cards.tuned_parts import ForecastScale, TargetScale
from service.tasks.series.time_series_forecasting import spread_of

Floats = NDArray[np.floating]

SHARE = 0.8
"""Of what comes, that an interval is to hold."""
LEAST_ERRORS = 10
"""Fewer do not bound a tenth on either side."""


def with_interval(scale: TargetScale, predicted: Floats, targets: Floats) -> TargetScale:
    """The scale, and what holds 80 % of the errors to come, a tenth beyond on either side; not where too few are known."""
    errors = np.sort(np.asarray(targets, np.float64) - predicted)
    if len(errors) < LEAST_ERRORS:
        return scale
    beyond = int((len(errors) + 1) * (1 - SHARE) / 2 + 1e-9)  # rounding must not cost a rank
    return scale.model_copy(update={"lower": float(errors[beyond - 1]), "upper": float(errors[-beyond])})


def forecast_scale(contexts: Floats, targets: Floats, forecasts: Floats, step: int = 1) -> ForecastScale | None:
    """What holds 80 % of the errors to come, step by step ahead, in spreads of the context: as far below as above.

    Windows `step` apart overlap. Of a good forecast, errors k steps ahead depend on each other over k steps (Diebold and
    Mariano 1995), so that n windows say as much as n × step ÷ k that do not: that many count here. None where even the
    largest error does not bound 80 %, or the contexts are constant.

    Args:
        contexts: `(n, steps, channels)`, in the units of the data.
        targets: `(n, horizon, channels)`, as `forecasts`.
    """
    spread = spread_of(contexts)  # (n, 1, channels)
    moving = (spread > 0).all(axis=(1, 2))
    errors = np.abs(np.asarray(targets, np.float64) - np.asarray(forecasts, np.float64))[moving] / spread[moving]
    windows, horizon, _ = errors.shape
    independent = np.minimum(windows, windows * step / np.arange(1, horizon + 1))  # by steps ahead
    level = SHARE * (independent + 1) / independent if windows else np.full(horizon, np.inf)
    if (level > 1).any() or not np.isfinite(errors).all():
        return None
    rank = np.minimum(np.ceil(level * windows - 1e-9).astype(int), windows) - 1  # of the sorted errors, from 0
    upper = np.sort(errors, axis=0)[rank, np.arange(horizon)]  # (horizon, channels)
    return ForecastScale(lower=(-upper).tolist(), upper=upper.tolist())
