"""Rows, series and records on the command line of `zoo predict`: JSON as it stands there, or files of many.

A row model takes `'{"area": 70}'`, a `.csv` with a header, a `.jsonl` with an object a line, or a `.json` with one object or an
array of them; `-` is JSON Lines on stdin. Cells of a `.csv` are sent as texts: the model knows which of its columns are
numbers. A record names its picture in the column `image`, or in the only one that holds a name as pictures have, as a path from
where the file lies. Columns of the training table that are no inputs, such as the target, are left out with a remark.

A series model takes `'[1, 2, 3]'`, a `.json`, a `.jsonl` with a series a line, or a `.csv` with a step a line and a column for
each channel, columns that hold something else than numbers left out; `-` is one number a line on stdin.
"""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from service.cli.console import remark
from service.cli.sources import PICTURES, STDIN, Source

if TYPE_CHECKING:
    from service.client import ModelInfo

IMAGE = "image"
_SHOWN = 8
"""Columns that a sentence names."""


class _Unreadable(Exception):
    """One sentence for people."""


class Known:
    """The columns that a model knows of."""

    def __init__(self, model: ModelInfo, version: str) -> None:
        self._inputs = [column.name for column in model.columns]
        self._no_inputs = {model.target_column, *model.ignored_columns} - {""}
        self._exact = bool(self._inputs) and not version  # another version may know others
        self._target, self._told = model.target_column, set[str]()

    def check(self, header: Sequence[str]) -> None:
        """Raises _Unreadable for a table with a column that the model does not know: once, rather than for every row."""
        strange = [name for name in header if name not in self._inputs and name not in self._no_inputs]
        if self._exact and strange:
            takes = ", ".join(map(repr, self._inputs[:_SHOWN])) + (" …" if len(self._inputs) > _SHOWN else "")
            raise _Unreadable(f"the model has no column {strange[0]!r}; it takes {takes}")

    def inputs_of(self, row: dict[str, Any]) -> dict[str, Any]:
        """A row without what is no input. The first time, a remark tells of it."""
        for name in sorted((self._no_inputs & row.keys()) - self._told):
            self._told.add(name)
            why = "is what the model tells" if name == self._target else "was ignored when the model was trained"
            remark(f"column {name!r} {why}; it is left out")
        return {name: cell for name, cell in row.items() if name not in self._no_inputs}


def structured(argument: str, raw_input: str, known: Known) -> Iterator[Source]:
    """The inputs in one argument, for a model that takes `row`, `series` or `record`."""
    try:
        if argument.lstrip()[:1] in ("{", "["):
            yield _of_json(argument, _parsed(argument), raw_input, Path(), known)
        elif argument == STDIN:
            yield from _of_stdin(raw_input, known)
        else:
            yield from _of_file(Path(argument), raw_input, known)
    except _Unreadable as error:
        yield Source(argument, problem=str(error))


def _of_stdin(raw_input: str, known: Known) -> Iterator[Source]:
    if raw_input == "series":
        yield from _of_csv(STDIN, _decoded(sys.stdin.buffer.read()), raw_input, Path(), known)
    else:
        yield from _of_lines(STDIN, map(_decoded, sys.stdin.buffer), raw_input, Path(), known)


def _of_file(path: Path, raw_input: str, known: Known) -> Iterator[Source]:
    if raw_input == "record" and path.suffix.lower() in PICTURES:
        raise _Unreadable(
            f'takes a picture with its columns: expected {{"{IMAGE}": "{path.name}", "COLUMN": value}} or a .csv'
        )
    try:
        text = _decoded(path.read_bytes())
    except OSError as error:
        raise _Unreadable((error.strerror or type(error).__name__).lower()) from None
    match path.suffix.lower():
        case ".csv" | ".tsv" | ".txt":
            yield from _of_csv(str(path), text, raw_input, path.parent, known)
        case ".jsonl" | ".ndjson":
            yield from _of_lines(str(path), text.splitlines(), raw_input, path.parent, known)
        case ".json":
            document = _parsed(text)
            many = isinstance(document, list) and raw_input != "series"
            for i, part in enumerate(document if many else [document]):
                yield _of_json(f"{path}:{i + 1}" if many else str(path), part, raw_input, path.parent, known)
        case _:
            raise _Unreadable(f"expected JSON or a file of .csv, .jsonl or .json, to make a {raw_input} of")


