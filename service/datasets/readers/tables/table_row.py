"""One row of a table."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

Cell = float | int | Decimal | str | bool | list[Any] | None
"""Always a text in CSV. Only JSONL and Parquet have lists; an object, and bytes that are not UTF-8, count as one. Whole numbers
of these formats are exact, and so are decimals that a double cannot hold."""


@dataclass(slots=True)
class TableRow:
    """One row: its cells by column, or what is wrong with it."""

    number: int
    """The first row below the header is 1."""
    cells: dict[str, Cell]
    problem: str = ""
    line: int = 0
    """The last line of the row in the file, from 1; 0 for formats in which lines do not matter."""


def is_valid_text(value: str) -> bool:
    """Whether a text can be encoded in UTF-8: it has no invalid bytes and no halves of surrogate pairs."""
    if value.isascii():
        return True
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
