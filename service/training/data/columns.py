"""The recipe of a table's rows, learned from the training rows alone: what validation and test hold must not leak into it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from model_zoo.cards.recipes import CategoryColumn, NumberColumn, RowRecipe
from service.datasets.dataset import ColumnInfo, Columns
from service.tasks.tabular.row_input import RowCell, category_cell, number_cell
from service.training.failures import CannotTrain

MOST_CATEGORIES = 1000
"""Of one column, the most frequent; the rest count as unknown."""


def row_recipe(
    columns: Sequence[ColumnInfo], rows: Sequence[Mapping[str, RowCell]], roles: Columns | None = None
) -> RowRecipe:
    """Numbers: mean, spread, and the median for empty cells. Categories: those that occur, sorted.

    `roles` says which further columns the table has, that are no inputs. A column without a number, or with the same number
    everywhere, says nothing and gets the spread 1.

    Raises:
        CannotTrain: there is no column at all.
    """
    numbers: list[NumberColumn] = []
    categories: list[CategoryColumn] = []
    for column in columns:
        cells = [row.get(column.name) for row in rows]
        if column.kind == "number":
            found = [
                value for cell in cells if (value := number_cell(cell, column.name, "", column.notation)) is not None
            ]
            values = np.array(found or [0.0], np.float64)
            spread = float(values.std())
            still = spread <= 1e-12 * float(np.abs(values).max())
            numbers.append(
                NumberColumn(
                    name=column.name,
                    mean=float(values.mean()),
                    std=1.0 if still else spread,
                    fill=float(np.median(values)),
                    decimal=column.decimal,
                    grouping=column.grouping,
                    unit=column.unit,
                )
            )
        else:
            texts = [text for cell in cells if (text := category_cell(cell)) is not None]
            names, counts = np.unique(np.array(texts, dtype=object), return_counts=True) if texts else ((), ())
            frequent = sorted(zip(counts, names, strict=True), key=lambda pair: (-pair[0], pair[1]))[:MOST_CATEGORIES]
            categories.append(CategoryColumn(name=column.name, categories=tuple(sorted(name for _, name in frequent))))
    if not numbers and not categories:
        raise CannotTrain("the table has no column beside the target; there is nothing to learn from")
    roles = roles or Columns()
    return RowRecipe(
        kind="row",
        numbers=tuple(numbers),
        categories=tuple(categories),
        target=roles.target,
        ignored=tuple(filter(None, (roles.split, *roles.ignored))),
    )
