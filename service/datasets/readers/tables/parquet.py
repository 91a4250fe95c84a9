"""Reads rows of Parquet files. An unreadable column does not affect the others."""

from __future__ import annotations

import datetime
import decimal
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from service.datasets.dataset_limits import MIB, DatasetLimits
from service.datasets.formatting import clean_name, counted, quoted
from service.datasets.readers.tables.sniffing import file_looks_like_text
from service.datasets.readers.tables.table_row import Cell, TableRow
from service.errors import InvalidInput

BATCH = 1024
_INDEX = re.compile(r"__index_level_\d+__")
_EXACT = decimal.Context(prec=100)

Note = Callable[[str], None]


class ParquetTable:
    """A Parquet file. It can be read repeatedly."""

    delimiter = ""

    def __init__(self, path: Path, name: str, limits: DatasetLimits) -> None:
        self._path = path
        self._name = name
        self._limits = limits
        self._places: list[int] = []
        """Positions of the readable columns in the file."""
        self._left_out: list[str] = []
        self.unnamed: tuple[str, ...] = ()

    def header(self) -> list[str]:
        """Names of the readable columns. Raises InvalidInput for a file that is not Parquet."""
        file = self._open()
        names = [clean_name(name) for name in file.schema_arrow.names]
        self._places = self._readable(file, len(names))
        self._left_out = [name for i, name in enumerate(names) if i not in self._places]
        if names and not self._places:
            raise InvalidInput(
                "data", f"{quoted(self._name)} cannot be read: every column is damaged or of an unknown type"
            )
        found = [names[i] or f"column_{i + 1}" for i in self._places]
        self.unnamed = tuple(
            name for i, name in zip(self._places, found, strict=True) if not names[i] or _INDEX.fullmatch(name)
        )
        return found

    def rows(self, columns: tuple[str, ...], note: Note) -> Iterator[TableRow]:
        """All rows in order. Raises InvalidInput for a file that is truncated or decompresses to too much."""
        for name in self._left_out:
            note(f"column {quoted(name)} cannot be read and was left out")
        number, unpacked = 0, 0
        unreadable = dict.fromkeys(columns, 0)
        file = self._open()
        whole = len(self._places) == len(file.schema_arrow.names)
        try:
            for batch in file.iter_batches(batch_size=BATCH, columns=None if whole else self._names(file)):
                arrays = [_simple(array) for array in batch.columns]
                unpacked += sum(array.nbytes for array in arrays)
                if unpacked > self._limits.dataset_bytes:
                    most = self._limits.dataset_bytes // MIB
                    raise InvalidInput(
                        "data", f"{quoted(self._name)} unpacks to more than {most} MiB, which is the limit"
                    )
                cells = []
                for name, array in zip(columns, arrays, strict=True):
                    values, failed = _cells(array)
                    cells.append(values)
                    unreadable[name] += failed
                for row in zip(*cells, strict=True):
                    number += 1
                    yield TableRow(number, dict(zip(columns, row, strict=True)))
        except InvalidInput:
            raise
        except Exception as error:
            if not _is_of_the_data(error):
                raise
            raise InvalidInput("data", f"{quoted(self._name)} cannot be read behind row {number}") from None
        for name, failed in unreadable.items():
            if failed:
                note(f"column {quoted(name)}: {counted(failed, 'cell')} cannot be read, taken as empty")

    def _open(self) -> Any:
        import pyarrow.parquet

        try:
            return pyarrow.parquet.ParquetFile(self._path, coerce_int96_timestamp_unit="us")
        except Exception as error:
            if not _is_of_the_data(error):
                raise
            hint = "; it looks like text: call it .csv or .jsonl" if file_looks_like_text(self._path) else ""
            raise InvalidInput("data", f"{quoted(self._name)} is not a Parquet file, or it is cut off{hint}") from None

    def _names(self, file: Any) -> list[str]:
        return [file.schema_arrow.names[i] for i in self._places]

    def _readable(self, file: Any, count: int) -> list[int]:
        """Positions of the columns whose first rows can be read. Columns are tried one by one only if reading all of them
        fails."""
        places = list(range(count))
        names = file.schema_arrow.names
        if len(set(names)) < count or _reads(file, None):
            return places
        return [i for i in places if _reads(file, [names[i]])]


