"""What the columns of a table hold: one look over its first rows, from which kind and columns are found out."""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass, field
from itertools import islice

from service.datasets.tables import Cell, Table
from service.datasets.words import shown
from service.errors import InvalidInput

INSPECTED_ROWS = 20_000
DISTINCT = 2_000
"""Different values that are told apart; beyond it there are simply many."""
MISSING = frozenset({"", "na", "n/a", "nan", "null", "none", "?"})
"""What stands for an empty cell in a column of numbers, in any case of letters."""
MOSTLY_NUMBERS = 0.95
MOSTLY_COMMAS = 0.95
_COMMA = re.compile(r"[+-]?[\d.]*\d,\d+", re.ASCII)
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(inf|infinity)", re.ASCII | re.IGNORECASE)


def number(cell: Cell) -> float | None:
    """The number that a cell holds, infinite and NaN included; None where it is none. A truth value is none."""
    if isinstance(cell, str):  # first: of CSV all are
        text = cell.strip()
        return float(text) if _NUMBER.fullmatch(text) else None
    return None if isinstance(cell, bool) or cell is None or isinstance(cell, list) else cell


def is_missing(cell: Cell) -> bool:
    """Whether a cell stands for no number."""
    if isinstance(cell, str):
        return cell.strip().casefold() in MISSING
    return cell is None or (isinstance(cell, float) and math.isnan(cell))


def category(cell: Cell) -> str | None:
    """A cell as the name of a category or class, None where it is empty: `3` for 3.0, `true` for a truth value."""
    if isinstance(cell, str):  # first: of CSV all are
        text = " ".join(cell.split())
        folded = text.casefold()
        if folded in ("true", "false"):  # as pandas writes truth values, and as JSON does
            return folded
        return None if folded in ("", "nan") else text
    if isinstance(cell, bool):
        return "true" if cell else "false"
    if isinstance(cell, float):
        if math.isnan(cell):
            return None
        return str(int(cell)) if cell.is_integer() and abs(cell) < 2**53 else repr(cell)
    return None


@dataclass(slots=True)
class Summary:
    """What was seen of one column."""

    name: str
    rows: int = 0
    missing: int = 0
    numbers: int = 0
    whole: int = 0
    """Numbers without a fraction."""
    commas: int = 0
    """What people write for numbers where the comma is the decimal point."""
    lists: int = 0
    """Lists and objects."""
    words: int = 0
    distinct: Counter[str] = field(default_factory=Counter)

    def see(self, cell: Cell) -> None:
        """One more cell."""
        self.rows += 1
        if isinstance(cell, list):
            self.lists += 1
            return
        if is_missing(cell):
            self.missing += 1
            if cell is None or (isinstance(cell, str) and not cell.strip()):
                return
        value = number(cell)
        if value is not None and not math.isnan(value):
            self.numbers += 1
            self.whole += value.is_integer()
        name = category(cell)
        if name is None:
            return
        self.commas += isinstance(cell, str) and _COMMA.fullmatch(cell.strip()) is not None
        self.words += name.count(" ") + 1
        key = str(value) if value is not None else name[:256]
        if key in self.distinct or len(self.distinct) < DISTINCT:
            self.distinct[key] += 1

    @property
    def filled(self) -> int:
        """Cells that hold something."""
        return self.rows - self.missing

    @property
    def numeric(self) -> bool:
        """Nearly all of its cells that hold something hold numbers."""
        return self.numbers > 0 and self.numbers >= MOSTLY_NUMBERS * self.filled

    @property
    def with_comma(self) -> bool:
        """Nearly all of its cells that hold something are numbers with a decimal comma."""
        return self.commas > 0 and self.commas >= MOSTLY_COMMAS * self.filled

    @property
    def few(self) -> bool:
        """Its values come back often enough to be categories."""
        return len(self.distinct) < DISTINCT and (len(self.distinct) <= 50 or 2 * len(self.distinct) <= self.filled)

    @property
    def prose(self) -> bool:
        """It holds texts: several words each, hardly any twice."""
        return (
            not self.numeric
            and self.filled > 0
            and self.words >= 3 * self.filled
            and 2 * len(self.distinct) > min(self.filled, DISTINCT)
        )


def inspect(table: Table) -> dict[str, Summary]:
    """Each column's summary, in order. Raises InvalidInput where not one row can be read."""
    summaries = {name: Summary(name) for name in table.columns}
    read, problem = 0, ""
    for row in islice(table.rows(), INSPECTED_ROWS):
        if row.problem:
            problem = problem or f"; row {row.number}: {row.problem}"
            continue
        read += 1
        for name, summary in summaries.items():
            summary.see(row.cells.get(name))
    if not read:
        raise InvalidInput("data", f"{shown(table.name)} has no row that can be read{problem}")
    return summaries
