"""A file of rows: CSV, TSV, JSONL or Parquet. An unreadable row reports its problem, and reading continues with the next one."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

from service.datasets.dataset_limits import DatasetLimits
from service.datasets.formatting import quoted
from service.datasets.readers.tables.delimited import DelimitedFile
from service.datasets.readers.tables.jsonlines import JsonLinesFile
from service.datasets.readers.tables.parquet import ParquetTable
from service.datasets.readers.tables.sniffing import other_file_type
from service.datasets.readers.tables.table_row import Cell as Cell
from service.datasets.readers.tables.table_row import TableRow as TableRow
from service.errors import InvalidInput

INDEX_NAME = re.compile(r"Unnamed: 0(\.\d+)*")
"""The name that pandas gives to an index without a name, when a table was read and written again."""


def _ignore(sentence: str) -> None:
    """Drops a warning."""


class Table:
    """A file of rows. It can be read repeatedly."""

    def __init__(self, path: Path, name: str, limits: DatasetLimits) -> None:
        """`name`: the file's name for its owner. Raises InvalidInput for a file that is no table."""
        self.name = name
        self._limits = limits
        form = PurePosixPath(name).suffix.lower()  # the file on this disk may have another name
        if what := other_file_type(path, form):
            raise InvalidInput("data", f"{quoted(name)} is {what}")
        self._file: DelimitedFile | JsonLinesFile | ParquetTable
        if form == ".parquet":
            self._file = ParquetTable(path, name, limits)
        elif form in (".jsonl", ".ndjson"):
            self._file = JsonLinesFile(path, name, limits)
        else:
            self._file = DelimitedFile(path, name, form, limits)
        self.count = 0
        """Rows that the last iteration has read."""
        self.delimiter = self._file.delimiter
        """Between cells; empty for formats without one."""
        self.columns = self._checked(self._file.header())
        """Names without surrounding spaces, composed (NFC), all different."""
        self.unnamed = tuple(dict.fromkeys((*self._file.unnamed, *filter(INDEX_NAME.fullmatch, self.columns))))
        """Columns without a name of their own, such as an index written by pandas."""

    def rows(self, note: Callable[[str], None] = _ignore) -> Iterator[TableRow]:
        """All rows in order. `note` gets warnings about what is read differently from how it is written.

        Raises InvalidInput for a file that is truncated or too long.
        """
        self.count = 0
        for row in self._file.rows(self.columns, note):
            self.count = row.number
            if row.number > self._limits.rows:
                raise InvalidInput(
                    "data", f"{quoted(self.name)} has more than {self._limits.rows} rows, which is the limit"
                )
            if not row.problem:
                self._bound(row)
            yield row

    def _bound(self, row: TableRow) -> None:
        most = self._limits.text_bytes
        surely_short = most // 4  # characters; UTF-8 has up to 4 bytes for one
        for column, cell in row.cells.items():
            if type(cell) is str and len(cell) > surely_short and len(cell.encode("utf-8", "replace")) > most:
                row.problem = f"{quoted(column)} holds more than {most} bytes"

    def _checked(self, names: list[str]) -> tuple[str, ...]:
        limits, name = self._limits, quoted(self.name)
        if not names:
            raise InvalidInput("data", f"{name} has no columns")
        if len(names) > limits.columns:
            raise InvalidInput("data", f"{name} has {len(names)} columns; the limit is {limits.columns}")
        twice = next((column for column, count in Counter(names).items() if count > 1), None)
        if twice is not None:
            raise InvalidInput("data", f"{name} has two columns called {quoted(twice)}; give each a name of its own")
        if any(len(column) > limits.name_characters for column in names):
            raise InvalidInput(
                "data", f"{name} has a column whose name has more than {limits.name_characters} characters"
            )
        return tuple(names)
