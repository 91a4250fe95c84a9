"""Values as words for people, and as JSON for programs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from datetime import UTC, datetime
from typing import Any

_NOISE = 1e-12
_MINUTE, _HOUR, _DAY = 60, 3600, 86400


def format_duration(seconds: float) -> str:
    """A stretch of time, as short as it is still useful."""
    if seconds < _MINUTE:
        return f"{max(seconds, 0):.0f} s"
    for limit, size, unit in ((_HOUR, _MINUTE, "min"), (_DAY, _HOUR, "h"), (math.inf, _DAY, "d")):
        if seconds < limit:
            return f"{seconds / size:.0f} {unit}"
    raise AssertionError


def format_age(moment: datetime | None) -> str:
    """How long something is past; empty where nobody knows, as of an entry that is damaged."""
    if moment is None or moment.timestamp() <= 0:
        return ""
    return f"{format_duration((datetime.now(UTC) - moment).total_seconds())} ago"


def format_value(value: float) -> str:
    """A measured value in four digits; what is but rounding noise is 0."""
    return "0" if abs(value) < _NOISE else f"{value:.4g}"


def jsonable(value: Any) -> Any:
    """What `json` can write: dataclasses as objects, times in ISO 8601, NaN and bytes as null."""
    if is_dataclass(value) and not isinstance(value, type):
        return jsonable(asdict(value))
    if isinstance(value, Mapping):
        return {str(key): jsonable(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(inner) for inner in value]
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, bytes) or (isinstance(value, float) and not math.isfinite(value)):
        return None
    return value
