"""The riders of the next week at a station of Chicago: a long short-term memory, beside the same days of the week
before.

The data are the table ``Chicago`` of modeldata: entries at the station Clark/Lake in thousands, a day each, 2001 to
2016. The last two years are measured, and the year before them chooses the epoch.
"""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from model_zoo.architectures.series_gru import SeriesGru
from model_zoo.cards.card import Figure
from model_zoo.training_recipes.data.model_data import MODEL_DATA, model_data
from model_zoo.training_recipes.fitting import Plan, fit
from model_zoo.training_recipes.recipe import Recipe, Report, Trained

__all__ = ["RECIPES", "train", "train_on"]

CONTEXT, HORIZON, SEASON = 56, 7, 7
"""Days."""
WIDTH = 32
TEST, VALIDATION = 730, 365
"""Days."""
PLAN = Plan(epochs=15, batch=32, rate=0.003, weight_decay=0.0001)

Series = NDArray[np.float64]


def train(files: Mapping[str, bytes], report: Report) -> Trained:
    """See the module."""
    column = model_data(files, "Chicago")["ridership"]
    return train_on(np.asarray(column, np.float64), report)


def windows(series: Series) -> tuple[Tensor, Tensor]:
    """Contexts (N, CONTEXT, 1) and the days after them (N, HORIZON, 1), one window for every day."""
    cut = torch.from_numpy(sliding_window_view(series, CONTEXT + HORIZON).copy()).float()[..., None]
    return cut[:, :CONTEXT], cut[:, CONTEXT:]


def train_on(
    series: Series, report: Report, plan: Plan = PLAN, test: int = TEST, validation: int = VALIDATION
) -> Trained:
    """Trains on a series of days. The last days are held back; windows of the parts overlap in their contexts alone."""
    ends = len(series) - test - validation, len(series) - test
    known = windows(series[: ends[0]])
    unseen = windows(series[ends[0] - CONTEXT : ends[1]])
    tested = windows(series[ends[1] - CONTEXT :])
    torch.manual_seed(0)
    network = SeriesGru(CONTEXT, HORIZON, season=SEASON, width=WIDTH, cell="lstm")

    def loss(forecast: Tensor, actual: Tensor) -> Tensor:
        return functional.smooth_l1_loss(forecast, actual, beta=0.5)

    fit(network, {"context": known[0]}, known[1], loss, plan, lambda: mean_error(network, *unseen), report)
    naive = SeriesGru(CONTEXT, HORIZON, season=SEASON, width=WIDTH, cell="lstm")  # untrained
    figure = Figure(
        name=f"mean absolute error of the next {HORIZON} days, thousands of riders, from each of {len(tested[0])} held-out days",
        value=round(mean_error(network, *tested), 3),
        baseline="the same days of the week before (seasonal naive)",
        baseline_value=round(mean_error(naive, *tested), 3),
    )
    return Trained(network.state_dict(), (figure,), facts={"forecast": intervals(network, *unseen)})


@torch.no_grad()
def mean_error(network: SeriesGru, contexts: Tensor, actual: Tensor) -> float:
    """In the units of the series."""
    return float((network(contexts) - actual).abs().mean())


@torch.no_grad()
def intervals(network: SeriesGru, contexts: Tensor, actual: Tensor) -> dict[str, list[list[float]]]:
    """The interval of 80 % of the errors, in spreads of the context, for each day ahead."""
    _, spread = network.scale(contexts)
    errors = ((actual - network(contexts)) / spread)[..., 0].double().numpy()  # (N, HORIZON)
    lower, upper = np.quantile(errors, [0.1, 0.9], axis=0)
    return {name: [[round(float(one), 4)] for one in ends] for name, ends in (("lower", lower), ("upper", upper))}


RECIPES = (Recipe("series_lstm", MODEL_DATA, train, 15),)
