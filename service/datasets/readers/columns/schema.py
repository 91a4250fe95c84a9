"""What the columns of a table hold: one look over its first rows, from which kind and columns are found out."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from itertools import islice

from service.datasets.formatting import shown
from service.datasets.readers.columns.cells import TRUTHS, Reading
from service.datasets.readers.columns.cells import category as category
from service.datasets.readers.columns.cells import is_missing as is_missing
from service.datasets.readers.columns.cells import number as number
from service.datasets.readers.columns.number_columns import decide
from service.datasets.readers.columns.number_format import (
    PLAIN,
    WAYS,
    Notation,
    fits,
    written,
)
from service.datasets.readers.inferred import Infer, nowhere
from service.datasets.readers.tables.table import Cell, Table
from service.errors import InvalidInput

INSPECTED_ROWS = 20_000

DISTINCT = 2_000
"""Different values that are told apart; beyond it there are simply many."""
MOSTLY_NUMBERS = 0.95
_MEASURED = re.compile(r"[+-]?\d[\d.,' ]*\D{1,20}", re.ASCII)
_WHOLE = re.compile(r"-?(0|[1-9]\d*)(\.0*)?", re.ASCII)
_LONG = 16
"""Characters of the shortest whole number that a double may merge with its neighbour."""
_REMEMBERED, _LONGEST_REMEMBERED = 4_096, 256


@dataclass(slots=True)
class Summary:
    """What was seen of one column. Complete after `close`."""

    name: str
    rows: int = 0
    missing: int = 0
    numbers: int = 0
    """Cells that hold a number as programs write it, or in the column's own notation."""
    whole: int = 0
    """Numbers without a fraction."""
    lists: int = 0
    """Lists and objects."""
    words: int = 0
    distinct: Counter[str] = field(default_factory=Counter)
    """By name, as written, cut where it is long."""
    notation: Notation = PLAIN
    """How its numbers are written; decided once for the whole column."""
    unread: str = ""
    """Why cells that look like numbers are not read as such; a clause with what to do about it."""
    truths: Counter[str] = field(default_factory=Counter)
    """How its truth values are written: `TRUE`, `True`, `true`."""
    points: int = 0
    """Plain numbers with a decimal point."""
    groups: int = 0
    """Those of them that could be grouped thousands: `1.234`."""
    decorated: int = 0
    """Texts that people read as numbers, and programs do not."""
    enclosed: int = 0
    """Those of them in parentheses."""
    unlike: int = 0
    """Whole numbers that are written otherwise than programs do: `007`, `+1`, `1E2`."""
    bodies: Counter[tuple[str, str]] = field(default_factory=Counter)
    """How many of the decorated can be written so: by decimal sign and sign between thousands."""
    units: Counter[str] = field(default_factory=Counter)
    measured: int = 0
    """Texts that begin with a number and go on with something that is no known unit."""
    samples: dict[str, None] = field(default_factory=dict)
    """Some of the decorated."""
    _seen: dict[str, int] = field(default_factory=dict)

    def see(self, cell: Cell) -> None:
        """One more cell. Texts that come again are looked at once."""
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
        """All cells were seen."""
        for cell, count in self._seen.items():
            self._see(cell, count)
        self._seen.clear()

    def _see(self, cell: Cell, count: int) -> None:
        self.rows += count
        if isinstance(cell, list):
            self.lists += count
            return
        if is_missing(cell):
            self.missing += count
            if cell is None or (isinstance(cell, str) and not cell.strip()):
                return
        name = category(cell)
        if name is None:
            return
        if name in TRUTHS:
            self.truths["".join(cell.split()) if isinstance(cell, str) else name] += count
        value = number(cell)
        if value is not None:
            self.numbers += count
            self.whole += count * value.is_integer()
            if isinstance(cell, str):
                self._see_plain(name, value, count)
        elif len(name) <= 64 and (found := written(name)) is not None:
            self.decorated += count
            self.enclosed += count * found.enclosed
            self.units[found.unit] += count
            for way in WAYS:
                self.bodies[way] += count * fits(found.body, *way)
            if len(self.samples) < 1_000:
                self.samples[name] = None
        elif len(name) <= 64 and _MEASURED.fullmatch(name):
            self.measured += count
        self.words += count * (name.count(" ") + 1)
        key = name[:256]
        if key in self.distinct or len(self.distinct) < DISTINCT:
            self.distinct[key] += count

    def _see_plain(self, text: str, value: float, count: int) -> None:
        point = text.find(".")
        if point >= 0:
            self.points += count
            head = text[:point].lstrip("+-")
            self.groups += count * (len(text) - point == 4 and 0 < len(head) < 4 and head[0] != "0")
        if value.is_integer():
            self.unlike += count * (_WHOLE.fullmatch(text) is None)

    @property
    def filled(self) -> int:
        """Cells that hold something."""
        return self.rows - self.missing

    @property
    def may_be_decorated(self) -> bool:
        """Nearly all of its cells are read as numbers by people, and not all of them by programs."""
        return self.decorated > 0 and self.numbers + self.decorated >= MOSTLY_NUMBERS * self.filled

    @property
    def numeric(self) -> bool:
        """Nearly all of its cells that hold something hold numbers, and there is one way to read them."""
        found = self.numbers if self.notation is PLAIN else self.numbers + self.decorated
        return found > 0 and not self.unread and found >= MOSTLY_NUMBERS * self.filled

    @property
    def reading(self) -> Reading:
        """How its cells are read."""
        whole = self.whole == self.filled and not self.unlike and self.notation is PLAIN
        spelled = {spelling.casefold(): spelling for spelling in self.truths}
        return Reading(self.notation, whole, spelled if len(spelled) == len(self.truths) else {})

    @property
    def values(self) -> int:
        """How many different values it has; at most `DISTINCT`. Whole numbers count as the classes that they name would."""
        if not self.numeric:
            return len(self.distinct)
        if self.all_whole:
            reading = self.reading
            return len({reading.name(name) for name in self.distinct})
        return len({self.notation.exact(name) for name in self.distinct})

    @property
    def merged(self) -> bool:
        """Some of its whole numbers are different, and as numbers of 16 digits the same."""
        if not self.numeric or not self.all_whole or all(len(name) < _LONG for name in self.distinct):
            return False
        exact = {self.notation.exact(name) for name in self.distinct}
        return len({number(name, self.notation) for name in self.distinct}) < len(exact)

    @property
    def all_whole(self) -> bool:
        """All of its numbers are whole."""
        if self.notation is PLAIN:
            return self.whole == self.numbers
        found = (number(name, self.notation) for name in self.distinct)
        return all(value is None or value.is_integer() for value in found)

    @property
    def few(self) -> bool:
        """Its values come back often enough to be categories."""
        return len(self.distinct) < DISTINCT and (len(self.distinct) <= 50 or 2 * len(self.distinct) <= self.filled)

    @property
    def never_again(self) -> bool:
        """No value comes twice."""
        return len(self.distinct) > 2 and len(self.distinct) == self.filled

    @property
    def beside(self) -> str:
        """Why it is no column of numbers though each cell begins with one; a clause, empty where that is not so."""
        found = self.numbers + self.decorated + self.measured
        if self.numeric or not self.measured or found < MOSTLY_NUMBERS * self.filled:
            return ""
        sample = next(name for name in self.distinct if _MEASURED.fullmatch(name) and written(name) is None)
        return (
            f"its numbers have something beside them, such as {shown(sample)}; write the numbers alone, with a point for"
            " decimals"
        )

    @property
    def prose(self) -> bool:
        """It holds texts: several words each, hardly any twice."""
        return (
            not self.numeric
            and self.filled > 0
            and self.words >= 3 * self.filled
            and 2 * len(self.distinct) > min(self.filled, DISTINCT)
        )


def inspect(table: Table, infer: Infer = nowhere) -> dict[str, Summary]:
    """Each column's summary, in order. How numbers are written is decided over all rows; the rest over the first ones.

    `infer` hears of numbers that are not written as programs do. Raises InvalidInput where not one row can be read.
    """
    summaries = {name: Summary(name) for name in table.columns}
    read, problem = 0, ""
    rows = table.rows()
    for row in islice(rows, INSPECTED_ROWS):
        if row.problem:
            problem = problem or f"; row {row.number}: {row.problem}"
            continue
        read += 1
        for name, summary in summaries.items():
            summary.see(row.cells.get(name))
    if not read:
        cure = "; save the file as UTF-8" if problem.endswith("is not UTF-8 text") else ""
        raise InvalidInput("data", f"{shown(table.name)} has no row that can be read{problem}{cure}")
    for summary in summaries.values():
        summary.close()
    written_otherwise = [summary for summary in summaries.values() if summary.may_be_decorated]
    if written_otherwise:
        for row in rows:
            if not row.problem:
                for summary in written_otherwise:
                    summary.see(row.cells.get(summary.name))
        for summary in written_otherwise:
            summary.close()
    decide(tuple(summaries.values()), table.delimiter, infer)
    return summaries
