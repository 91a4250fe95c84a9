"""A row of a table → input tensors, by the recipe on the card. Serving and training call the same functions.

Cells mean the same as in a dataset (`service.datasets.readers.columns.cells`). A column of numbers takes a number, or a text that
is one, as programs write it ("70", " -1.5e3 ") or as the training data did ("1.234,50 €"). A column of categories takes a text, a
truth value ("true", "false") or a number (3 and 3.0 are both "3"). None, NaN and a blank text are empty cells, as is "n/a" among
numbers, and so is an absent column: the recipe fills in empty numbers, and empty categories are unknown.
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

RowCell = int | float | str | bool | None
RowCells = Mapping[str, RowCell]

NUMBERS, CATEGORIES, COLUMNS = "numbers", "categories", "columns"
"""Names of the input tensors."""

MAX_LISTED_COLUMNS = 8
MAX_NAME_CHARACTERS = 64
MAX_NOTE_CHARACTERS = 200
MAX_FLOAT32 = float(np.finfo(np.float32).max)


# ── the network of a recipe ───────────────────────────────────────────────────────────────────────────


def row_inputs(recipe: RowRecipe) -> tuple[TensorSpec, ...]:
    """Input tensors of a `tabular_mlp` for such rows. A table without numbers or without categories has no such tensor."""
    numbers, categories = len(recipe.numbers), len(recipe.categories)
    specs = (
        TensorSpec(name=NUMBERS, datatype="FP32", shape=(-1, numbers)),
        TensorSpec(name=CATEGORIES, datatype="INT64", shape=(-1, categories)),
    )
    return tuple(spec for spec in specs if spec.shape[1])


def row_arguments(recipe: RowRecipe) -> dict[str, Any]:
    """Constructor arguments of a `tabular_mlp` for such rows."""
    sizes = [len(column.categories) + 1 for column in recipe.categories]
    return {"numbers": len(recipe.numbers), "categories": sizes}


def columns_width(recipe: RowRecipe) -> int:
    """The length of the vector of `columns_of`."""
    return len(recipe.numbers) + sum(len(column.categories) for column in recipe.categories)


# ── cells → tensors ───────────────────────────────────────────────────────────────────────────────────────────────


def encode_row(recipe: RowRecipe, cells: RowCells, path: str) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Cells by column → standardised numbers `[n]` and positions of categories `[m]`, 0 where unknown or empty.

    Raises InvalidInput for `path.row.<column>`: a column that the recipe does not have, a cell of another kind than its column,
    or a number too large for the network; and for `path.row`: a row whose cells are all empty.
    """
    numbers, texts = _read(recipe, cells, path)
    if not any(value is not None for value in (*numbers, *texts)):
        raise InvalidInput(f"{path}.row", f"every cell is empty; expected {_names_of(recipe)}")
    return _scaled(recipe, numbers, path), _positions(recipe, texts)


def columns_of(recipe: RowRecipe, cells: RowCells, path: str = "") -> NDArray[np.float32]:
    """Cells by column → float32 `[columns_width]`: standardised numbers, then each category one-hot, zeros where unknown.

    Raises InvalidInput like `encode_row`, but accepts a row whose cells are all empty, since a photo comes with it.
    """
    numbers, texts = _read(recipe, cells, path)
    parts = [_scaled(recipe, numbers, path)]
    for position, column in zip(_positions(recipe, texts), recipe.categories, strict=True):
        parts.append(np.eye(1, len(column.categories) + 1, int(position), dtype=np.float32)[0, 1:])
    return np.concatenate(parts)


def row_notes(recipe: RowRecipe, cells: RowCells) -> dict[str, str | int | float | bool]:
    """Notes for the caller on a row that `encode_row` accepted: its empty columns and its unseen categories."""
    cells = _cleaned(recipe, cells, "")
    filled = [c.name for c in recipe.numbers if number_cell(cells.get(c.name), c.name, "", _notation(c)) is None]
    unseen = []
    for column in recipe.categories:
        text = category_cell(cells.get(column.name))
        if text is None:
            filled.append(column.name)
        elif not _position(text, column):
            unseen.append(column.name)
    notes = {"empty_columns": filled, "unseen_categories": unseen}
    return {key: _cut(", ".join(names), MAX_NOTE_CHARACTERS) for key, names in notes.items() if names}


