"""How names and values of users' data appear in sentences."""

from __future__ import annotations

import difflib
import math
import unicodedata
from collections.abc import Sequence

from service.errors import InvalidInput

MAX_QUOTED_CHARACTERS = 80
MAX_LISTED = 30


def has_control(name: str) -> bool:
    """Whether a name holds what no name does: control characters, ends of lines, bytes that are no text. Spaces of all sorts,
    and the joiners of Persian, Hindi and emoji, are fine."""
    return not name.isprintable() and any(
        unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in name
    )


def clean_name(name: str) -> str:
    """The name of a column: without spaces around it, composed (NFC)."""
    name = name.strip()
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def quoted(value: object) -> str:
    """A value in quotes, cut where it is long."""
    text = repr(value)
    return text if len(text) <= MAX_QUOTED_CHARACTERS else text[: MAX_QUOTED_CHARACTERS - 1] + "…"


def quoted_list(names: Sequence[str]) -> str:
    """Names, separated by commas; the first of many."""
    more = f" and {len(names) - MAX_LISTED} more" if len(names) > MAX_LISTED else ""
    return ", ".join(quoted(name) for name in names[:MAX_LISTED]) + more


def rounded_above(value: float, limit: float) -> str:
    """A figure over a limit, rounded up: it never looks like the limit itself."""
    return f"{math.ceil(value):,}" if math.ceil(value) > limit else f"more than {limit:g}"


def counted(count: int, noun: str) -> str:
    """`1 file`, `2 files`."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def no_such_column(field: str, name: str, columns: Sequence[str]) -> InvalidInput:
    """The error for a column that is not there: says which are, and which is spelled nearly so."""
    folded = {column.casefold(): column for column in columns}
    near = difflib.get_close_matches(name.casefold()[:64], folded, n=1)
    hint = f"did you mean {quoted(folded[near[0]])}? The" if near else "the"
    return InvalidInput(
        f"header.columns.{field}", f"there is no column {quoted(name)}; {hint} columns are {quoted_list(columns)}"
    )
