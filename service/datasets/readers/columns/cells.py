"""The meaning of one cell of a table: a number, a name, or nothing. Upload, training and prediction all use these functions."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Context, Decimal

from service.datasets.readers.columns.number_format import PLAIN, Notation, parse_plain
from service.datasets.readers.tables.table import Cell

MISSING_MARKERS = frozenset(
    ("", "na", "n/a", "n.a.", "nan", "nat", "null", "none", "<na>", "?", "-", "–", "—")  # noqa: RUF005
    + ("#n/a", "#na", "#div/0!", "#value!", "#ref!", "#num!", "#name?", "#null!")
)
"""Texts that stand for an empty cell in a column of numbers, in any case of letters."""
BOOLEAN_NAMES = ("true", "false")
"""The names of truth values, as in JSON."""
_DIGITS = Context(prec=100)


LARGEST_NUMBER = 1e150
"""The largest absolute value of a number that is accepted as input, target or step of a series, in a dataset and in a call:
squares of differences stay finite, and so do the sums of millions of them. A larger number is no measurement but a placeholder
for a missing one."""
NUMBER_RANGE = "a number from -1e150 to 1e150"


def to_number(cell: Cell, notation: Notation = PLAIN) -> float | None:
    """The number in a cell, possibly infinite or NaN; None for any other cell, including a truth value.

    `notation`: the format of the column's numbers, for cells that are texts.
    """
    if isinstance(cell, str):  # first, because all cells of a CSV are texts
        return parse_plain(cell) if notation is PLAIN or notation == PLAIN else notation.parse(cell)
    if cell is None or isinstance(cell, bool | list):
        return None
    try:
        return float(cell)
    except OverflowError:
        return math.inf if cell > 0 else -math.inf


def is_missing(cell: Cell) -> bool:
    """Whether a cell stands for a missing number."""
    if isinstance(cell, str):
        return cell.strip().casefold() in MISSING_MARKERS
    return cell is None or (isinstance(cell, float) and math.isnan(cell))


def to_category(cell: Cell) -> str | None:
    """The name of the category or class in a cell, None for an empty one: `3` for 3.0, `true` for a truth value.

    A text is its own name, composed (NFC), with single spaces. Whole numbers of any length stay different.
    """
    if isinstance(cell, str):  # first, because all cells of a CSV are texts
        text = " ".join(cell.split())
        folded = text.casefold()
        if folded in BOOLEAN_NAMES:  # pandas and spreadsheets write other cases of letters
            return folded
        if folded in ("", "nan"):
            return None
        return text if text.isascii() else unicodedata.normalize("NFC", text)
    if isinstance(cell, bool):
        return "true" if cell else "false"
    if isinstance(cell, int):
        return str(cell)
    if isinstance(cell, float):
        if math.isnan(cell):
            return None
        return str(int(cell)) if cell.is_integer() and abs(cell) < 2**53 else repr(cell)
    if isinstance(cell, Decimal):
        return format(cell.normalize(_DIGITS), "f") if cell.is_finite() else None
    return None


@dataclass(frozen=True, slots=True)
class CellReading:
    """How all cells of one column are read."""

    notation: Notation = PLAIN
    whole: bool = False
    """Whether all cells are whole numbers as programs write them, so that `1.0` and `1` are the same class."""

    boolean_spellings: Mapping[str, str] = field(default_factory=dict, hash=False)
    """The spelling of each truth value by its name, such as `TRUE` for `true`, if each has only one spelling."""

    def name(self, cell: Cell) -> str | None:
        """The class in a cell, spelled as in the column; None for an empty cell."""
        name = to_category(cell)
        if self.whole and name is not None and isinstance(cell, str):
            return name.partition(".")[0]
        if self.boolean_spellings and name is not None:
            return self.boolean_spellings.get(name, name)
        return name
