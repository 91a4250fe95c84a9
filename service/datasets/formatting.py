"""Formats names and values of users' data for error messages and reports."""

from __future__ import annotations

import difflib
import math
import unicodedata
from collections.abc import Sequence

from service.errors import InvalidInput

MAX_QUOTED_CHARACTERS = 80
MAX_LISTED = 30


def has_control(name: str) -> bool:
    """Whether a name holds a control character, a line end or a surrogate. Any kind of space, and the joiners of Persian, Hindi
    and emoji, are allowed."""
    return not name.isprintable() and any(
        unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in name
    )


def clean_name(name: str) -> str:
    """The name of a column without surrounding spaces, composed (NFC)."""
    name = name.strip()
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def quoted(value: object) -> str:
    """A value in quotes, truncated if it is long."""
    text = repr(value)
    return text if len(text) <= MAX_QUOTED_CHARACTERS else text[: MAX_QUOTED_CHARACTERS - 1] + "…"


def quoted_list(names: Sequence[str]) -> str:
    """Names in quotes, separated by commas; only the first ones of a long list."""
    more = f" and {len(names) - MAX_LISTED} more" if len(names) > MAX_LISTED else ""
    return ", ".join(quoted(name) for name in names[:MAX_LISTED]) + more


def rounded_above(value: float, limit: float) -> str:
    """A number over a limit, rounded up, so that it never looks like the limit itself."""
    return f"{math.ceil(value):,}" if math.ceil(value) > limit else f"more than {limit:g}"


def counted(count: int, noun: str) -> str:
    """`1 file`, `2 files`."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def no_such_column(field: str, name: str, columns: Sequence[str]) -> InvalidInput:
    """The error for a missing column: it lists the columns and suggests one with a similar name."""
    folded = {column.casefold(): column for column in columns}
    near = difflib.get_close_matches(name.casefold()[:64], folded, n=1)
    hint = f"did you mean {quoted(folded[near[0]])}? The" if near else "the"
    return InvalidInput(
        f"header.columns.{field}", f"there is no column {quoted(name)}; {hint} columns are {quoted_list(columns)}"
    )
