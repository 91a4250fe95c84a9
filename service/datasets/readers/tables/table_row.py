"""One row of a table, as its file holds it."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

Cell = float | int | Decimal | str | bool | list[Any] | None
"""Of CSV always a text. A list only of JSONL and Parquet, where an object and bytes that are no text count as one, too; whole
numbers of these are exact, and decimals that a double does not hold."""


@dataclass(slots=True)
class TableRow:
    """One row: its cells by column, or what is wrong with it."""

    number: int
    """The first below the header is 1."""
    cells: dict[str, Cell]
    problem: str = ""
    line: int = 0
    """The last line of the file that belongs to it, from 1; 0 where the file has no lines, or each is a row."""


def is_valid_text(value: str) -> bool:
    """Whether a text is one that UTF-8 can write: bytes that were none, and halves of surrogate pairs, are not."""
    if value.isascii():
        return True
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