def number_cell(cell: RowCell, column: str, path: str, notation: Notation = PLAIN) -> float | None:
    """The number in a cell; None for an empty cell or, as in a dataset, for a number beyond `LARGEST_NUMBER`. Raises InvalidInput
    for a cell that holds something else."""
    value = to_number(cell, notation)
    if value is None and not is_missing(cell):
        raise _wrong(column, path, f"takes a number, got {_cut(str(cell), MAX_NAME_CHARACTERS)!r}")
    return value if value is not None and -LARGEST_NUMBER <= value <= LARGEST_NUMBER else None  # NaN becomes None


def category_cell(cell: RowCell) -> str | None:
    """A cell as the name of a category; None for an empty cell."""
    return to_category(cell)


def known_columns(recipe: RowRecipe) -> frozenset[str]:
    """Names of the columns that a row may have."""
    return frozenset(_column_names(recipe))


def _notation(column: NumberColumn) -> Notation:
    return Notation(column.decimal, column.grouping, column.unit)


def _cleaned(recipe: RowRecipe, cells: RowCells, path: str) -> RowCells:
    """Cells by the names of columns as the card has them: without surrounding spaces, composed (NFC)."""
    if cells.keys() <= known_columns(recipe):
        return cells
    given: dict[str, str] = {}
    for name in cells:
        cleaned = clean_name(name)
        if (other := given.setdefault(cleaned, name)) != name:
            raise _wrong(
                cleaned,
                path,
                f"comes twice, as {_cut(other, MAX_NAME_CHARACTERS)!r} and as {_cut(name, MAX_NAME_CHARACTERS)!r}",
            )
    return {cleaned: cells[name] for cleaned, name in given.items()}


def _read(recipe: RowRecipe, cells: RowCells, path: str) -> tuple[list[float | None], list[str | None]]:
    """The values in the cells of the recipe's columns."""
    cells = _cleaned(recipe, cells, path)
    if not cells.keys() <= known_columns(recipe):
        raise _unknown_column(recipe, cells, path)
    numbers = [number_cell(cells.get(c.name), c.name, path, _notation(c)) for c in recipe.numbers]
    return numbers, [category_cell(cells.get(column.name)) for column in recipe.categories]


def _scaled(recipe: RowRecipe, numbers: Sequence[float | None], path: str) -> NDArray[np.float32]:
    scaled = []
    for given, column in zip(numbers, recipe.numbers, strict=True):
        value = column.fill if given is None else given
        x = (value - column.mean) / column.std
        if not abs(x) <= MAX_FLOAT32:
            raise _wrong(column.name, path, f"is beyond what the network's numbers hold: {value:g}")
        scaled.append(x)
    return np.array(scaled, np.float32)


def _positions(recipe: RowRecipe, texts: Sequence[str | None]) -> NDArray[np.int64]:
    return np.array([_position(text, c) for text, c in zip(texts, recipe.categories, strict=True)], np.int64)


def _position(text: str | None, column: CategoryColumn) -> int:
    return column.categories.index(text) + 1 if text in column.categories else 0


# ── errors ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _wrong(column: str, path: str, problem: str) -> InvalidInput:
    name = _cut(column, MAX_NAME_CHARACTERS)
    return InvalidInput(f"{path}.row.{name}", f"column {name!r} {problem}")


def _unknown_column(recipe: RowRecipe, cells: RowCells, path: str) -> InvalidInput:
    known = known_columns(recipe)
    name = next(name for name in cells if name not in known)
    shown = _cut(name, MAX_NAME_CHARACTERS)
    near = difflib.get_close_matches(shown.lower(), [k.lower() for k in known], n=1, cutoff=0.6)
    meant = [k for k in known if k.lower() in near]
    hint = f"did you mean {meant[0]!r}?" if meant else f"it takes {_names_of(recipe)}"
    return InvalidInput(f"{path}.row.{shown}", f"the model has no column {shown!r}; {hint}")


def _names_of(recipe: RowRecipe) -> str:
    names = [repr(_cut(name, MAX_NAME_CHARACTERS)) for name in _column_names(recipe)]
    rest = len(names) - MAX_LISTED_COLUMNS
    return ", ".join(names[:MAX_LISTED_COLUMNS]) + (f" and {rest} more" if rest > 0 else "")


def _column_names(recipe: RowRecipe) -> list[str]:
    return [column.name for column in recipe.numbers] + [column.name for column in recipe.categories]


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