def _of_lines(name: str, lines: Iterable[str], raw_input: str, folder: Path, known: Known) -> Iterator[Source]:
    for i, line in enumerate(lines, start=1):
        if line.strip():
            try:
                yield _of_json(f"{name}:{i}", _parsed(line), raw_input, folder, known)
            except _Unreadable as error:
                yield Source(f"{name}:{i}", problem=str(error))


def _of_json(name: str, document: Any, raw_input: str, folder: Path, known: Known) -> Source:
    if raw_input == "series":
        return (
            Source(name, document)
            if isinstance(document, list)
            else Source(name, problem="expected an array of numbers")
        )
    if not isinstance(document, dict):
        return Source(name, problem="expected an object with a value for each column")
    return _record(name, document, folder, known) if raw_input == "record" else Source(name, known.inputs_of(document))


def _record(name: str, cells: dict[str, Any], folder: Path, known: Known) -> Source:
    """`{"image": path, "row": {…}}`, or all in one object. A column of another name will do if it alone names a picture."""
    named = [key for key, cell in cells.items() if isinstance(cell, str) and Path(cell).suffix.lower() in PICTURES]
    key = IMAGE if IMAGE in cells else named[0] if len(named) == 1 else IMAGE
    image = cells.get(key)
    if not isinstance(image, str) or not image:
        return Source(name, problem=f"names no picture: expected its path as {IMAGE!r}")
    row = cells.get("row")
    if not isinstance(row, dict):
        row = {column: cell for column, cell in cells.items() if column != key}
    return Source(name, {IMAGE: folder / image, "row": known.inputs_of(row)})


def _of_csv(name: str, text: str, raw_input: str, folder: Path, known: Known) -> Iterator[Source]:
    try:
        lines = [(reader.line_num, cells) for reader in [_reader(text)] for cells in reader if cells]
    except csv.Error:
        raise _Unreadable("the file is no table of comma-separated values") from None
    if not lines:
        raise _Unreadable("the file is empty")
    if raw_input == "series":
        yield Source(name, _series([cells for _, cells in lines]))
        return
    header = lines[0][1]
    if len(set(header)) < len(header):
        raise _Unreadable("two columns of the file have the same name")
    if raw_input == "row":
        known.check(header)
    for number, cells in lines[1:]:
        at = f"{name}:{number}"
        if len(cells) != len(header):
            yield Source(at, problem=f"expected {len(header)} cells as the header has, got {len(cells)}")
            continue
        row = {column: cell or None for column, cell in zip(header, cells, strict=True)}
        yield _record(at, row, folder, known) if raw_input == "record" else Source(at, known.inputs_of(row))


def _reader(text: str) -> Any:
    first = text.split("\n", 1)[0]
    delimiter = max(",;\t", key=first.count)  # the comma where none is there
    return csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)


def _series(lines: list[list[str]]) -> list[list[float]]:
    """Columns that hold a number in every line; the first line may be a header."""
    header = all(_number(cell) is None for cell in lines[0])
    body = lines[1:] if header else lines
    width = len(lines[0])
    columns = [[_number(cells[i]) if i < len(cells) else None for cells in body] for i in range(width)]
    kept = [column for column in columns if column and None not in column]
    if not kept:
        raise _Unreadable("no column of the file holds numbers alone")
    return [list(step) for step in zip(*kept, strict=True)]


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None


def _decoded(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _Unreadable(f"expected UTF-8, got a byte that is not at position {error.start}") from None


def _parsed(text: str) -> Any:
    try:
        return json.loads(text, parse_int=float)
    except (ValueError, RecursionError):
        raise _Unreadable("is not valid JSON") from None
