"""A row of a table → what networks take, by the recipe on the card. Serving and training call the same functions.

Cells mean what they mean in a dataset (`service.datasets.readers.columns.cells`): in a column of numbers a number, or a text that
is one, as
programs write it ("70", " -1.5e3 ") or as the training data did ("1.234,50 €"); in a column of categories a text, a truth value
("true", "false") or a number (3 and 3.0 are both "3"). None, NaN and a blank text are empty cells, as is "n/a" among numbers, and
so is a column that did not come: numbers are filled in by the recipe, categories are unknown.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model_zoo.cards.recipes import CategoryColumn, NumberColumn, RowRecipe
from model_zoo.cards.signature import TensorSpec
from service.datasets.formatting import clean_name
from service.datasets.readers.columns.cells import (
    LARGEST_NUMBER,
    is_missing,
    to_category,
    to_number,
)
from service.datasets.readers.columns.number_format import PLAIN, Notation
from service.errors import InvalidInput

Cell = int | float | str | bool | None
Cells = Mapping[str, Cell]

NUMBERS, CATEGORIES, COLUMNS = "numbers", "categories", "columns"
"""Names of the tensors that rows become."""

MOST_SHOWN = 8
LONGEST_NAME = 64
LONGEST_NOTE = 200
LARGEST = float(np.finfo(np.float32).max)


# ── the network that goes with a recipe ───────────────────────────────────────────────────────────────────────────


def row_inputs(recipe: RowRecipe) -> tuple[TensorSpec, ...]:
    """Inputs of a `tabular_mlp` for such rows. A kind of column that the table does not have is no input."""
    numbers, categories = len(recipe.numbers), len(recipe.categories)
    specs = (
        TensorSpec(name=NUMBERS, datatype="FP32", shape=(-1, numbers)),
        TensorSpec(name=CATEGORIES, datatype="INT64", shape=(-1, categories)),
    )
    return tuple(spec for spec in specs if spec.shape[1])


def row_arguments(recipe: RowRecipe) -> dict[str, Any]:
    """What a `tabular_mlp` has to be told of such rows."""
    sizes = [len(column.categories) + 1 for column in recipe.categories]
    return {"numbers": len(recipe.numbers), "categories": sizes}


def columns_width(recipe: RowRecipe) -> int:
    """How many numbers `columns_of` gives."""
    return len(recipe.numbers) + sum(len(column.categories) for column in recipe.categories)


# ── cells → tensors ───────────────────────────────────────────────────────────────────────────────────────────────


def encode_row(recipe: RowRecipe, cells: Cells, path: str) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Cells by column → standardised numbers `[n]` and positions of categories `[m]`, 0 where unknown or empty.

    Raises InvalidInput, with `path.row.<column>`, for a column that the recipe does not have, a cell that is of another
    kind than its column, or a number too large for the network; and, with `path.row`, for a row without a single filled cell.
    """
    numbers, texts = _read(recipe, cells, path)
    if not any(value is not None for value in (*numbers, *texts)):
        raise InvalidInput(f"{path}.row", f"every cell is empty; expected {_names_of(recipe)}")
    return _scaled(recipe, numbers, path), _positions(recipe, texts)


def columns_of(recipe: RowRecipe, cells: Cells, path: str = "") -> NDArray[np.float32]:
    """Cells by column → float32 `[columns_width]`: standardised numbers, then each category one-hot, zeros where unknown.

    Raises InvalidInput as `encode_row` does, except that every cell may be empty: such a row has a photo beside it.
    """
    numbers, texts = _read(recipe, cells, path)
    parts = [_scaled(recipe, numbers, path)]
    for position, column in zip(_positions(recipe, texts), recipe.categories, strict=True):
        parts.append(np.eye(1, len(column.categories) + 1, int(position), dtype=np.float32)[0, 1:])
    return np.concatenate(parts)


def row_notes(recipe: RowRecipe, cells: Cells) -> dict[str, str | int | float | bool]:
    """What a caller should know of a row that `encode_row` took: which columns were empty, which categories are new."""
    cells = _cleaned(recipe, cells, "")
    filled = [c.name for c in recipe.numbers if number_of(cells.get(c.name), c.name, "", _notation(c)) is None]
    unseen = []
    for column in recipe.categories:
        text = category_of(cells.get(column.name))
        if text is None:
            filled.append(column.name)
        elif not _position(text, column):
            unseen.append(column.name)
    notes = {"empty_columns": filled, "unseen_categories": unseen}
    return {key: _cut(", ".join(names), LONGEST_NOTE) for key, names in notes.items() if names}


