"""A series as plain numbers: lines of comma-separated values without a header."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from service.cli.inputs.files import open_text
from service.cli.inputs.input_source import InputSource, UnreadableInput

_LONGEST_FIRST_LINE = 1 << 16
"""Characters."""


def plain_series(name: str, text: str) -> Iterator[InputSource]:
    """The one series in a text; each line is a step. Raises UnreadableInput."""
    try:
        lines = [cells for cells in _csv_reader(text) if cells]
    except csv.Error:
        raise UnreadableInput("the file is not a table of comma-separated values") from None
    if not lines:
        raise UnreadableInput("the file is empty")
    yield InputSource(name, _numeric_columns(lines))


def has_no_header(path: Path) -> bool:
    """Whether the first line of a file holds numbers only."""
    with open_text(path) as file:
        first = file.readline(_LONGEST_FIRST_LINE).strip()
    return bool(first) and all(_number(cell) is not None for cell in next(iter(_csv_reader(first)), []))


def _csv_reader(text: str) -> Any:
    first = text.split("\n", 1)[0]
    delimiter = max(",;\t", key=first.count)  # the comma if none of them occurs
    return csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)


def _numeric_columns(lines: list[list[str]]) -> list[list[float]]:
    """The columns that hold a number in every line, (steps, channels); the first line may be a header."""
    header = all(_number(cell) is None for cell in lines[0])
    body = lines[1:] if header else lines
    width = len(lines[0])
    columns = [[_number(cells[i]) if i < len(cells) else None for cells in body] for i in range(width)]
    numeric = [column for column in columns if column and None not in column]
    if not numeric:
        raise UnreadableInput("no column of the file holds numbers only")
    return [list(step) for step in zip(*numeric, strict=True)]


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None
