"""Rows of CSV, TSV, JSONL and Parquet files, one after another. A row that cannot be read says so and the next one follows."""

from __future__ import annotations

import csv
import datetime
import decimal
import json
import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from service.datasets.limits import MIB, Limits
from service.datasets.words import shown
from service.errors import InvalidInput

DELIMITERS = ",;\t|"
BATCH = 1024
_PANDAS_INDEX = re.compile(r"__index_level_\d+__")

Cell = float | str | bool | list[Any] | None
"""Of CSV always a text; a list only of JSONL and Parquet, where an object counts as one, too."""


@dataclass(slots=True)
class Row:
    """One row: its cells by column, or what is wrong with it."""

    number: int
    """The first below the header is 1."""
    cells: dict[str, Cell]
    problem: str = ""


class Table:
    """A file of rows. It can be gone through more than once."""

    def __init__(self, path: Path, name: str, limits: Limits) -> None:
        """`name` is the file as its owner knows it. Raises InvalidInput where it is no table at all."""
        self.name = name
        self._path = path
        self._limits = limits
        self._form = PurePosixPath(name).suffix.lower()  # the file here may be called otherwise
        self.count = 0
        """Rows that were met when they were last gone through."""
        self.unnamed: tuple[str, ...] = ()
        """Columns that have no name of their own, as an index written by pandas."""
        self.columns = self._header()
        if not self.columns:
            raise InvalidInput("data", f"{shown(name)} has no columns")
        if len(self.columns) > limits.columns:
            raise InvalidInput("data", f"{shown(name)} has {len(self.columns)} columns; the limit is {limits.columns}")
        for column in self.columns:
            if len(column) > limits.name_characters:
                raise InvalidInput(
                    "data", f"{shown(name)} has a column whose name has more than {limits.name_characters} characters"
                )

    def rows(self) -> Iterator[Row]:
        """All rows in their order. Raises InvalidInput where the file breaks off or is too long."""
        read = {".jsonl": self._jsonl, ".ndjson": self._jsonl, ".parquet": self._parquet}.get(self._form, self._csv)
        self.count = 0
        for row in read():
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

    def _header(self) -> tuple[str, ...]:
        if self._form == ".parquet":
            names_of = list(_parquet_file(self._path, self.name).schema_arrow.names)
            self.unnamed = tuple(name for name in names_of if not name.strip() or _PANDAS_INDEX.fullmatch(name))
            return self._told_apart(names_of)
        if self._form in (".jsonl", ".ndjson"):
            names: dict[str, None] = {}
            for row in self._jsonl():
                names.update(dict.fromkeys(row.cells))
                if row.number >= BATCH or len(names) > self._limits.columns:
                    break
            if not names:
                raise InvalidInput("data", f"{shown(self.name)}: expected one JSON object on each line, got none")
            self.unnamed = tuple(name for name in names if not name.strip())
            return tuple(names)
        with self._text() as file:
            header = next(self._cells(file), None)
        if header is None:
            raise InvalidInput("data", f"{shown(self.name)} is empty")
        names_of = [name.strip() or f"column_{i + 1}" for i, name in enumerate(header)]
        self.unnamed = tuple(n for n, given in zip(names_of, header, strict=True) if not given.strip())
        if any(not _is_text(name) or "\0" in name for name in names_of):
            raise InvalidInput("data", f"the header of {shown(self.name)} is not UTF-8 text; save the file as UTF-8")
        return self._told_apart(names_of)

    def _told_apart(self, names: list[str]) -> tuple[str, ...]:
        twice = next((name for name, count in Counter(names).items() if count > 1), None)
        if twice is not None:
            raise InvalidInput(
                "data", f"{shown(self.name)} has two columns called {shown(twice)}; its first line is to name each once"
            )
        return tuple(names)

    def _text(self) -> Any:
        with self._path.open("rb") as file:
            start = file.read(2)
        encoding = "utf-16" if start in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
        return self._path.open(
            encoding=encoding, errors="surrogateescape" if encoding != "utf-16" else "replace", newline=""
        )

    def _cells(self, file: Any) -> Iterator[list[str]]:
        csv.field_size_limit(self._limits.text_bytes)
        delimiter = "\t" if self._form == ".tsv" else _delimiter(file.readline(self._limits.text_bytes))
        file.seek(0)
        reader = csv.reader(file, delimiter=delimiter)
        while True:
            try:
                yield next(reader)
            except StopIteration:
                return
            except csv.Error:
                raise InvalidInput(
                    "data",
                    f"{shown(self.name)}: line {reader.line_num} holds a cell of more than {self._limits.text_bytes} bytes,"
                    " perhaps because a quotation mark before it is not closed",
                ) from None

    def _csv(self) -> Iterator[Row]:
        with self._text() as file:
            rows = self._cells(file)
            next(rows, None)
            number = 0
            for cells in rows:
                if not cells or (len(cells) == 1 and not cells[0].strip() and len(self.columns) > 1):
                    continue  # an empty line
                number += 1
                if len(cells) != len(self.columns):
                    expected = len(self.columns)
                    quote = ", perhaps because a quotation mark is not closed" if any("\n" in c for c in cells) else ""
                    yield Row(number, {}, f"expected {expected} cells as in the header, got {len(cells)}{quote}")
                elif not _is_text("".join(cells)):
                    yield Row(number, {}, "is not UTF-8 text")
                else:
                    yield Row(number, dict(zip(self.columns, cells, strict=True)))

    def _jsonl(self) -> Iterator[Row]:
        number, longest = 0, 16 * self._limits.text_bytes
        with self._path.open("rb") as file:
            while line := file.readline(longest + 1):
                if number == 0:
                    line = line.removeprefix(b"\xef\xbb\xbf")
                if not line.strip():
                    continue
                number += 1
                if len(line) > longest:
                    raise InvalidInput("data", f"{shown(self.name)}: row {number} is longer than {longest} bytes")
                yield _json_row(number, line)

    def _parquet(self) -> Iterator[Row]:
        import pyarrow

        number, unpacked = 0, 0
        try:
            for batch in _parquet_file(self._path, self.name).iter_batches(batch_size=BATCH):
                batch = _simple(batch)
                unpacked += batch.nbytes
                if unpacked > self._limits.dataset_bytes:
                    most = self._limits.dataset_bytes // MIB
                    raise InvalidInput(
                        "data", f"{shown(self.name)} unpacks to more than {most} MiB, which is the limit"
                    )
                for record in batch.to_pylist():
                    number += 1
                    yield Row(number, {column: _plain(cell) for column, cell in record.items()})
        except (pyarrow.ArrowInvalid, pyarrow.ArrowNotImplementedError, ValueError):
            raise InvalidInput("data", f"{shown(self.name)} cannot be read behind row {number}") from None
        except OSError as error:
            if error.errno is not None:
                raise
            raise InvalidInput("data", f"{shown(self.name)} cannot be read behind row {number}") from None


