"""Prices of houses from four numbers: a linear model, and a feed-forward network with two hidden layers of three units
(4-3-3-1).

The data are sales of houses in Ames, Iowa, 2006 to 2010 (De Cock, Journal of Statistics Education 19(3), 2011). Of the
rows, in an order that a seed decides, three fifths train, one fifth chooses the epoch and gives the interval of errors,
and one fifth is measured.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from model_zoo.architectures.feed_forward import FeedForward
from model_zoo.cards.card import Figure
from model_zoo.errors import UnusableTable
from model_zoo.training_recipes.data.csv_columns import read_columns
from model_zoo.training_recipes.data.model_data import MODEL_DATA, model_data
from model_zoo.training_recipes.fitting import Plan, fit
from model_zoo.training_recipes.recipe import Recipe, Report, Trained
from model_zoo.training_recipes.steps import StepRecorder

__all__ = ["COLUMNS", "RECIPES", "Houses", "prepared", "train_linear", "train_network"]

COLUMNS = {
    "living_area": "Gr_Liv_Area",
    "basement_area": "Total_Bsmt_SF",
    "year_built": "Year_Built",
    "garage_cars": "Garage_Cars",
}
"""Column of the card → column of the table. Areas are in square feet."""
TARGET = "Sale_Price"
TARGET_OF_CSV = "price"
HIDDEN = (3, 3)
STARTS = 5
"""Random starts of the network: so small a one may get stuck, and the validation rows choose the best."""
PLAN = Plan(epochs=200, batch=64, rate=0.02)
_MEDIAN = "always the median price of the training rows"

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Houses:
    """Standardised columns and prices of the parts ``train``, ``validation`` and ``test``."""

    numbers: Mapping[str, Array]
    """(n, 4)."""
    prices: Mapping[str, Array]
    """(n), dollars."""
    columns: tuple[Mapping[str, Any], ...]
    """As a card's recipe has them."""
    mean: float
    std: float
    """Of the training rows' prices."""


