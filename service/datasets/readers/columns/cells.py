"""What one cell of a table is: a number, a name, or nothing. Upload, training and prediction ask here."""

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
"""What stands for an empty cell in a column of numbers, in any case of letters."""
BOOLEAN_NAMES = ("true", "false")
"""How a truth value is called, as JSON does."""
_DIGITS = Context(prec=100)


LARGEST_NUMBER = 1e150
"""The largest absolute value of a number that enters, as input, target or step of a series, in a dataset and in a call: the
squares of differences are finite, and so are the sums of millions of them. A larger one is no measurement but a mark for
"nothing"."""
NUMBER_RANGE = "a number from -1e150 to 1e150"


def to_number(cell: Cell, notation: Notation = PLAIN) -> float | None:
    """The number that a cell holds, infinite and NaN included; None where it is none. A truth value is none.

    `notation`: how the column's numbers are written, where they are texts.
    """
    if isinstance(cell, str):  # first: of CSV all are
        return parse_plain(cell) if notation is PLAIN or notation == PLAIN else notation.number(cell)
    if cell is None or isinstance(cell, bool | list):
        return None
    try:
        return float(cell)
    except OverflowError:
        return math.inf if cell > 0 else -math.inf


def is_missing(cell: Cell) -> bool:
    """Whether a cell stands for no number."""
    if isinstance(cell, str):
        return cell.strip().casefold() in MISSING_MARKERS
    return cell is None or (isinstance(cell, float) and math.isnan(cell))


def to_category(cell: Cell) -> str | None:
    """A cell as the name of a category or class, None where it is empty: `3` for 3.0, `true` for a truth value.

    A text is its own name, composed (NFC), with single spaces; whole numbers of any length are told apart.
    """
    if isinstance(cell, str):  # first: of CSV all are
        text = " ".join(cell.split())
        folded = text.casefold()
        if folded in BOOLEAN_NAMES:  # in any case of letters, as pandas and spreadsheets write them
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
    """How the cells of one column are read, all of them alike."""

    notation: Notation = PLAIN
    whole: bool = False
    """All its cells are whole numbers as programs write them, so that as classes `1.0` and `1` are one."""

    boolean_spellings: Mapping[str, str] = field(default_factory=dict, hash=False)
    """How truth values are written, by their usual name, where each is written in one way: `true` as `TRUE`."""

    def name(self, cell: Cell) -> str | None:
        """The class that a cell names, as it is written there; None where it is empty."""
        name = to_category(cell)
        if self.whole and name is not None and isinstance(cell, str):
            return name.partition(".")[0]
        if self.boolean_spellings and name is not None:
            return self.boolean_spellings.get(name, name)
        return name
