"""A file of rows: CSV, TSV, JSONL or Parquet. A row that cannot be read says so and the next one follows."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

from service.datasets.dataset_limits import DatasetLimits
from service.datasets.formatting import shown
from service.datasets.readers.tables.delimited import Delimited
from service.datasets.readers.tables.jsonlines import JsonLines
from service.datasets.readers.tables.parquet import Parquet
from service.datasets.readers.tables.sniffing import foreign
from service.datasets.readers.tables.table_row import Cell as Cell
from service.datasets.readers.tables.table_row import Row as Row
from service.errors import InvalidInput

INDEX_NAME = re.compile(r"Unnamed: 0(\.\d+)*")
"""What pandas calls an index that had no name, once the table was read and written again."""


def _nobody(sentence: str) -> None:
    """Hears nothing."""


class Table:
    """A file of rows. It can be gone through more than once."""

    def __init__(self, path: Path, name: str, limits: DatasetLimits) -> None:
        """`name` is the file as its owner knows it. Raises InvalidInput where it is no table at all."""
        self.name = name
        self._limits = limits
        form = PurePosixPath(name).suffix.lower()  # the file here may be called otherwise
        if what := foreign(path, form):
            raise InvalidInput("data", f"{shown(name)} is {what}")
        self._file: Delimited | JsonLines | Parquet
        if form == ".parquet":
            self._file = Parquet(path, name, limits)
        elif form in (".jsonl", ".ndjson"):
            self._file = JsonLines(path, name, limits)
        else:
            self._file = Delimited(path, name, form, limits)
        self.count = 0
        """Rows that were met when they were last gone through."""
        self.delimiter = self._file.delimiter
        """Between cells; empty where the format has none."""
        self.columns = self._checked(self._file.header())
        """Names without spaces around them, composed (NFC), all different."""
        self.unnamed = tuple(dict.fromkeys((*self._file.unnamed, *filter(INDEX_NAME.fullmatch, self.columns))))
        """Columns that have no name of their own, as an index written by pandas."""

    def rows(self, note: Callable[[str], None] = _nobody) -> Iterator[Row]:
        """All rows in their order. `note` hears sentences about what was read otherwise than it is written.

        Raises InvalidInput where the file breaks off or is too long.
        """
        self.count = 0
        for row in self._file.rows(self.columns, note):
            self.count = row.number
            if row.number > self._limits.rows:
                raise InvalidInput(
                    "data", f"{shown(self.name)} has more than {self._limits.rows} rows, which is the limit"
                )
            if not row.problem:
                self._bound(row)
            yield row

    def _bound(self, row: Row) -> None:
        most = self._limits.text_bytes
        surely_short = most // 4  # characters; UTF-8 has up to 4 bytes for one
        for column, cell in row.cells.items():
            if type(cell) is str and len(cell) > surely_short and len(cell.encode("utf-8", "replace")) > most:
                row.problem = f"{shown(column)} holds more than {most} bytes"

    def _checked(self, names: list[str]) -> tuple[str, ...]:
        limits, name = self._limits, shown(self.name)
        if not names:
            raise InvalidInput("data", f"{name} has no columns")
        if len(names) > limits.columns:
            raise InvalidInput("data", f"{name} has {len(names)} columns; the limit is {limits.columns}")
        twice = next((column for column, count in Counter(names).items() if count > 1), None)
        if twice is not None:
            raise InvalidInput("data", f"{name} has two columns called {shown(twice)}; give each a name of its own")
        if any(len(column) > limits.name_characters for column in names):
            raise InvalidInput(
                "data", f"{name} has a column whose name has more than {limits.name_characters} characters"
            )
        return tuple(names)
