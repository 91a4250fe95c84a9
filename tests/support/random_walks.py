"""Series whose best forecast is known, cut into windows as a job does it."""

import numpy as np

from model_zoo.cards.recipes import SeriesRecipe
from service.training.data.windows import Windows, windows_of

CONTEXT = 20
PULL = {"noise": 0.0, "pulled back": 0.7, "random walk": 1.0}
"""How much of each step is left in the next."""


def series(kind: str, steps: int, rng: np.random.Generator) -> np.ndarray:
    """(steps, 1)."""
    values = np.zeros(steps + 100)
    for t, shock in enumerate(rng.normal(size=steps + 100)):
        values[t] = PULL[kind] * values[t - 1] + shock
    return values[100:, None]


def windows(values: np.ndarray, begin: int, end: int, horizon: int) -> Windows:
    """Those whose targets lie between."""
    recipe = SeriesRecipe(kind="series", context=CONTEXT, horizon=horizon, channels=1)
    return windows_of([(values, begin, end)], recipe, "test")


def best_forecasts(kind: str, of: Windows) -> np.ndarray:
    """(n, horizon, 1): what can be known of the steps to come."""
    ahead = np.arange(1, of.targets.shape[1] + 1)
    return of.contexts[:, -1:] * (PULL[kind] ** ahead)[None, :, None]