def prepared(table: Mapping[str, Any], seed: int = 0) -> Houses:
    """Splits a table with the columns of ``COLUMNS`` and ``TARGET``, and standardises it by its training rows.

    Raises:
        UnusableTable: there is nothing to learn from a column.
    """
    values = np.stack([np.asarray(table[column], np.float64) for column in COLUMNS.values()], axis=1)
    prices = np.asarray(table[TARGET], np.float64)
    order = np.random.default_rng(seed).permutation(len(prices))
    ends = [len(order) * 3 // 5, len(order) * 4 // 5]
    parts = dict(zip(("train", "validation", "test"), np.split(order, ends), strict=True))
    train = values[parts["train"]]
    for name, known in (*zip(COLUMNS, train.T, strict=True), (TARGET_OF_CSV, prices[parts["train"]])):
        if len(np.unique(known[~np.isnan(known)])) < 2:
            raise UnusableTable(f"column {name!r} has the same number in every row of the training part, or none")
    mean, std, fill = np.nanmean(train, axis=0), np.nanstd(train, axis=0), np.nanmedian(train, axis=0)
    mean, std, fill = (np.round(numbers, 6) for numbers in (mean, std, fill))
    filled = np.where(np.isnan(values), fill, values)
    scaled = (filled - mean) / std
    columns = tuple(
        {"name": name, "mean": float(mean[i]), "std": float(std[i]), "fill": float(fill[i])}
        for i, name in enumerate(COLUMNS)
    )
    known = prices[parts["train"]]
    return Houses(
        {part: scaled[rows] for part, rows in parts.items()},
        {part: prices[rows] for part, rows in parts.items()},
        columns,
        float(np.round(known.mean(), 6)),
        float(np.round(known.std(), 6)),
    )


def train_linear(houses: Houses, report: Report) -> FeedForward:
    """The weights with the least squared error on the training rows, which an equation gives (Gauss, Legendre)."""
    network = FeedForward(len(COLUMNS))
    numbers = torch.from_numpy(houses.numbers["train"])
    inputs = torch.cat([numbers, torch.ones_like(numbers[:, :1])], dim=1)  # float64
    targets = torch.from_numpy((houses.prices["train"] - houses.mean) / houses.std)
    solution = torch.linalg.solve(inputs.T @ inputs, inputs.T @ targets)
    assert network.out is not None
    with torch.no_grad():
        network.out.weight[:] = solution[None, :-1]
        network.out.bias[:] = solution[-1:]
    report("the equation of the least squares is solved")
    return network.eval()


def train_network(
    houses: Houses, report: Report, plan: Plan = PLAN, starts: int = STARTS, recorder: StepRecorder | None = None
) -> FeedForward:
    """A network of 4-3-3-1 with tanh, trained by gradients; the best of several random starts on the validation
    rows."""
    inputs = {"numbers": torch.from_numpy(houses.numbers["train"]).float()}
    targets = torch.from_numpy((houses.prices["train"] - houses.mean) / houses.std).float()[:, None]
    best: tuple[float, FeedForward] | None = None
    for start in range(starts):
        torch.manual_seed(start)
        network = FeedForward(len(COLUMNS), HIDDEN)

        def validate(network: FeedForward = network) -> float:
            return mean_error(houses, network, "validation")

        error = fit(network, inputs, targets, functional.smooth_l1_loss, plan, validate, lambda line: None, recorder)
        report(f"start {start + 1} of {starts}: off by ${error:,.0f} on the validation rows")
        if best is None or error < best[0]:
            best = error, network
    assert best is not None
    return best[1]


@torch.no_grad()
def predicted(houses: Houses, network: FeedForward, part: str) -> Array:
    """Prices in dollars, (n)."""
    numbers = torch.from_numpy(houses.numbers[part]).float()
    found: Array = network(numbers)[:, 0].double().numpy() * houses.std + houses.mean
    return found


def mean_error(houses: Houses, network: FeedForward, part: str) -> float:
    """Mean absolute error in dollars."""
    return float(np.abs(predicted(houses, network, part) - houses.prices[part]).mean())


def described(houses: Houses, network: FeedForward, others: tuple[tuple[str, FeedForward], ...] = ()) -> Trained:
    """A network with its figures, beside the median price and beside other networks."""
    median = float(np.median(houses.prices["train"]))
    always = float(np.abs(houses.prices["test"] - median).mean())
    own = round(mean_error(houses, network, "test"))
    name = f"mean absolute error on {len(houses.prices['test'])} houses, dollars"
    figures = [Figure(name=name, value=own, baseline=_MEDIAN, baseline_value=round(always))]
    figures += [
        Figure(name=name, value=own, baseline=other, baseline_value=round(mean_error(houses, known, "test")))
        for other, known in others
    ]
    errors = houses.prices["validation"] - predicted(houses, network, "validation")
    lower, upper = np.quantile(errors, [0.1, 0.9])
    target = {"mean": houses.mean, "std": houses.std, "lower": float(round(lower)), "upper": float(round(upper))}
    facts = {"recipe.numbers": [_whole(column) for column in houses.columns], "target": target}
    return Trained(network.state_dict(), tuple(figures), facts=facts)


def _whole(column: Mapping[str, Any]) -> dict[str, Any]:
    """A column with all fields of a card."""
    return {**column, "decimal": ".", "grouping": "", "unit": ""}


def read_houses(files: Mapping[str, bytes]) -> Houses:
    """The houses of the package, or of a CSV of the role ``table`` with the columns of the card and ``price``.

    Raises:
        UnusableTable: the CSV cannot be learned from.
    """
    if "table" not in files:
        return prepared(model_data(files, "ames"))
    columns = read_columns(files["table"], tuple(COLUMNS), TARGET_OF_CSV)
    return prepared({COLUMNS.get(name, TARGET): values for name, values in columns.items()})


def _recipe(
    name: str,
    train: Callable[[Houses, Report], Trained],
    seconds: int,
    observed: Callable[[Mapping[str, bytes], StepRecorder], None] | None = None,
) -> Recipe:
    def run(files: Mapping[str, bytes], report: Report) -> Trained:
        return train(read_houses(files), report)

    return Recipe(name, MODEL_DATA, run, seconds, tuple(COLUMNS), TARGET_OF_CSV, observed)


def _linear(houses: Houses, report: Report) -> Trained:
    return described(houses, train_linear(houses, report))


def _network(houses: Houses, report: Report) -> Trained:
    linear = train_linear(houses, report)
    return described(houses, train_network(houses, report), (("house_linear", linear),))


def _observed_network(files: Mapping[str, bytes], recorder: StepRecorder) -> None:
    train_network(read_houses(files), lambda line: None, recorder=recorder)


RECIPES = (_recipe("house_linear", _linear, 1), _recipe("house_mlp", _network, 60, _observed_network))
