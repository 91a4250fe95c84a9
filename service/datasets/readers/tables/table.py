"""A file of rows: CSV, TSV, JSONL or Parquet. A row that cannot be read says so and the next one follows."""

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
"""What pandas calls an index that had no name, once the table was read and written again."""


def _ignore(sentence: str) -> None:
    """Hears nothing."""


class Table:
    """A file of rows. It can be gone through more than once."""

    def __init__(self, path: Path, name: str, limits: DatasetLimits) -> None:
        """`name` is the file as its owner knows it. Raises InvalidInput where it is no table at all."""
        self.name = name
        self._limits = limits
        form = PurePosixPath(name).suffix.lower()  # the file here may be called otherwise
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
        """Rows that were met when they were last gone through."""
        self.delimiter = self._file.delimiter
        """Between cells; empty where the format has none."""
        self.columns = self._checked(self._file.header())
        """Names without spaces around them, composed (NFC), all different."""
        self.unnamed = tuple(dict.fromkeys((*self._file.unnamed, *filter(INDEX_NAME.fullmatch, self.columns))))
        """Columns that have no name of their own, as an index written by pandas."""

    def rows(self, note: Callable[[str], None] = _ignore) -> Iterator[TableRow]:
        """All rows in their order. `note` hears sentences about what was read otherwise than it is written.

        Raises InvalidInput where the file breaks off or is too long.
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
