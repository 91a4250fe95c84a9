"""Series with a known best forecast, cut into windows as a job does it."""

import numpy as np

from model_zoo.cards.recipes import (
    SeriesRecipe,
)
from service.training.data.windows import (
    SeriesPart,
    Windows,
    windows_of,
)

CONTEXT = 20
REMAINING_SHARE = {"noise": 0.0, "pulled back": 0.7, "random walk": 1.0}
"""The share of each step that remains in the next one."""


def series(kind: str, steps: int, rng: np.random.Generator) -> np.ndarray:
    """(steps, 1)."""
    values = np.zeros(steps + 100)
    for t, shock in enumerate(rng.normal(size=steps + 100)):
        values[t] = REMAINING_SHARE[kind] * values[t - 1] + shock
    return values[100:, None]


def windows(values: np.ndarray, begin: int, end: int, horizon: int) -> Windows:
    """The windows whose targets lie between `begin` and `end`."""
    recipe = SeriesRecipe(kind="series", context=CONTEXT, horizon=horizon, channels=1)
    return windows_of([SeriesPart(values, begin, end)], recipe, "test")


def best_forecasts(kind: str, seen: Windows) -> np.ndarray:
    """The expected values of the following steps, (n, horizon, 1)."""
    ahead = np.arange(1, seen.targets.shape[1] + 1)
    return seen.contexts[:, -1:] * (REMAINING_SHARE[kind] ** ahead)[None, :, None]
