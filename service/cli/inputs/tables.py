"""Rows, series and records on the command line of `zoo predict`: JSON as it stands there, or files of many.

A row model takes `'{"area": 70}'`, a table (`.csv`, `.tsv`, `.jsonl`, `.parquet`), or a `.json` with one object or an array of
them; `-` is JSON Lines on stdin. Tables are read by the code that reads them when they are uploaded. Cells of a `.csv` are sent
as texts: the model knows which of its columns are numbers, and how those are written. A record names its picture in the column
that it had in training, in the column `image`, or in the only one that holds a name as pictures have, as a path from where the
file lies. Columns of the training table that are no inputs, such as the target, are left out with a remark.

A series model takes `'[1, 2, 3]'`, a `.json`, a `.jsonl` with a series a line, or a table as it takes for training: each series
in it is forecast. Tables without a header hold a step a line; `-` is one number a line on stdin.
"""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from service.cli.inputs.files import content, opened, opened_text
from service.cli.inputs.known_columns import Known, Unreadable
from service.cli.inputs.sources import (
    ARCHIVES,
    PICTURES,
    STDIN,
    TABLES,
    Source,
    unpacked,
    what_is,
)

IMAGE = "image"
_EXACT = 2**53
_TABLES = TABLES | {".txt"}


def structured(argument: str, raw_input: str, known: Known) -> Iterator[Source]:
    """The inputs in one argument, for a model that takes `row`, `series` or `record`."""
    try:
        if argument.lstrip()[:1] in ("{", "["):
            yield _of_json(argument, _parsed(argument), raw_input, Path(), known)
        elif argument == STDIN:
            yield from _of_stdin(raw_input, known)
        else:
            yield from _of_path(argument, raw_input, known)
    except Unreadable as error:
        yield Source(argument, problem=str(error))


def _of_stdin(raw_input: str, known: Known) -> Iterator[Source]:
    if raw_input == "series":
        yield from _of_csv(STDIN, _decoded(sys.stdin.buffer.read()))
    else:
        yield from _of_lines(STDIN, map(_decoded, sys.stdin.buffer), raw_input, Path(), known)


def _of_path(argument: str, raw_input: str, known: Known) -> Iterator[Source]:
    """A file, or the only table in a folder or an archive."""
    path, found = Path(argument), what_is(argument)
    if not found and "://" in argument:
        raise Unreadable("is a URL; download it, and give the file")
    packed = found == "file" and path.name.lower().endswith(ARCHIVES)
    if found != "folder" and not packed:
        yield from _of_file(path, raw_input, known)
        return
    folder = unpacked(path) if packed else path
    tables = sorted(p for p in folder.rglob("*") if p.suffix.lower() in TABLES and not p.name.startswith("."))
    if len(tables) != 1:
        here = "holds several tables; give one of them" if tables else "holds no table"
        raise Unreadable(here if packed or tables else "is a directory")
    yield from of_table(tables[0], str(path / tables[0].relative_to(folder)), raw_input, known)


def _of_file(path: Path, raw_input: str, known: Known) -> Iterator[Source]:
    suffix = path.suffix.lower()
    if raw_input == "record" and suffix in PICTURES:
        raise Unreadable(
            f'takes a picture with its columns: expected {{"{IMAGE}": "{path.name}", "COLUMN": value}} or a .csv'
        )
    if suffix == ".json":
        document = _parsed(_decoded(content(path)))
        many = isinstance(document, list) and raw_input != "series"
        for i, part in enumerate(document if many else [document]):
            yield _of_json(f"{path}:{i + 1}" if many else str(path), part, raw_input, path.parent, known)
    elif suffix not in _TABLES:
        content(path)  # what is not there is said first
        raise Unreadable(f"expected JSON or a file of .csv, .jsonl or .json, to make a {raw_input} of")
    elif raw_input == "series" and suffix in (".jsonl", ".ndjson") and _begins_with_list(path):
        yield from _of_lines(str(path), _decoded(content(path)).splitlines(), raw_input, path.parent, known)
    elif raw_input == "series" and suffix in (".csv", ".tsv", ".txt") and _has_no_header(path):
        yield from _of_csv(str(path), _decoded(content(path)))
    else:
        yield from of_table(path, str(path), raw_input, known)


