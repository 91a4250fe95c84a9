"""Columns of numbers out of a CSV."""

import csv
import io
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from model_zoo.errors import UnusableTable

__all__ = ["FEWEST_ROWS", "read_columns"]

FEWEST_ROWS = 20
_MOST_SHOWN = 40
"""Characters of a cell in an error."""


def read_columns(content: bytes, inputs: Sequence[str], target: str) -> dict[str, NDArray[np.float64]]:
    """The columns by name, (rows) each; NaN for an empty cell of an input. Other columns are ignored.

    Args:
        content: UTF-8, with commas and a header.

    Raises:
        UnusableTable: a column is missing, a cell is no number, a target is empty, or there are fewer rows than
            ``FEWEST_ROWS``.
    """
    try:
        rows = csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""))
        names = rows.fieldnames or ()
        for name in (*inputs, target):
            if name not in names:
                raise UnusableTable(f"it has no column {name!r}; expected {', '.join((*inputs, target))}")
        found: dict[str, list[float]] = {name: [] for name in (*inputs, target)}
        for row in rows:
            for name, values in found.items():
                values.append(_number(row[name] or "", name, rows.line_num, may_be_empty=name != target))
    except UnicodeDecodeError:
        raise UnusableTable("it is not a text in UTF-8") from None
    except csv.Error:
        raise UnusableTable(f"line {rows.line_num} is not one of a CSV") from None
    if len(found[target]) < FEWEST_ROWS:
        raise UnusableTable(f"it has {len(found[target])} rows; expected at least {FEWEST_ROWS}")
    return {name: np.array(values, np.float64) for name, values in found.items()}


def _number(cell: str, column: str, line: int, *, may_be_empty: bool) -> float:
    if may_be_empty and not cell.strip():
        return math.nan
    try:
        number = float(cell)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        shown = cell if len(cell) <= _MOST_SHOWN else f"{cell[:_MOST_SHOWN]}…"
        raise UnusableTable(f"line {line}, column {column!r}: expected a number, got {shown!r}")
    return number
