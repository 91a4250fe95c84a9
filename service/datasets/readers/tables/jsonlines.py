"""Reads rows of JSON Lines: one object on each line."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from service.datasets.dataset_limits import DatasetLimits
from service.datasets.formatting import clean_name, quoted
from service.datasets.readers.tables.table_row import Cell, TableRow, is_valid_text
from service.errors import InvalidInput

LOOKED_AT = 1024
"""Rows whose names are the columns, since JSON has no header."""


class JsonLinesFile:
    """A file of objects. It can be read repeatedly."""

    delimiter = ""

    def __init__(self, path: Path, name: str, limits: DatasetLimits) -> None:
        self._path = path
        self._name = name
        self._limits = limits
        self.unnamed: tuple[str, ...] = ()

    def header(self) -> list[str]:
        """The names in the first rows, in the order of appearance. Raises InvalidInput if there are none."""
        names: dict[str, None] = {}
        problem = ""
        for row in self.rows((), lambda sentence: None):
            names.update(dict.fromkeys(row.cells))
            problem = problem or (row.problem and f"; row {row.number} {row.problem}")
            if row.number >= LOOKED_AT or len(names) > self._limits.columns:
                break
        if not names:
            raise InvalidInput(
                "data", f"{quoted(self._name)}: expected one JSON object on each line, got none{problem}"
            )
        self.unnamed = tuple(name for name in names if not name)
        return list(names)

    def rows(self, columns: tuple[str, ...], note: Callable[[str], None]) -> Iterator[TableRow]:
        """All rows in order; `note` gets warnings about names that first appear later. Raises InvalidInput for a line that is
        too long."""
        number, at, longest = 0, 0, 16 * self._limits.text_bytes
        known, late = frozenset(columns), dict[str, int]()
        cleaned = _Cleaned()
        with self._path.open("rb") as file:
            while line := file.readline(longest + 1):
                at += 1
                if number == 0:
                    line = line.removeprefix(b"\xef\xbb\xbf")
                if not line.strip():
                    continue
                number += 1
                if len(line) > longest:
                    raise InvalidInput("data", f"{quoted(self._name)}: row {number} is longer than {longest} bytes")
                row = _row(number, line, cleaned)
                if known and not row.cells.keys() <= known and len(late) < self._limits.columns:
                    for name in row.cells.keys() - known:
                        late.setdefault(name, number)
                row.line = at
                yield row
        for name, first in sorted(late.items()):
            note(
                f"column {quoted(name)} comes first in row {first} and was left out; name every column in one of the first"
                f" {LOOKED_AT} rows"
            )


class _Cleaned(dict[str, str]):
    """A cache: original names of columns → normalised names."""

    def __missing__(self, name: str) -> str:
        cleaned = clean_name(name)
        if len(self) < LOOKED_AT:
            self[name] = cleaned
        return cleaned


class _TwiceNamed(ValueError):
    """An object has two members of the same name."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _TwiceNamed
    return found


_DECODER = json.JSONDecoder(object_pairs_hook=_once)


def _holds_nul(value: Any) -> bool:
    if isinstance(value, dict):
        return any(_holds_nul(inner) for pair in value.items() for inner in pair)
    if isinstance(value, list):
        return any(map(_holds_nul, value))
    return isinstance(value, str) and "\0" in value


def _row(number: int, line: bytes, cleaned: _Cleaned) -> TableRow:
    try:
        record = _DECODER.decode(line.decode())
    except _TwiceNamed:
        return TableRow(number, {}, "names a column twice")
    except UnicodeDecodeError:
        return TableRow(number, {}, "is not UTF-8 text")
    except (ValueError, RecursionError):
        return TableRow(number, {}, "is not JSON")
    if not isinstance(record, dict):
        return TableRow(number, {}, "expected a JSON object")
    if not all(is_valid_text(name) for name in record) or any(
        isinstance(v, str) and not is_valid_text(v) for v in record.values()
    ):
        return TableRow(number, {}, "holds half a surrogate pair, which is no text")
    if b"\\u0000" in line and _holds_nul(record):
        return TableRow(number, {}, "holds NUL characters, which no text does")
    cells: dict[str, Cell] = {cleaned[name]: [cell] if type(cell) is dict else cell for name, cell in record.items()}
    if len(cells) != len(record):
        return TableRow(number, {}, "names a column twice")
    return TableRow(number, cells)