def of_table(path: Path, name: str, raw_input: str, known: Known) -> Iterator[Source]:
    """The inputs in a table that lies at `path` and is called `name`. Raises Unreadable."""
    if raw_input == "series":
        yield from _series_of_table(path, name, known)
        return
    with opened(path, name) as table:
        if table.name.lower().endswith((".csv", ".tsv", ".txt", ".parquet")) and raw_input == "row":
            known.check(table.columns)
        image = known.role("image", table.columns)
        for row in table.rows():
            at = f"{name}:{row.line or row.number}"
            if row.problem:
                yield Source(at, problem=row.problem)
                continue
            cells = {column: _sendable(cell) for column, cell in row.cells.items()}
            try:
                if raw_input == "record":
                    yield _record(at, cells, path.parent, known, image)
                else:
                    yield Source(at, known.inputs_of(cells))
            except Unreadable as error:
                yield Source(at, problem=str(error))


def _series_of_table(path: Path, name: str, known: Known) -> Iterator[Source]:
    from service.cli.rendering.console import print_note
    from service.datasets.dataset import Columns
    from service.datasets.dataset_limits import DatasetLimits
    from service.datasets.readers.time_series.series_columns import NoNumberColumn, open_series

    with opened(path, name) as table:
        columns = Columns(time=known.role("time", table.columns), series=known.role("series", table.columns))
        try:
            reader = open_series(table, columns, known.channels(table.columns), DatasetLimits())
        except NoNumberColumn:
            raise Unreadable("no column of the file holds numbers alone") from None
        found = False
        skipped = 0

        def skip(_file: str, row: int, reason: str, _count: int = 1, *, example: bool = True) -> None:
            nonlocal skipped
            skipped += 1
            if skipped <= _TOLD:
                print_note(f"{name}, row {row} is left out: {reason}")

        for series in reader.named(skip, print_note):
            found = True
            yield Source(f"{name}:{series.name}" if series.name else name, series.values.tolist())
        if skipped > _TOLD:
            print_note(f"and {skipped - _TOLD} rows more")
        if not found:
            raise Unreadable("the file holds no series that can be read")


_TOLD = 5
"""Rows that are left out, and named."""


def _begins_with_list(path: Path) -> bool:
    with opened_text(path) as file:
        return next((line for line in file if line.strip()), "").lstrip()[:1] == "["


def _has_no_header(path: Path) -> bool:
    """Whether the first line holds numbers alone, as those below it do."""
    with opened_text(path) as file:
        first = file.readline(1 << 16).strip()
    return bool(first) and all(_number(cell) is not None for cell in next(iter(_reader(first)), []))


def _sendable(cell: Any) -> Any:
    """A cell as a call takes it: what a double does not hold goes as its digits, and an empty text is no cell."""
    if isinstance(cell, str):
        return cell or None
    if isinstance(cell, list) and len(cell) == 1 and isinstance(cell[0], dict):
        return cell[0]  # as the reader of tables gives an object
    if isinstance(cell, bool | float | list):
        return cell
    if isinstance(cell, int):
        return cell if abs(cell) < _EXACT else str(cell)
    return cell if cell is None else str(cell)


def _of_lines(name: str, lines: Iterable[str], raw_input: str, folder: Path, known: Known) -> Iterator[Source]:
    for i, line in enumerate(lines, start=1):
        if line.strip():
            try:
                yield _of_json(f"{name}:{i}", _parsed(line), raw_input, folder, known)
            except Unreadable as error:
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


def _record(name: str, cells: dict[str, Any], folder: Path, known: Known, column: str = "") -> Source:
    """`{"image": path, "row": {…}}`, or all in one object. A column of another name will do if it alone names a picture.

    `column`: the one of the picture, where that is known.
    """
    named = [key for key, cell in cells.items() if isinstance(cell, str) and Path(cell).suffix.lower() in PICTURES]
    key = column or known.role("image", tuple(cells)) or (IMAGE if IMAGE in cells else "")
    key = key or (named[0] if len(named) == 1 else IMAGE)
    image = cells.get(key)
    if not isinstance(image, str) or not image:
        return Source(name, problem=f"names no picture: expected its path as {IMAGE!r}")
    row = cells.get("row")
    if not isinstance(row, dict):
        row = {column: cell for column, cell in cells.items() if column != key}
    return Source(name, {IMAGE: folder / image.strip(), "row": known.inputs_of(row)})


def _of_csv(name: str, text: str) -> Iterator[Source]:
    """A series without a header."""
    try:
        lines = [cells for cells in _reader(text) if cells]
    except csv.Error:
        raise Unreadable("the file is no table of comma-separated values") from None
    if not lines:
        raise Unreadable("the file is empty")
    yield Source(name, _series(lines))


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
        raise Unreadable("no column of the file holds numbers alone")
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
        raise Unreadable(f"expected UTF-8, got a byte that is not at position {error.start}") from None


def _parsed(text: str) -> Any:
    try:
        return json.loads(text, parse_int=float)
    except (ValueError, RecursionError):
        raise Unreadable("is not valid JSON") from None
