"""Determines how the program that wrote a CSV uses quotation marks, once for the whole file."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache

LINES_OF_STYLE = 20_000
"""Lines that are searched for a cell that shows the style; the first such cell ends the search."""
CHARACTERS_OF_STYLE = 1 << 24
_BEFORE_A_MARK = re.compile(r'(\\+)"')
_LINE_END = re.compile(r"\r\n|\n|\r")

LineFix = Callable[[str], str]


@lru_cache(maxsize=16)
def cell_pattern(delimiter: str) -> re.Pattern[str]:
    """Matches the cells of a line; the group is the text between quotation marks."""
    d = re.escape(delimiter)
    return re.compile(rf'(?:(?<=^)|(?<={d}))(?:"((?:[^"]|"(?!{d}|$))*)"(?={d}|$)|[^{d}]*)(?={d}|$)')


def double_escaped_quotes(line: str) -> str:
    r"""The line with each `\"` as `""`. Backslashes that are not before a quotation mark stay, as Spark writes them."""
    return _BEFORE_A_MARK.sub(_doubled, line) if '\\"' in line else line


def _doubled(match: re.Match[str]) -> str:
    half, odd = divmod(len(match[1]), 2)
    return "\\" * half + ('""' if odd else '"')


def line_fix(lines: list[str], delimiter: str, spaced: bool) -> LineFix | None:
    """The change to apply to each line before the csv module reads it, if it makes fewer of these lines malformed."""
    blanks = re.compile(rf'(?<![{re.escape(delimiter)}"])"[ ]+(?={re.escape(delimiter)}|[\r\n]|$)')
    fixes: list[LineFix] = []
    if any('\\"' in line for line in lines):
        fixes.append(double_escaped_quotes)
    if any(blanks.search(line) for line in lines):
        fixes.append(lambda line: blanks.sub('"', line))
    best: LineFix | None = None
    if fixes:
        least = _malformed(lines, delimiter, spaced)
        for fix in fixes:
            if (found := _malformed(map(fix, lines), delimiter, spaced)) < least:
                best, least = fix, found
    return best


def _malformed(lines: Iterable[str], delimiter: str, spaced: bool) -> int:
    """The number of records that are malformed or have another number of cells than the header."""
    reader = csv.reader(lines, delimiter=delimiter, strict=True, skipinitialspace=spaced)
    expected, bad = 0, 0
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return bad
        except csv.Error:
            bad += 1
            continue
        expected = expected or len(cells)
        bad += bool(cells) and len(cells) != expected


class QuoteStyle:
    """Whether the writer of a file quotes cells that need it."""

    def __init__(self, lines: Iterator[str], delimiter: str, expected: int, spaced: bool) -> None:
        """Reads `lines`, from the header on, until a cell shows that the writer quotes."""
        self._delimiter = delimiter
        self._expected = expected
        self._pattern = cell_pattern(delimiter)
        self._last = ""
        self._prose = self._like_rows = self._errors = self._bare = 0
        self._needless: set[int] = set()
        """Columns with a quoted cell that needs no quotation marks."""
        self._plain: set[int] = set()
        """Columns with an unquoted text."""
        self._quoted: set[int] = set()
        """Columns with a quoted cell."""
        self._unquoted: set[int] = set()
        """Columns with an unquoted cell, even an empty one."""
        self._lines_alone = 0
        self.longest = 1
        """Lines of the longest record seen."""
        self.quotes = self._search(lines, spaced)

    def _kept(self, lines: Iterator[str]) -> Iterator[str]:
        characters = 0
        for number, line in enumerate(lines):
            characters += len(line)
            if number >= LINES_OF_STYLE or characters > CHARACTERS_OF_STYLE:
                return
            self._last = line
            yield line

    def _search(self, lines: Iterator[str], spaced: bool) -> bool:
        reader = csv.reader(self._kept(lines), delimiter=self._delimiter, strict=True, skipinitialspace=spaced)
        before, header = 0, True
        while True:
            try:
                cells = next(reader)
            except StopIteration:
                break
            except csv.Error as error:
                self._errors += "unexpected end" not in str(error)  # the sample may end inside of a cell
                before = reader.line_num
                continue
            count, before = reader.line_num - before, reader.line_num
            if header or not cells:
                header = False
                continue
            if len(cells) != self._expected:
                self._errors += count > 1
            elif count > 1:
                self.longest = max(self.longest, count)
                if self._each_line_has_its_cells(cells):
                    self._like_rows += 1
                else:
                    self._prose += 1  # its lines are no rows
            elif self._shows(self._last.rstrip("\r\n")):
                return True
            if self._prose > self._errors:
                return True
        if self._lines_alone > 1 and self._quoted - self._unquoted:  # the writer quotes each cell, or each text
            return True
        contrary = self._errors or self._bare or self._needless & self._plain
        return self._like_rows > 1 and not contrary

    def _each_line_has_its_cells(self, cells: list[str]) -> bool:
        lines = _LINE_END.split(self._delimiter.join(cells))
        return all(line.count(self._delimiter) == self._expected - 1 for line in lines)

    def _shows(self, line: str) -> bool:
        """Whether a single-line record has a cell that only a writer that quotes produces."""
        self._lines_alone += 1
        if '"' not in line and len(self._plain) == self._expected:
            return False
        for at, match in enumerate(self._pattern.finditer(line)):
            inside = match[1]
            if inside is None:
                self._unquoted.add(at)
                cell = match[0].strip()
                self._bare += '"' in cell
                if cell[:1].isalpha():
                    self._plain.add(at)
            elif self._delimiter in inside or '""' in inside:
                return True
            self._quoted |= {at} if inside is not None else set()
            if inside and inside[:1].isalpha() and not inside[-1:].isspace():
                self._needless.add(at)
        return False
