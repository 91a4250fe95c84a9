"""Triton's extension `trace`: which requests are traced, read and changed while the server runs, for all models or for one."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from service.errors import IllegalMove, InvalidInput
from service.observability.tracing.trace_settings import UNLIMITED, TraceChanges, TracePolicy, TraceSettings
from service.pb import open_inference_pb2 as pb

Number = TypeVar("Number", int, float)

LEVEL, RATE, RATIO, COUNT = "trace_level", "trace_rate", "trace_ratio", "trace_count"
FIXED: Mapping[str, str] = {"trace_mode": "opentelemetry", "trace_file": "", "log_frequency": "0"}
"""Settings that are what they are: a client may send the value that they have."""
LARGEST = 2**31 - 1
"""Of a rate or count."""
ON, OFF = "TIMESTAMPS", "OFF"
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]+)?|-?\.[0-9]+([eE][+-]?[0-9]+)?")


def trace_settings(policy: TracePolicy | None) -> pb.TraceSettingResponse:
    """The settings in effect as Triton names them, and `trace_ratio`, which is exact. None: the server has no collector."""
    on, ratio, count = False, 0.0, UNLIMITED
    if policy is not None:
        on, ratio, count = policy.on, policy.ratio, policy.remaining.count
    shown = {
        LEVEL: ON if on else OFF,
        RATE: str(round(min(1 / ratio, LARGEST))) if ratio else "0",
        RATIO: repr(ratio),
        COUNT: str(count),
        **FIXED,
    }
    response = pb.TraceSettingResponse()
    for name, value in shown.items():
        response.settings[name].value.append(value)
    return response


def update_trace_settings(settings: TraceSettings | None, request: pb.TraceSettingRequest) -> None:
    """Makes the changes of a request; a setting without a value returns to that of all models, or to that of the start.

    Raises InvalidInput, or IllegalMove where the server has no collector; nothing is changed then.
    """
    if not request.settings:
        return
    changes, cleared = _changes({name: tuple(value.value) for name, value in request.settings.items()})
    if settings is None:
        raise IllegalMove(
            "nothing is traced: the server was started without ZOO_OTLP_ENDPOINT, its collector of traces"
        )
    settings.update(request.model_name, changes, cleared)


def _changes(given: Mapping[str, Sequence[str]]) -> tuple[TraceChanges, tuple[str, ...]]:
    on: bool | None = None
    count: int | None = None
    ratios: dict[str, float] = {}
    cleared: list[str] = []
    for name in sorted(given):
        values = given[name]
        if name in FIXED:
            _check_fixed(name, values)
        elif name not in _NAMES:
            known = ", ".join((*_NAMES, *FIXED))
            raise InvalidInput("settings", f"unknown setting {name[:64]!r}; known are {known}")
        elif not values:
            cleared.append(_NAMES[name])
        elif name == LEVEL:
            on = _level(values)
        elif name == COUNT:
            count = _one(name, values, int, f"-1 for no limit, or a number up to {LARGEST}", UNLIMITED, LARGEST)
        elif name == RATE:
            rate = _one(name, values, int, f"a number of requests from 0 to {LARGEST}", 0, LARGEST)
            ratios[name] = 1 / rate if rate else 0.0
        else:
            ratios[name] = _one(name, values, float, "a number from 0 to 1", 0, 1)
    if len(ratios) > 1:
        raise InvalidInput("settings", f"expected {RATE} or {RATIO}, which say the same, got both")
    return TraceChanges(on, next(iter(ratios.values()), None), count), tuple(cleared)


_NAMES = {LEVEL: "on", RATE: "ratio", RATIO: "ratio", COUNT: "count"}
"""Triton's name → the setting's."""


def _level(values: Sequence[str]) -> bool:
    if list(values) in ([ON], [OFF]):
        return values[0] == ON
    if "TENSORS" in values:
        raise InvalidInput(_path(LEVEL), "tensors are not traced: a trace has no payloads; expected TIMESTAMPS or OFF")
    raise InvalidInput(_path(LEVEL), f"expected TIMESTAMPS or OFF, got {_shown(values)}")


def _one(
    name: str, values: Sequence[str], read: Callable[[str], Number], expected: str, least: float, most: float
) -> Number:
    problem = f"expected {expected}, got {_shown(values)}"
    # Python reads more as a number: `1_000`, spaces around it, digits of all scripts.
    if len(values) != 1 or len(values[0]) > 32 or not _NUMBER.fullmatch(values[0]):
        raise InvalidInput(_path(name), problem)
    try:
        number = read(values[0])
    except ValueError:
        raise InvalidInput(_path(name), problem) from None
    if not least <= number <= most:  # NaN neither
        raise InvalidInput(_path(name), problem)
    return number


def _check_fixed(name: str, values: Sequence[str]) -> None:
    if list(values) in ([], [FIXED[name]]):
        return
    if name == "trace_file":
        raise InvalidInput(
            _path(name), "cannot be set: the server opens no file that a caller names; traces go by OTLP"
        )
    raise InvalidInput(_path(name), f"cannot be set: expected {FIXED[name]!r}, got {_shown(values)}")


def _shown(values: Sequence[str]) -> str:
    return ", ".join(repr(value[:64]) for value in values[:4]) or "nothing"


def _path(name: str) -> str:
    return f"settings[{name}]"
