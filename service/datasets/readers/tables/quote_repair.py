"""Repairs rows of a CSV with unpaired quotation marks, line by line where possible."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice

from service.datasets.dataset_limits import DatasetLimits
from service.datasets.readers.tables.physical_lines import MAX_HELD_TEXTS, PhysicalLines
from service.datasets.readers.tables.quote_style import QuoteStyle, cell_pattern, double_escaped_quotes
from service.errors import InvalidInput

MAX_REREAD_CHARACTERS = 64 << 20
"""Characters that may be read again in total, which bounds the time for any file."""
LONGEST_LOOKED_AT = 1 << 16
"""Length of a line in which pairs of quotation marks are searched."""
SAMPLED_LINES, FEW, MOSTLY = 2_000, 50, 0.95
_NUMBER = re.compile(r"[+-]?[\d.,'\u00a0\u202f ]*\d\s?\S?", re.ASCII)


class QuoteRepair:
    """Builds rows from lines that the csv module cannot parse or parses wrongly."""

    def __init__(
        self,
        lines: PhysicalLines,
        again: Callable[[], Iterator[str]],
        delimiter: str,
        expected: int,
        limits: DatasetLimits,
        spaced: bool = False,
    ) -> None:
        """`again` iterates over the file's lines from its header on; `expected`: cells of a row."""
        self._lines = lines
        self._again = again
        self._delimiter = delimiter
        self.expected = expected
        self._spaced = spaced
        self._style: QuoteStyle | None = None
        self._most = limits.text_bytes
        self._reread = 0
        self._cell_tests: dict[int, Callable[[str], bool]] | None = None
        self.is_repaired = False
        """Whether the current row differs from what the csv module reads."""
        self.repaired_rows: list[int] = []
        """Numbers of rows with a quotation mark that is not closed or not doubled."""
        self.problem = ""
        """The problem with the current row."""
        self.too_long = f"holds a cell of more than {self._most} bytes"

    def switch_to(self, lines: PhysicalLines) -> None:
        """Switch to other lines."""
        self._lines = lines

    def looks_wrong(self, cells: list[str]) -> bool:
        """Whether a row of several lines has another number of cells than the header, or each of its lines looks like a row."""
        if len(cells) != self.expected:
            return True
        wanted, inside, ends = self.expected - 1, 0, 1
        for cell in cells:
            if "\r" in cell:
                break
            inside += cell.count(self._delimiter)
            ends += cell.count("\n")
        else:
            if wanted + inside != wanted * ends:  # then not every line has as many delimiters as a row
                return False
        return not self.style.quotes

    @property
    def style(self) -> QuoteStyle:
        """How the writer of the file quotes; determined at first use."""
        if self._style is None:
            self._style = QuoteStyle(self._again(), self._delimiter, self.expected, self._spaced)
        return self._style

    def skip_header(self) -> None:
        """Forget the header, which is no row."""
        self.is_repaired = False

    def note_row(self, number: int) -> None:
        """Record the number of the current row if it was repaired."""
        self.is_repaired = False
        if not self.problem:
            self.repaired_rows.append(number)

    def repair_row(self, error: csv.Error) -> list[str]:
        """The cells of the first held line, which begins a malformed row; the lines after it are read again."""
        held = self._lines.held
        first, nothing = held[0], [""] * self.expected
        if "unexpected end" in str(error) and self.style.quotes and self._is_cut_off():
            self.problem = "ends inside of a quoted cell; the file seems to be cut off"
            return nothing
        if "field limit" in str(error) and (len(held) == 1 or (self.style.quotes and self._ends_well())):
            self.problem = self.too_long
            return nothing
        self._give_back(held[1:])
        if '\\"' in first and (cells := self._escaped(first)) is not None:
            return cells
        cells = self._of_line(first) or []
        if cells:
            self.is_repaired = True
            return cells
        count = len(first.rstrip("\r\n").split(self._delimiter))
        because = "perhaps because a quotation mark is not closed"
        self.problem = f"expected {self.expected} cells as in the header, got {count}, {because}"
        return nothing

    def _is_cut_off(self) -> bool:
        """Whether the held lines, up to the end of the file, are one truncated row, rather than rows after an unclosed mark."""
        held = self._lines.held
        return not any(map(self._like_row, held)) or (len(held) == 1 and not self._values())

    def _ends_well(self) -> bool:
        """Whether the current row is well-formed with a cell that is too long; then all of its lines are consumed."""
        held = self._lines.held[:]
        self._lines.give_back(held)
        self._lines.held.clear()
        before = csv.field_size_limit(MAX_HELD_TEXTS * self._most)
        try:
            reader = csv.reader(self._lines, delimiter=self._delimiter, strict=True, skipinitialspace=self._spaced)
            cells = next(reader)
        except (csv.Error, StopIteration):
            cells = []
        finally:
            csv.field_size_limit(before)
        if len(cells) == self.expected:
            return True
        beyond = self._lines.held[len(held) :]
        self._reread += sum(map(len, beyond))
        self._lines.give_back(beyond)
        self._lines.held[:] = held
        return False

    def unescaped(self, cells: list[str]) -> list[str]:
        """Cells of a single-line row of a wrong length, parsed with `\\"` as an escaped mark if that gives the right length."""
        line = double_escaped_quotes(self._lines.held[0])
        reader = csv.reader([line], delimiter=self._delimiter, strict=True, skipinitialspace=self._spaced)
        with suppress(csv.Error):
            found = next(reader, [])
            return found if len(found) == self.expected else cells
        return cells

    def check(self, cells: list[str]) -> list[str]:
        """Cells of a row of several lines, or of its first line alone if each line looks like a row of its own."""
        held = self._lines.held
        if len(cells) != self.expected:
            own = self._of_line(held[0])
            if own is None or not self._like_row(held[0]):
                return cells
            if self.style.quotes and len(held) <= self.style.longest:
                return cells
        elif self.style.quotes or not self._like_rows(held):
            return cells
        first = held[0]
        self._give_back(held[1:])
        self.is_repaired = True
        return self._of_line(first) or [""] * self.expected

    def _give_back(self, lines: list[str]) -> None:
        self._reread += sum(map(len, lines))
        if self._reread > MAX_REREAD_CHARACTERS:
            raise InvalidInput(
                "data", "its quotation marks do not come in pairs; double those inside of a cell, and close each"
            )
        self._lines.give_back(lines)
        self._lines.held[1:] = []

    def _of_line(self, line: str) -> list[str] | None:
        """Cells of a line, where a mark ends a cell only at the cell's end; None if their number is wrong."""
        line = line.rstrip("\r\n")
        if len(line) <= LONGEST_LOOKED_AT:
            found = [
                match[0] if match[1] is None else match[1].replace('""', '"')
                for match in cell_pattern(self._delimiter).finditer(line)
            ]
            if len(found) == self.expected:
                return found
        literal = line.split(self._delimiter)
        return literal if len(literal) == self.expected else None

    def _escaped(self, first: str) -> list[str] | None:
        """Cells of a row with marks escaped by a backslash, possibly over several lines."""
        self._lines.give_back([first])
        self._lines.held.clear()
        reader = csv.reader(
            map(double_escaped_quotes, self._lines),
            delimiter=self._delimiter,
            strict=True,
            skipinitialspace=self._spaced,
        )
        try:
            cells = next(reader)
        except (csv.Error, StopIteration):
            cells = []
        if len(cells) == self.expected:
            return cells
        held = self._lines.held[:]
        self._lines.held.clear()
        self._lines.held.append(first)
        self._reread += sum(map(len, held))
        self._lines.give_back(held[1:])
        return None

    def _like_rows(self, lines: list[str]) -> bool:
        """Whether each line has the cells of a row and, in columns of few values, the values of other rows."""
        if self.expected < 2:
            return False
        wanted = self.expected - 1
        if any(line.count(self._delimiter) != wanted for line in lines):
            return False
        # without known values, nothing distinguishes a row from prose with as many delimiters
        return bool(self._values()) and all(map(self._like_row, lines))

    def _like_row(self, line: str) -> bool:
        cells = line.rstrip("\r\n").split(self._delimiter)
        return len(cells) == self.expected and all(fits(cells[at].strip()) for at, fits in self._values().items())

    def _values(self) -> dict[int, Callable[[str], bool]]:
        """Tests for the cells of columns, by position, with their quotation marks: for columns that are all quoted, have few
        values, or hold numbers. Learned from the single-line rows among the first of the file; lines inside of longer rows do
        not count, since prose has commas too."""
        if self._cell_tests is None:
            rows = list(self._rows_of_one_line())
            self._cell_tests = {}
            for at, column in enumerate(zip(*rows, strict=True)):
                values = {cell.strip() for cell in column}
                numbers = sum(_NUMBER.fullmatch(cell) is not None for cell in values)
                if len(values) <= min(FEW, len(rows) // 2):
                    self._cell_tests[at] = values.__contains__
                elif all(map(_is_quoted, values)):
                    self._cell_tests[at] = _is_quoted
                elif numbers >= MOSTLY * len(values):
                    self._cell_tests[at] = _looks_like_a_number
        return self._cell_tests

    def _rows_of_one_line(self) -> Iterator[list[str]]:
        """Single-line rows as written, with quotation marks."""
        last = [""]
        reader = csv.reader(_noting(islice(self._again(), SAMPLED_LINES), last), delimiter=self._delimiter)
        before = 0
        with suppress(csv.Error):
            for number, cells in enumerate(reader):
                if number and reader.line_num == before + 1 and len(cells) == self.expected:
                    line = last[0].rstrip("\r\n")
                    raw = [match[0] for match in cell_pattern(self._delimiter).finditer(line[:LONGEST_LOOKED_AT])]
                    if len(raw) == self.expected and not any(cell[:1] == '"' and not _is_quoted(cell) for cell in raw):
                        yield raw
                before = reader.line_num


def _noting(lines: Iterator[str], last: list[str]) -> Iterator[str]:
    for line in lines:
        last[0] = line
        yield line


def _is_quoted(cell: str) -> bool:
    return len(cell) > 1 and cell[0] == cell[-1] == '"'


def _looks_like_a_number(cell: str) -> bool:
    return not cell.strip() or _NUMBER.fullmatch(cell.strip()) is not None
