"""Reads rows of CSV and TSV with the csv module, and separates rows that the module would silently merge.

A cell that begins with a quotation mark ends with one before a delimiter or line end, and may contain line ends. If that fails,
the mark belongs to the text, and each line is a row of its own (`quote_repair.py`).
"""

from __future__ import annotations

import codecs
import csv
import mmap
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path

from service.datasets.dataset_limits import DatasetLimits
from service.datasets.formatting import clean_name, quoted
from service.datasets.readers.tables.csv_header import (
    LOOKED_AT,
    has_spaced_quotes,
    has_unnamed_index,
    is_title,
    preamble,
)
from service.datasets.readers.tables.physical_lines import PhysicalLines
from service.datasets.readers.tables.quote_repair import QuoteRepair
from service.datasets.readers.tables.quote_style import LineFix, line_fix
from service.datasets.readers.tables.table_row import TableRow, is_valid_text
from service.errors import InvalidInput

_NAMED_ROWS = 20
_STYLE_LINES, _STYLE_CHARACTERS = 2_000, 1 << 22
"""Size of the sample that shows how quotation marks inside of cells are written."""
_INDEX_ROWS = 200
"""Rows that are examined for an index without a name."""
_CHUNK = 1 << 20
"""Bytes that are decoded at once."""

Note = Callable[[str], None]


