"""Values as text for people, and as JSON for programs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from service.cli.rendering.console import escaped

if TYPE_CHECKING:
    from service.cli.local_catalog import LocalModel
    from service.client import ModelInfo

_ROUNDING_NOISE = 1e-12
_SMALL_BYTES = 100_000
"""Sizes below this are given in kB."""
_MINUTE, _HOUR, _DAY = 60, 3600, 86400


def format_duration(seconds: float) -> str:
    """A duration in its largest useful unit."""
    if seconds < _MINUTE:
        return f"{max(seconds, 0):.0f} s"
    for limit, size, unit in ((_HOUR, _MINUTE, "min"), (_DAY, _HOUR, "h"), (math.inf, _DAY, "d")):
        if seconds < limit:
            return f"{seconds / size:.0f} {unit}"
    raise AssertionError


def format_age(moment: datetime | None) -> str:
    """How long ago a moment was; empty if the moment is not known, for example of a damaged job."""
    if moment is None or moment.timestamp() <= 0:
        return ""
    return f"{format_duration((datetime.now(UTC) - moment).total_seconds())} ago"


def format_value(value: float) -> str:
    """A measured value with four digits; rounding noise becomes 0."""
    return "0" if abs(value) < _ROUNDING_NOISE else f"{value:.4g}"


def format_size(size: int) -> str:
    """A number of bytes in MB, or in kB if it is small."""
    return f"{size / 1e6:.1f} MB" if size >= _SMALL_BYTES or not size else f"{max(size / 1e3, 0.1):.1f} kB"


def format_count(number: int) -> str:
    """A number of parameters with a unit: 4.7 M."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.1f} {unit}"
    return str(number)


def format_option(value: object) -> str:
    """The value of an option as `zoo set` takes it."""
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)


def model_state(model: ModelInfo | LocalModel) -> str:
    """The state of a served model with its reason; of a card, whether its weights are here."""
    from service.client import ModelInfo

    if not isinstance(model, ModelInfo):
        if model.source == "bundled":
            return "ships with Zoo"
        return "downloaded" if model.downloaded else "not downloaded"
    return escaped(f"{model.state}: {model.state_reason}" if model.state_reason else model.state)


def plural(noun: str) -> str:
    """The regular plural of a noun."""
    return f"{noun}es" if noun.endswith(("s", "x", "ch", "sh")) else f"{noun}s"


def jsonable(value: Any) -> Any:
    """A value that `json` can write: dataclasses as objects, times in ISO 8601, NaN and bytes as null."""
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
