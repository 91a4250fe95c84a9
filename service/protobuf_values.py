"""Values of protobuf's well-known types as Python values, for the client and the server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from google.protobuf import struct_pb2
from google.protobuf.duration_pb2 import Duration

T = TypeVar("T")


def sorted_items(entries: Mapping[str, T]) -> list[tuple[str, T]]:
    """The entries of a map by their keys. protobuf gives them in a random order, and then the one that an error names, of several
    wrong ones, would be random too."""
    return [(key, entries[key]) for key in sorted(entries)]


def seconds(duration: Duration) -> float:
    """A Duration as seconds."""
    return duration.seconds + duration.nanos / 1e9


def struct_dict(struct: struct_pb2.Struct) -> dict[str, Any]:
    """A Struct as a dict. A Struct has no integers: 5 travels as 5.0 and becomes 5 again."""
    return {key: _plain(value) for key, value in sorted_items(struct.fields)}


def _plain(value: struct_pb2.Value) -> Any:
    match value.WhichOneof("kind"):
        case "struct_value":
            return struct_dict(value.struct_value)
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