class DelimitedFile:
    """A file of lines with cells. It can be read repeatedly."""

    def __init__(self, path: Path, name: str, form: str, limits: DatasetLimits) -> None:
        """`form`: the suffix of its name. Raises InvalidInput for a file that is no text."""
        self._path = path
        self._name = name
        self._limits = limits
        self.unnamed: tuple[str, ...] = ()
        self._given: list[str] = []
        """The names in the header, including empty ones."""
        self._line = 0
        """Number of the last line that was read."""
        self._fix: LineFix | None = None
        """Applied to each line if the file escapes quotation marks differently from the csv module."""
        with path.open("rb") as file:
            start = file.read(4)
            file.seek(0, 2)
            size = file.tell()
        self._wide = start[:2] in (b"\xff\xfe", b"\xfe\xff")
        self._quotes, self._nul, self._escapes = (True, False, False) if self._wide or not size else _marks(path)
        self._is_text = not self._wide and _is_utf8(path)
        """Whether the whole file is UTF-8, so that rows need no check."""
        with self._text() as lines:
            first = list(islice(iter(lines.next_line, ""), LOOKED_AT + 10))
        self._above, self.delimiter = preamble(first, form)
        self._spaced = has_spaced_quotes(first, self.delimiter)
        if self._quotes:
            self._fix = line_fix(list(_sample(self._below())), self.delimiter, self._spaced)

    def header(self) -> list[str]:
        """Names of the columns; a column without a name gets one by its position. Raises InvalidInput for an empty file."""
        with self._text() as lines:
            header = next(self._records(lines, None), None)
        if header is None:
            raise InvalidInput("data", f"{quoted(self._name)} is empty")
        given = [clean_name(name) for name in header]
        rows = self._first_rows()
        if has_unnamed_index(rows, len(given) + 1, self.delimiter, self._below()):
            given = ["", *given]
        elif is_title(given, rows, self._below()):
            raise InvalidInput(
                "data",
                f"the first line of {quoted(self._name)} looks like a title, not like names of columns: {quoted(given[0])};"
                " remove the lines above the header",
            )
        self._given = given
        names = [name or f"column_{i + 1}" for i, name in enumerate(given)]
        self.unnamed = tuple(name for name, written in zip(names, given, strict=True) if not written)
        if any(not is_valid_text(name) or "\0" in name for name in names):
            raise InvalidInput("data", f"the header of {quoted(self._name)} is not UTF-8 text; save the file as UTF-8")
        return names

    def _first_rows(self) -> list[list[str]]:
        """The first rows below the header, up to a malformed one."""
        reader = csv.reader(self._below(), delimiter=self.delimiter, strict=True, skipinitialspace=self._spaced)
        rows: list[list[str]] = []
        with suppress(csv.Error):
            rows.extend(cells for cells in islice(reader, 1, _INDEX_ROWS) if cells)
        return rows

    def rows(self, columns: tuple[str, ...], note: Note) -> Iterator[TableRow]:
        """All rows in order; `note` gets warnings about repairs. Raises InvalidInput for quotation marks beyond repair."""
        expected, number, no_text = len(columns), 0, 0
        with self._text() as lines:
            repair = QuoteRepair(lines, self._below, self.delimiter, expected, self._limits, self._spaced)
            records = self._quick_records(lines, repair) if self._quotes else self._records(lines, repair)
            next(records, None)
            repair.skip_header()
            for cells in records:
                if not cells or (len(cells) == 1 and expected > 1 and not cells[0].strip()):
                    continue  # an empty line
                number += 1
                if repair.is_repaired:
                    repair.note_row(number)
                if len(cells) > expected and not any(cell.strip() for cell in cells[expected:]):
                    del cells[expected:]  # lines end with a delimiter
                if repair.problem:
                    yield TableRow(number, {}, repair.problem, self._line)
                elif len(cells) != expected:
                    yield TableRow(
                        number,
                        {},
                        f"expected {expected} cells as in the header, got {len(cells)}{_why(cells)}",
                        self._line,
                    )
                elif not self._is_text and not is_valid_text("".join(cells)):
                    no_text += 1
                    yield TableRow(number, {}, "is not UTF-8 text", self._line)
                elif self._nul and any("\0" in cell for cell in cells):
                    yield TableRow(number, {}, "holds NUL characters, which no text does", self._line)
                elif cells[0].strip() == self._given[0] and [clean_name(cell) for cell in cells] == self._given:
                    yield TableRow(number, {}, "repeats the header", self._line)
                else:
                    yield TableRow(number, dict(zip(columns, cells, strict=True)), "", self._line)
            if repair.repaired_rows:
                rows = ", ".join(map(str, repair.repaired_rows[:_NAMED_ROWS]))
                more = (
                    f" and {len(repair.repaired_rows) - _NAMED_ROWS} more"
                    if len(repair.repaired_rows) > _NAMED_ROWS
                    else ""
                )
                s = "" if len(repair.repaired_rows) == 1 else "s"
                note(
                    f"row{s} {rows}{more} of {quoted(self._name)}: a quotation mark is not closed or not doubled; it counts as"
                    " part of the text, and each line as a row"
                )
        if no_text:
            note(f"rows that are not UTF-8 text: {no_text}; save the file as UTF-8")

    def _quick_records(self, lines: PhysicalLines, repair: QuoteRepair) -> Iterator[list[str]]:
        """Like `_records`, at the speed of the csv module until a row is malformed or looks like several."""
        csv.field_size_limit(self._limits.text_bytes)
        for _ in range(self._above):
            lines.next_line()
        source = map(self._fix, lines.file) if self._fix else lines.file
        reader = csv.reader(source, delimiter=self.delimiter, strict=True, skipinitialspace=self._spaced)
        before = given = 0
        try:
            for cells in reader:
                if (reader.line_num > before + 1 and repair.looks_wrong(cells)) or (
                    self._escapes and len(cells) != repair.expected and len(cells) > 1
                ):
                    break
                before = reader.line_num
                self._line = self._above + before
                given += 1
                yield cells
            else:
                return
        except csv.Error:
            pass
        with self._text() as again:
            repair.switch_to(again)
            yield from islice(self._records(again, repair), given, None)

    def _records(self, lines: PhysicalLines, repair: QuoteRepair | None) -> Iterator[list[str]]:
        """The cells of the header and of all rows."""
        csv.field_size_limit(self._limits.text_bytes)
        for _ in range(self._above):
            lines.next_line()
        source = lines if self._quotes else iter(lines.file)
        reader = csv.reader(source, delimiter=self.delimiter, strict=self._quotes, skipinitialspace=self._spaced)
        while True:
            if repair is not None:
                repair.problem = ""
            lines.held.clear()
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                if repair is None:
                    lines.give_back(lines.held[1:])
                    cells = next(csv.reader(lines.held[:1], delimiter=self.delimiter), [])
                elif self._quotes:
                    cells = repair.repair_row(error)
                else:
                    repair.problem, cells = repair.too_long, [""] * 2
            else:
                if repair is not None and len(lines.held) > 1:
                    cells = repair.check(cells)
                elif repair is not None and self._quotes and len(cells) != repair.expected and '\\"' in lines.held[0]:
                    cells = repair.unescaped(cells)
            self._line = lines.line if self._quotes else self._above + reader.line_num
            yield cells

    @contextmanager
    def _text(self) -> Iterator[PhysicalLines]:
        encoding, errors = ("utf-16", "replace") if self._wide else ("utf-8-sig", "surrogateescape")
        with self._path.open(encoding=encoding, errors=errors, newline="") as file:
            yield PhysicalLines(file, self._limits.text_bytes, self._fix)

    def _below(self) -> Iterator[str]:
        """The lines of the file from its header on."""
        with self._text() as lines:
            yield from islice(iter(lines.next_line, ""), self._above, None)


def _sample(lines: Iterator[str]) -> Iterator[str]:
    """The first lines, up to a size limit."""
    characters = 0
    for line in islice(lines, _STYLE_LINES):
        characters += len(line)
        if characters > _STYLE_CHARACTERS:
            return
        yield line


def _marks(path: Path) -> tuple[bool, bool, bool]:
    """Whether a file contains quotation marks, NUL bytes, and quotation marks after a backslash."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.find(b'"') >= 0, content.find(b"\0") >= 0, content.find(b'\\"') >= 0


def _is_utf8(path: Path) -> bool:
    decoder = codecs.getincrementaldecoder("utf-8")()
    with path.open("rb") as file:
        try:
            while chunk := file.read(_CHUNK):
                decoder.decode(chunk)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return False
    return True


def _why(cells: list[str]) -> str:
    return ", perhaps because a quotation mark is not closed" if any("\n" in cell for cell in cells) else ""
