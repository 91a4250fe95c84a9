"""Times, durations and structs as messages."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from google.protobuf import struct_pb2
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp


def duration(seconds: float) -> Duration:
    """Seconds as a message."""
    made = Duration()
    made.FromNanoseconds(int(seconds * 1e9))
    return made


def timestamp(moment: datetime | float | None) -> Timestamp | None:
    """A moment with a zone, or seconds since 1970, as a message; None where there is none."""
    if moment is None:
        return None
    made = Timestamp()
    if isinstance(moment, datetime):
        made.FromDatetime(moment)
    else:
        made.FromNanoseconds(int(moment * 1e9))
    return made


def struct(values: Mapping[str, Any]) -> struct_pb2.Struct:
    """A JSON object as a message. Numbers that JSON does not know (NaN) become null."""
    made = struct_pb2.Struct()
    made.update({key: _sendable(value) for key, value in values.items()})
    return made


def _sendable(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _sendable(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_sendable(inner) for inner in value]
    if isinstance(value, float) and value - value != 0.0:  # NaN and the infinities, which JSON cannot say
        return None
    return value if isinstance(value, str | int | float | bool | None) else str(value)
