"""Times, durations and structs ↔ messages."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from google.protobuf import struct_pb2
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp


def duration(seconds: float) -> Duration:
    """Seconds as a message."""
    message = Duration()
    message.FromNanoseconds(int(seconds * 1e9))
    return message


def timestamp(moment: datetime | float | None) -> Timestamp | None:
    """A moment with a zone, or seconds since 1970, as a message; None for None."""
    if moment is None:
        return None
    message = Timestamp()
    if isinstance(moment, datetime):
        message.FromDatetime(moment)
    else:
        message.FromNanoseconds(int(moment * 1e9))
    return message


def struct(values: Mapping[str, Any]) -> struct_pb2.Struct:
    """A JSON object as a message. Numbers that JSON cannot express (NaN) become null."""
    message = struct_pb2.Struct()
    message.update({key: _sendable(value) for key, value in values.items()})
    return message


def _sendable(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _sendable(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_sendable(inner) for inner in value]
    if isinstance(value, float) and value - value != 0.0:  # NaN and the infinities, which JSON cannot express
        return None
    return value if isinstance(value, str | int | float | bool | None) else str(value)
