"""Fields of messages as plain Python values, and the reverse: enums as words, times with a zone, checked numbers and texts."""

from __future__ import annotations

import operator
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, ParamSpec, TypeVar

from google.protobuf.message import Message

from service.client.errors import BadInput

P = ParamSpec("P")
M = TypeVar("M")


def build(make: Callable[P, M], *args: P.args, **kwargs: P.kwargs) -> M:
    """The message that `make` returns, a message class or a function. Raises BadInput for a text that is not valid Unicode."""
    try:
        return make(*args, **kwargs)
    except UnicodeEncodeError as error:
        raise BadInput(f"{error.object[:64]!r} holds lone surrogates, so it is not valid Unicode") from None


def enum_word(enum: Any, value: int, prefix: str) -> str:
    """The name of an enum's value without its prefix. UNKNOWN for a value that a newer server added."""
    return str(enum.Name(value)).removeprefix(prefix) if value in enum.values() else "UNKNOWN"


def enum_words(enum: Any, prefix: str) -> list[str]:
    """All names of an enum without their prefix, except UNSPECIFIED."""
    return [name.removeprefix(prefix) for name, value in enum.items() if value]


def enum_value(enum: Any, prefix: str, word: str, field: str, also: str = "") -> Any:
    """The number of a word; UNSPECIFIED for an empty word and for `also`. Raises BadInput for an unknown word."""
    if word in ("", also):
        return 0
    try:
        return enum.Value(prefix + word.upper())
    except ValueError:
        known = ", ".join(filter(None, (also, *(name.lower() for name in enum_words(enum, prefix)))))
        raise BadInput(f"{field}: expected one of {known}, got {word!r}") from None


def whole_number(field: str, number: Any, bits: int = 64) -> int:
    """A number that fits into a field of that many bits. Raises BadInput for another."""
    try:
        whole = operator.index(number)
    except TypeError:
        raise BadInput(f"{field}: expected a whole number, got {number!r}") from None
    if whole.bit_length() >= bits:
        raise BadInput(f"{field}: expected a whole number of less than {bits} bits, got {whole}")
    return whole


def utc_time(message: Message, field: str) -> datetime | None:
    """A Timestamp in UTC, or None if the field is not set."""
    if not message.HasField(field):
        return None
    stamp = getattr(message, field)
    return datetime.fromtimestamp(stamp.seconds + stamp.nanos / 1e9, UTC)


def quoted(name: object, longest: int = 120) -> str:
    """A file name in quotation marks, shortened if it is too long for a message."""
    text = str(name)
    return repr(text) if len(text) <= longest else f"{text[: longest // 2]!r} … ({len(text):,} characters)"