def _reads(file: Any, columns: list[str] | None) -> bool:
    try:
        next(file.iter_batches(batch_size=1, columns=columns), None)
    except Exception as error:
        if not _is_of_the_data(error):
            raise
        return False
    return True


def _is_of_the_data(error: Exception) -> bool:
    """Whether an error of Arrow is caused by the content of the file, and not by the disk or by memory."""
    return not isinstance(error, MemoryError) and not (isinstance(error, OSError) and error.errno is not None)


def _simple(array: Any) -> Any:
    """The array without a dictionary, so that its full size counts, and with times that Python can hold, without nanoseconds."""
    import pyarrow

    kind = array.type
    if isinstance(array, pyarrow.ExtensionArray):
        return _simple(array.storage)
    if pyarrow.types.is_dictionary(kind):
        return array.dictionary_decode()
    if pyarrow.types.is_timestamp(kind) and kind.unit == "ns":
        return array.cast(pyarrow.timestamp("us", kind.tz), safe=False)
    if pyarrow.types.is_duration(kind) and kind.unit == "ns":
        return array.cast(pyarrow.duration("us"), safe=False)
    if pyarrow.types.is_time64(kind) and kind.unit == "ns":
        return array.cast(pyarrow.time64("us"), safe=False)
    return array


def _cells(array: Any) -> tuple[list[Cell], int]:
    """The cells of one column, and the number of unreadable ones."""
    import pyarrow.types as types

    try:
        values = array.to_pylist()
    except Exception as error:
        if not _is_of_the_data(error):
            raise
        return _one_by_one(array)
    kind = array.type
    if (
        (types.is_floating(kind) and not types.is_float16(kind))
        or any(
            of(kind) for of in (types.is_integer, types.is_boolean, types.is_null, types.is_list, types.is_large_list)
        )
        or types.is_string(kind)
        or types.is_large_string(kind)
    ):
        return values, 0  # already of the types of cells
    return [_plain(value) for value in values], 0


def _one_by_one(array: Any) -> tuple[list[Cell], int]:
    """Like `_cells`, one by one. For times that Python cannot hold, such as the year 10000, Arrow's text is used."""
    import pyarrow

    texts: list[Any] = [None] * len(array)
    if pyarrow.types.is_temporal(array.type):
        try:
            kind = array.type
            naive = array.cast(pyarrow.timestamp(kind.unit)) if pyarrow.types.is_timestamp(kind) else array
            texts = naive.cast(pyarrow.string()).to_pylist()
        except Exception as error:
            if not _is_of_the_data(error):
                raise
    cells: list[Cell] = []
    failed = 0
    for scalar, text in zip(array, texts, strict=True):
        try:
            cells.append(_plain(scalar.as_py()))
        except Exception as error:
            if not _is_of_the_data(error):
                raise
            written = text is not None and "out of range" not in text
            cells.append(re.sub(r"\.0+$", "", text) if written else None)
            failed += not written
    return cells, failed


def _plain(cell: Any) -> Cell:
    """A cell of any type as one of the types of `Cell`."""
    if cell is None or isinstance(cell, bool | int | float | str):
        return cell
    if isinstance(cell, decimal.Decimal):
        return _of_decimal(cell)
    if isinstance(cell, datetime.datetime | datetime.date | datetime.time):
        return cell.isoformat()
    if isinstance(cell, bytes):
        try:
            return cell.decode("utf-8")
        except UnicodeDecodeError:
            return [cell]  # bytes that are not UTF-8
    if isinstance(cell, list | dict | tuple):
        return [cell] if isinstance(cell, dict) else list(cell)
    return str(cell)


def _of_decimal(cell: decimal.Decimal) -> Cell:
    """The exact value: a whole number, a double with the same digits, or else the decimal itself."""
    if not cell.is_finite():
        return float(cell)
    if cell == cell.to_integral_value(context=_EXACT):
        return int(cell)
    return float(cell) if decimal.Decimal(repr(float(cell))) == cell else cell