def number_of(cell: Cell, column: str, path: str, notation: Notation = PLAIN) -> float | None:
    """The number in a cell, None where it is empty or, as in a dataset, beyond `LARGEST_NUMBER`. Raises InvalidInput where it is
    none."""
    value = to_number(cell, notation)
    if value is None and not is_missing(cell):
        raise _wrong(column, path, f"takes a number, got {_cut(str(cell), LONGEST_NAME)!r}")
    return value if value is not None and -LARGEST_NUMBER <= value <= LARGEST_NUMBER else None  # NaN is None, too


def category_of(cell: Cell) -> str | None:
    """A cell as one of the texts that categories are known by, None where it is empty."""
    return to_category(cell)


def known_columns(recipe: RowRecipe) -> frozenset[str]:
    """Names of the columns that a row may have."""
    return frozenset(_column_names(recipe))


def _notation(column: NumberColumn) -> Notation:
    return Notation(column.decimal, column.grouping, column.unit)


def _cleaned(recipe: RowRecipe, cells: Cells, path: str) -> Cells:
    """Cells by the names that columns have on the card: without spaces around them, composed."""
    if cells.keys() <= known_columns(recipe):
        return cells
    given: dict[str, str] = {}
    for name in cells:
        cleaned = clean_name(name)
        if (other := given.setdefault(cleaned, name)) != name:
            raise _wrong(
                cleaned, path, f"comes twice, as {_cut(other, LONGEST_NAME)!r} and as {_cut(name, LONGEST_NAME)!r}"
            )
    return {cleaned: cells[name] for cleaned, name in given.items()}


def _read(recipe: RowRecipe, cells: Cells, path: str) -> tuple[list[float | None], list[str | None]]:
    """What the cells of the recipe's columns hold."""
    cells = _cleaned(recipe, cells, path)
    if not cells.keys() <= known_columns(recipe):
        raise _unknown_column(recipe, cells, path)
    numbers = [number_of(cells.get(c.name), c.name, path, _notation(c)) for c in recipe.numbers]
    return numbers, [category_of(cells.get(column.name)) for column in recipe.categories]


def _scaled(recipe: RowRecipe, numbers: Sequence[float | None], path: str) -> NDArray[np.float32]:
    scaled = []
    for given, column in zip(numbers, recipe.numbers, strict=True):
        value = column.fill if given is None else given
        x = (value - column.mean) / column.std
        if not abs(x) <= LARGEST:
            raise _wrong(column.name, path, f"is beyond what the network's numbers hold: {value:g}")
        scaled.append(x)
    return np.array(scaled, np.float32)


def _positions(recipe: RowRecipe, texts: Sequence[str | None]) -> NDArray[np.int64]:
    return np.array([_position(text, c) for text, c in zip(texts, recipe.categories, strict=True)], np.int64)


def _position(text: str | None, column: CategoryColumn) -> int:
    return column.categories.index(text) + 1 if text in column.categories else 0


# ── words ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _wrong(column: str, path: str, problem: str) -> InvalidInput:
    name = _cut(column, LONGEST_NAME)
    return InvalidInput(f"{path}.row.{name}", f"column {name!r} {problem}")


def _unknown_column(recipe: RowRecipe, cells: Cells, path: str) -> InvalidInput:
    known = known_columns(recipe)
    name = next(name for name in cells if name not in known)
    shown = _cut(name, LONGEST_NAME)
    near = difflib.get_close_matches(shown.lower(), [k.lower() for k in known], n=1, cutoff=0.6)
    meant = [k for k in known if k.lower() in near]
    hint = f"did you mean {meant[0]!r}?" if meant else f"it takes {_names_of(recipe)}"
    return InvalidInput(f"{path}.row.{shown}", f"the model has no column {shown!r}; {hint}")


def _names_of(recipe: RowRecipe) -> str:
    names = [repr(_cut(name, LONGEST_NAME)) for name in _column_names(recipe)]
    rest = len(names) - MOST_SHOWN
    return ", ".join(names[:MOST_SHOWN]) + (f" and {rest} more" if rest > 0 else "")


def _column_names(recipe: RowRecipe) -> list[str]:
    return [column.name for column in recipe.numbers] + [column.name for column in recipe.categories]


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
