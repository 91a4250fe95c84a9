"""Values of protobuf's well-known types as Python values, for the client and the server."""

from __future__ import annotations

from typing import Any

from google.protobuf import struct_pb2
from google.protobuf.duration_pb2 import Duration


def seconds(duration: Duration) -> float:
    """A Duration as seconds."""
    return duration.seconds + duration.nanos / 1e9


def struct_dict(struct: struct_pb2.Struct) -> dict[str, Any]:
    """A Struct as a dict. A Struct has no integers: 5 travels as 5.0 and becomes 5 again."""
    return {key: _plain(value) for key, value in struct.fields.items()}


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