def _json_row(number: int, line: bytes) -> Row:
    try:
        record = json.loads(line)
    except UnicodeDecodeError:
        return Row(number, {}, "is not UTF-8 text")
    except (ValueError, RecursionError):
        return Row(number, {}, "is not JSON")
    if not isinstance(record, dict):
        return Row(number, {}, "expected a JSON object")
    if not all(_is_text(name) for name in record) or any(
        isinstance(v, str) and not _is_text(v) for v in record.values()
    ):
        return Row(number, {}, "holds half a surrogate pair, which is no text")
    return Row(number, {name: _plain(cell) for name, cell in record.items()})


def _parquet_file(path: Path, name: str) -> Any:
    import pyarrow
    import pyarrow.parquet

    try:
        return pyarrow.parquet.ParquetFile(path)
    except (pyarrow.ArrowInvalid, pyarrow.ArrowNotImplementedError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise InvalidInput("data", f"{shown(name)} is not a Parquet file, or it is cut off") from None


def _simple(batch: Any) -> Any:
    """Dictionaries written out, so that their size counts, and times without nanoseconds, which Python's own do not have."""
    import pyarrow

    def cast(column: Any) -> Any:
        if pyarrow.types.is_dictionary(column.type):
            return column.dictionary_decode()
        if pyarrow.types.is_timestamp(column.type) and column.type.unit == "ns":
            return column.cast(pyarrow.timestamp("us", column.type.tz), safe=False)
        if pyarrow.types.is_duration(column.type) and column.type.unit == "ns":
            return column.cast(pyarrow.duration("us"), safe=False)
        return column

    return pyarrow.record_batch([cast(column) for column in batch.columns], names=batch.schema.names)


def _plain(cell: Any) -> Cell:
    """A cell of JSON or Parquet as one of few types."""
    if isinstance(cell, dict):
        return [cell]
    if cell is None or isinstance(cell, bool | str | list):
        return cell
    if isinstance(cell, int | float | decimal.Decimal):
        try:
            return float(cell)
        except OverflowError:
            return math.inf
    if isinstance(cell, datetime.datetime | datetime.date | datetime.time):
        return cell.isoformat()
    if isinstance(cell, bytes):
        return cell.decode("utf-8", "replace")
    return str(cell)


def _delimiter(line: str) -> str:
    """The one that the first line holds most often, outside of quotation marks."""
    outside = "".join(line.split('"')[::2])
    return max(DELIMITERS, key=outside.count)


def _is_text(value: str) -> bool:
    if value.isascii():
        return True
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
