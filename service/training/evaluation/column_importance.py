"""Permutation importance: what the primary metric loses on held-out rows when one column is shuffled among them.

The method is that of Breiman, Random Forests, Machine Learning 2001, for any model as in Fisher, Rudin and Dominici, All Models
are Wrong, but Many are Useful, JMLR 2019. A shuffled column keeps its values and says nothing any more about its row. Of two
columns that say the same, each looks unimportant, since the network still reads the other one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model_zoo.cards.recipes import RowRecipe
from service.tasks.tabular.row_input import CATEGORIES, COLUMNS, NUMBERS
from service.training.evaluation import metrics
from service.training.evaluation.measurements import (
    ColumnImportance,
    ColumnImportances,
    Evaluation,
    has_several_classes,
    is_classification,
)
from service.training.stop_signal import StopSignal

REPEATS = 5
"""Shuffles of each column."""
MAX_RUNS = 200_000
"""Rows × columns × repeats that the network runs on. A table with more takes fewer rows, down to `MIN_ROWS`, and then fewer
repeats."""
MIN_ROWS = 100

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class ColumnPlace:
    """Where the inputs of a network hold a column of the table."""

    column: str
    tensor: str
    start: int
    width: int = 1
    """A category that is one-hot has several numbers."""


@dataclass(frozen=True, slots=True)
class HeldOutRows:
    """The rows of held-out examples as a network reads them."""

    places: Sequence[ColumnPlace]
    inputs: Callable[[Sequence[int]], Arrays]
    """The inputs of examples, by position among the held-out ones: (n, …) each."""
    outputs: Callable[[Arrays], NDArray[Any]]
    """The outputs for such inputs, in the form of `Predictions.outputs`."""


def table_places(recipe: RowRecipe) -> tuple[ColumnPlace, ...]:
    """Of the tensors `numbers` and `categories`."""
    numbers = [ColumnPlace(column.name, NUMBERS, at) for at, column in enumerate(recipe.numbers)]
    categories = [ColumnPlace(column.name, CATEGORIES, at) for at, column in enumerate(recipe.categories)]
    return (*numbers, *categories)


def vector_places(recipe: RowRecipe, start: int = 0) -> tuple[ColumnPlace, ...]:
    """Of the vector that `row_input.columns_of` makes, in the tensor `columns` from `start` on."""
    places = [ColumnPlace(column.name, COLUMNS, start + at) for at, column in enumerate(recipe.numbers)]
    at = start + len(places)
    for column in recipe.categories:
        places.append(ColumnPlace(column.name, COLUMNS, at, len(column.categories)))
        at += len(column.categories)
    return tuple(places)


def column_importances(
    evaluation: Evaluation, targets: NDArray[Any], rows: HeldOutRows, *, seed: int, stop: StopSignal
) -> ColumnImportances | None:
    """The importance of every column, the most important first; None if there is no column, or nothing to measure by.

    The permutations are those of `sklearn.inspection.permutation_importance` for the same rows and `random_state`: all columns
    share them.

    Args:
        targets: of the held-out examples, as `Predictions` has them.

    Raises:
        StopRequested: the job must stop.
    """
    examples = len(targets)
    if not rows.places:
        return None
    count, repeats = _extent(examples, len(rows.places))
    chosen = np.arange(examples)
    if count < examples:
        chosen = np.sort(np.random.default_rng(seed).choice(examples, count, replace=False))
    inputs, targets = rows.inputs(chosen.tolist()), targets[chosen]

    def value_for(given: Arrays) -> float:
        stop.check()
        return _primary_value(evaluation, rows.outputs(given), targets)

    value = value_for(inputs)
    if not math.isfinite(value):
        return None  # such as the average precision of classes that none of the chosen rows has
    orders, sign = _permutations(count, repeats, seed), 1.0 if evaluation.higher_is_better else -1.0
    found = []
    for place in rows.places:
        lost = sign * (value - np.array([value_for(_with_shuffled(inputs, place, order)) for order in orders]))
        if np.isfinite(lost).all():
            found.append(ColumnImportance(place.column, float(lost.mean()), float(lost.std())))
        else:  # values that never stood in one row overflow the network
            found.append(ColumnImportance(place.column, math.inf, math.nan))
    found.sort(key=lambda column: -column.importance)
    return ColumnImportances(
        metric=evaluation.primary,
        higher_is_better=evaluation.higher_is_better,
        value=value,
        rows=count,
        held_out=examples,
        repeats=repeats,
        columns=tuple(found),
    )


def _extent(examples: int, columns: int) -> tuple[int, int]:
    """Rows and repeats: as many as `MAX_RUNS` allows."""
    rows = min(examples, max(MIN_ROWS, MAX_RUNS // (columns * REPEATS)))
    return rows, min(REPEATS, max(1, MAX_RUNS // (columns * rows)))


def _permutations(count: int, repeats: int, seed: int) -> list[NDArray[np.int64]]:
    """As scikit-learn makes them: each shuffles the rows as the one before left them."""
    random = np.random.RandomState(np.random.RandomState(seed % 2**32).randint(np.iinfo(np.int32).max + 1))
    shuffle, orders = np.arange(count), []
    order = shuffle.copy()
    for _ in range(repeats):
        random.shuffle(shuffle)
        order = order[shuffle]
        orders.append(order)
    return orders


def _with_shuffled(inputs: Arrays, place: ColumnPlace, order: NDArray[np.int64]) -> Arrays:
    tensor = inputs[place.tensor].copy()
    columns = slice(place.start, place.start + place.width)
    tensor[:, columns] = tensor[order, columns]
    return {**inputs, place.tensor: tensor}


def _primary_value(evaluation: Evaluation, outputs: NDArray[Any], targets: NDArray[Any]) -> float:
    if has_several_classes(evaluation.task, targets):
        statistics = metrics.multi_label(outputs, targets)
    elif is_classification(evaluation.task):
        statistics = metrics.classification(outputs, targets)
    else:
        statistics = metrics.regression(outputs, targets)
    return float(statistics[evaluation.primary](np.ones((1, len(targets))))[0])
