"""Parts of messages as plain Python: enums as words, times with a zone, numbers that JSON would call whole."""

from __future__ import annotations

import operator
from datetime import UTC, datetime
from typing import Any

from google.protobuf import struct_pb2
from google.protobuf.message import Message

from service.client.errors import BadInput


def word(enum: Any, value: int, prefix: str) -> str:
    """The enum's word without its prefix; UNKNOWN for a number that this client is too old to know."""
    return str(enum.Name(value)).removeprefix(prefix) if value in enum.values() else "UNKNOWN"


def words_of(enum: Any, prefix: str) -> list[str]:
    """All words but UNSPECIFIED."""
    return [name.removeprefix(prefix) for name, value in enum.items() if value]


def whole_number(field: str, number: Any, bits: int = 64) -> int:
    """A number that a field of so many bits takes. Raises BadInput for another."""
    try:
        whole = operator.index(number)
    except TypeError:
        raise BadInput(f"{field}: expected a whole number, got {number!r}") from None
    if whole.bit_length() >= bits:
        raise BadInput(f"{field}: expected a whole number of less than {bits} bits, got {whole}")
    return whole


def moment(message: Message, field: str) -> datetime | None:
    """A Timestamp in UTC, or None where it is not set."""
    if not message.HasField(field):
        return None
    stamp = getattr(message, field)
    return datetime.fromtimestamp(stamp.seconds + stamp.nanos / 1e9, UTC)


def plain(struct: struct_pb2.Struct) -> dict[str, Any]:
    """A Struct as a dict. It knows no integers: 5 travels as 5.0, and comes out as 5 again."""
    return {key: _plain(value) for key, value in struct.fields.items()}


def _plain(value: struct_pb2.Value) -> Any:
    match value.WhichOneof("kind"):
        case "struct_value":
            return plain(value.struct_value)
        case "list_value":
            return [_plain(inner) for inner in value.list_value.values]
        case "number_value":
            number = value.number_value
            return int(number) if number.is_integer() else number
        case "string_value":
            return value.string_value
        case "bool_value":
            return value.bool_value
        case _:
            return None


def quoted(name: object, most: int = 120) -> str:
    """A name of a file in quotation marks, shortened where somebody gave a text of another kind for it."""
    text = str(name)
    return repr(text) if len(text) <= most else f"{text[: most // 2]!r} … ({len(text):,} characters)"
