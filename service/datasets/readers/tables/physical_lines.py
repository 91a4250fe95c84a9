"""The physical lines of a CSV; lines can be given back and read again."""

from __future__ import annotations

import csv
from typing import TextIO

from service.datasets.readers.tables.quote_style import LineFix

MAX_HELD_TEXTS = 16
"""Maximum size of one row, as a multiple of the largest text; a longer row has an unclosed quotation mark."""


class RowTooLong(csv.Error):
    """A row exceeds the maximum size."""


class PhysicalLines:
    """The physical lines of a file, held until their row is complete."""

    def __init__(self, file: TextIO, text_bytes: int, fix: LineFix | None = None) -> None:
        """`fix` is applied to each line."""
        self.file = file
        self._fix = fix
        self.held: list[str] = []
        """Lines since the last row."""
        self._again: list[str] = []
        self._held_size = 0
        self._longest = text_bytes
        self._read = 0

    def __iter__(self) -> PhysicalLines:
        return self

    def __next__(self) -> str:
        line = self._again.pop() if self._again else self.next_line()
        if not line:
            raise StopIteration
        held = self.held
        held.append(line)
        self._held_size = len(line) + (self._held_size if len(held) > 1 else 0)
        if len(held) > 1 and self._held_size > MAX_HELD_TEXTS * self._longest:
            raise RowTooLong
        return line

    def next_line(self) -> str:
        """The next line of the file; empty at its end. An overlong line is truncated."""
        most = MAX_HELD_TEXTS * self._longest
        self._read += 1
        line = self.file.readline(most)
        if len(line) == most and not line.endswith(("\n", "\r")):
            while (rest := self.file.readline(most)) and not rest.endswith(("\n", "\r")):
                pass
        return self._fix(line) if self._fix else line

    @property
    def line(self) -> int:
        """The number of the last line that was taken and not given back."""
        return self._read - len(self._again)

    def give_back(self, lines: list[str]) -> None:
        """Give back lines that do not belong to the row."""
        self._again.extend(reversed(lines))
