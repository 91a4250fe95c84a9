"""Triton's extension `logging`: the level of the log, read and changed while the server runs.

Triton has a switch for each level; Zoo has one level, and a switch stands for "at least this level" or "at most the one below".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from service.errors import InvalidInput
from service.observability.log import LEVELS
from service.pb import open_inference_pb2 as pb

SWITCHES: Mapping[str, int] = {"log_error": 0, "log_warning": 1, "log_info": 2}
"""Triton's switch → index into LEVELS of the level that it turns on."""
VERBOSE, DEBUG = "log_verbose_level", LEVELS.index("debug")
FIXED: Mapping[str, str] = {"log_file": "", "log_format": "default"}
"""Settings that are what they are: a client may send the value that they have."""


def log_settings(level: str) -> pb.LogSettingsResponse:
    """The settings as Triton names them."""
    index = LEVELS.index(level)
    response = pb.LogSettingsResponse()
    for name, value in FIXED.items():
        response.settings[name].string_param = value
    for name, at_least in SWITCHES.items():
        response.settings[name].bool_param = index >= at_least
    response.settings[VERBOSE].uint32_param = int(index >= DEBUG)
    return response


def changed_level(request: pb.LogSettingsRequest, level: str) -> str:
    """The level that a request asks for; a setting without a value stays. Raises InvalidInput, and nothing is changed."""
    least, most = 0, len(LEVELS) - 1
    for name in sorted(request.settings):
        value = request.settings[name]
        kind = value.WhichOneof("parameter_choice")
        if kind is None:
            continue
        if name in SWITCHES:
            _check_kind(name, kind, "bool_param", "a bool")
            at_least, on = SWITCHES[name], value.bool_param
        elif name == VERBOSE:
            _check_kind(name, kind, "uint32_param", "0 or 1")
            if value.uint32_param > 1:
                raise InvalidInput(_path(name), f"expected 0 or 1, got {value.uint32_param}")
            at_least, on = DEBUG, bool(value.uint32_param)
        else:
            _check_fixed(name, value.string_param if kind == "string_param" else None)
            continue
        if on:
            least = max(least, at_least)
        elif at_least:
            most = min(most, at_least - 1)
        else:
            raise InvalidInput(_path(name), "expected true: errors are always logged")
    if least > most:
        raise InvalidInput(
            "settings", f"contradict each other: {LEVELS[least]!r} is on, and a level that it includes is off"
        )
    return LEVELS[min(max(LEVELS.index(level), least), most)]


def _check_kind(name: str, kind: str, wanted: str, expected: str) -> None:
    if kind != wanted:
        raise InvalidInput(_path(name), f"expected {expected}, got {kind.removesuffix('_param')}")


def _check_fixed(name: str, value: str | None) -> None:
    problems: Mapping[str, Callable[[], str]] = {
        "log_file": lambda: "cannot be set: the server opens no file that a caller names",
        "log_format": lambda: "cannot be set while the server runs; ZOO_LOG_FORMAT sets it at the start",
    }
    if name not in FIXED:
        known = ", ".join((*SWITCHES, VERBOSE, *FIXED))
        raise InvalidInput("settings", f"unknown setting {name[:64]!r}; known are {known}")
    if value != FIXED[name]:
        raise InvalidInput(_path(name), problems[name]())


def _path(name: str) -> str:
    return f"settings[{name}]"
