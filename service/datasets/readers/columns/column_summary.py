"""Counts what the cells of one column of a table hold."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field

from service.datasets.formatting import quoted
from service.datasets.readers.columns.cells import BOOLEAN_NAMES, CellReading, is_missing, to_category, to_number
from service.datasets.readers.columns.number_format import (
    NUMBER_FORMATS,
    PLAIN,
    Notation,
    fits_format,
    parse_decorated,
)
from service.datasets.readers.tables.table import Cell

DISTINCT = 2_000
"""Different values that a summary keeps; a column with more has many."""
MOSTLY_NUMBERS = 0.95
_MEASURED = re.compile(r"[+-]?\d[\d.,' ]*\D{1,20}", re.ASCII)
_WHOLE = re.compile(r"-?(0|[1-9]\d*)(\.0*)?", re.ASCII)
_LONG = 16
"""Characters of the shortest whole number that a double may merge with its neighbour."""
_REMEMBERED, _LONGEST_REMEMBERED = 4_096, 256


@dataclass(slots=True)
class ColumnSummary:
    """The counts for one column. Complete after `close`."""

    name: str
    rows: int = 0
    missing: int = 0
    numbers: int = 0
    """Cells with a number as programs write it, or in the column's own notation."""
    whole: int = 0
    """Numbers without a fraction."""
    lists: int = 0
    """Lists and objects."""
    word_lists: int = 0
    """Those of `lists` that hold texts alone."""
    filled_lists: int = 0
    """Those of `lists` that are not empty."""
    span_lists: int = 0
    """Those of `filled_lists` whose parts look like labelled spans."""
    words: int = 0
    distinct: Counter[str] = field(default_factory=Counter)
    """By name as written, truncated if it is long."""
    notation: Notation = PLAIN
    """The format of its numbers; one for the whole column."""
    unreadable_problem: str = ""
    """Why cells that look like numbers are not read as numbers: a clause with advice."""
    boolean_spellings: Counter[str] = field(default_factory=Counter)
    """The spellings of its truth values: `TRUE`, `True`, `true`."""
    decimal_points: int = 0
    """Plain numbers with a decimal point."""
    thousands_like: int = 0
    """Those of `decimal_points` that could be grouped thousands: `1.234`."""
    decorated: int = 0
    """Texts that people read as numbers, and programs do not."""
    enclosed: int = 0
    """Those of `decorated` in parentheses."""
    unusual_integers: int = 0
    """Whole numbers that programs write differently: `007`, `+1`, `1E2`."""
    format_counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    """How many of the decorated numbers fit each format of (decimal sign, thousands separator)."""
    units: Counter[str] = field(default_factory=Counter)
    unknown_units: int = 0
    """Texts that begin with a number and continue with an unknown unit."""
    samples: dict[str, None] = field(default_factory=dict)
    """Some of the decorated numbers."""
    _seen: dict[str, int] = field(default_factory=dict)

    def add(self, cell: Cell) -> None:
        """Count one more cell. Repeated texts are analysed once."""
        if type(cell) is str:
            count = self._seen.get(cell)
            if count is not None:
                self._seen[cell] = count + 1
                return
            if len(self._seen) < _REMEMBERED and len(cell) <= _LONGEST_REMEMBERED:
                self._seen[cell] = 1
                return
        self._see(cell, 1)

    def close(self) -> None:
        """Analyse the remaining cells; call it after the last `add`."""
        for cell, count in self._seen.items():
            self._see(cell, count)
        self._seen.clear()

    def _see(self, cell: Cell, count: int) -> None:
        self.rows += count
        if isinstance(cell, list):
            self.lists += count
            self.filled_lists += count * (len(cell) > 0)
            self.word_lists += count * (len(cell) > 0 and all(isinstance(part, str) for part in cell))
            self.span_lists += count * (len(cell) > 0 and all(map(_like_span, cell)))
            return
        if is_missing(cell):
            self.missing += count
            if cell is None or (isinstance(cell, str) and not cell.strip()):
                return
        name = to_category(cell)
        if name is None:
            return
        if name in BOOLEAN_NAMES:
            self.boolean_spellings["".join(cell.split()) if isinstance(cell, str) else name] += count
        value = to_number(cell)
        if value is not None:
            self.numbers += count
            self.whole += count * value.is_integer()
            if isinstance(cell, str):
                self._see_plain(name, value, count)
        elif len(name) <= 64 and (found := parse_decorated(name)) is not None:
            self.decorated += count
            self.enclosed += count * found.enclosed
            self.units[found.unit] += count
            for way in NUMBER_FORMATS:
                self.format_counts[way] += count * fits_format(found.body, *way)
            if len(self.samples) < 1_000:
                self.samples[name] = None
        elif len(name) <= 64 and _MEASURED.fullmatch(name):
            self.unknown_units += count
        self.words += count * (name.count(" ") + 1)
        key = name[:256]
        if key in self.distinct or len(self.distinct) < DISTINCT:
            self.distinct[key] += count

    def _see_plain(self, text: str, value: float, count: int) -> None:
        point = text.find(".")
        if point >= 0:
            self.decimal_points += count
            head = text[:point].lstrip("+-")
            self.thousands_like += count * (len(text) - point == 4 and 0 < len(head) < 4 and head[0] != "0")
        if value.is_integer():
            self.unusual_integers += count * (_WHOLE.fullmatch(text) is None)

    @property
    def non_missing(self) -> int:
        """Cells with a value."""
        return self.rows - self.missing

    @property
    def may_be_decorated(self) -> bool:
        """Whether people read nearly all of its cells as numbers, and programs do not read all of them."""
        return self.decorated > 0 and self.numbers + self.decorated >= MOSTLY_NUMBERS * self.non_missing

    @property
    def numeric(self) -> bool:
        """Whether nearly all of its cells with a value hold numbers that can be read in one way."""
        found = self.numbers if self.notation is PLAIN else self.numbers + self.decorated
        return found > 0 and not self.unreadable_problem and found >= MOSTLY_NUMBERS * self.non_missing

    @property
    def reading(self) -> CellReading:
        """How its cells are read."""
        whole = self.whole == self.non_missing and not self.unusual_integers and self.notation is PLAIN
        spelled = {spelling.casefold(): spelling for spelling in self.boolean_spellings}
        return CellReading(self.notation, whole, spelled if len(spelled) == len(self.boolean_spellings) else {})

    @property
    def distinct_count(self) -> int:
        """The number of different values, at most `DISTINCT`. Whole numbers count as the classes that they would name."""
        if not self.numeric:
            return len(self.distinct)
        if self.all_whole:
            reading = self.reading
            return len({reading.name(name) for name in self.distinct})
        return len({self.notation.parse_exact(name) for name in self.distinct})

    @property
    def loses_digits(self) -> bool:
        """Whether some of its whole numbers are different, and equal as numbers of 16 digits."""
        if not self.numeric or not self.all_whole or all(len(name) < _LONG for name in self.distinct):
            return False
        exact = {self.notation.parse_exact(name) for name in self.distinct}
        return len({to_number(name, self.notation) for name in self.distinct}) < len(exact)

    @property
    def all_whole(self) -> bool:
        """Whether all of its numbers are whole."""
        if self.notation is PLAIN:
            return self.whole == self.numbers
        found = (to_number(name, self.notation) for name in self.distinct)
        return all(value is None or value.is_integer() for value in found)

    @property
    def repeats(self) -> bool:
        """Whether its values repeat often enough to be categories."""
        return len(self.distinct) < DISTINCT and (
            len(self.distinct) <= 50 or 2 * len(self.distinct) <= self.non_missing
        )

    @property
    def all_different(self) -> bool:
        """Whether no value occurs twice."""
        return len(self.distinct) > 2 and len(self.distinct) == self.non_missing

    @property
    def trailing_text_problem(self) -> str:
        """Why it is no column of numbers although each cell begins with one: a clause; empty if that is not so."""
        found = self.numbers + self.decorated + self.unknown_units
        if self.numeric or not self.unknown_units or found < MOSTLY_NUMBERS * self.non_missing:
            return ""
        sample = next(name for name in self.distinct if _MEASURED.fullmatch(name) and parse_decorated(name) is None)
        return (
            f"its numbers have something beside them, such as {quoted(sample)}; write the numbers alone, with a point for"
            " decimals"
        )

    @property
    def is_prose(self) -> bool:
        """Whether it holds texts: several words each, hardly any repeated."""
        return (
            not self.numeric
            and self.non_missing > 0
            and self.words >= 3 * self.non_missing
            and 2 * len(self.distinct) > min(self.non_missing, DISTINCT)
        )


def _like_span(part: object) -> bool:
    """Whether a part of a list could be a labelled span, written well or not."""
    return (isinstance(part, dict) and "start" in part) or (isinstance(part, list) and len(part) == 3)
