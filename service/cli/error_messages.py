"""Expected errors as one sentence and an exit code. Users, files and networks cause expected errors; all others are bugs."""

from __future__ import annotations

import os
import re
import sys
from typing import TYPE_CHECKING, Any

from service.cli.exit_codes import FAILED, MISUSED
from service.cli.rendering.console import quoted

if TYPE_CHECKING:
    import typer

# Expected errors: module, class, exit code. An error can be of such a class only if its module has been imported already,
# so nothing is imported here.
_EXPECTED = (
    ("service.client.errors", "ZooClientError", FAILED),
    ("model_zoo.errors", "ZooModelError", FAILED),
    ("service.errors", "ZooError", FAILED),
    ("service.settings", "SettingsError", MISUSED),
    ("service.cli.photos.errors", "PhotosError", FAILED),
)
_HOW_TO_AUTHENTICATE = "; this command sends the token of ZOO_TOKEN_FILE or ZOO_TOKEN"
_NOT_LOADED = re.compile(r"model '([a-z0-9_]+)' is unavailable: (?:not loaded|unloaded)")
_OUT_OF_RANGE = "Value out of range: "
"""protobuf's error of a number that does not fit its field."""
_OWN_PACKAGES = ("service", "model_zoo")
_BOUNDS = {"ge": "of at least", "le": "of at most", "gt": "above", "lt": "below"}
"""Keys of a bound in the error of an option → words."""


def error_message(error: BaseException) -> tuple[str, int] | None:
    """The sentence and the exit code of an expected error; None for any other."""
    for module, name, code in _EXPECTED:
        kind = getattr(sys.modules.get(module), name, None)
        if kind is not None and isinstance(error, kind):
            return f"{error}{_hint(error)}", code
    match error:
        case ModuleNotFoundError():
            if error.name is None or error.name.partition(".")[0] in _OWN_PACKAGES:
                return None
            return f"this needs the package {error.name!r}; the extra `server` of zoo-serving brings it", FAILED
        case UnicodeEncodeError() if isinstance(error.object, str) and any(map(_is_surrogate, error.object)):
            return f"{quoted(error.object)} is not valid UTF-8", FAILED
        case ValueError() if "embedded null" in str(error):
            return "the name of a file cannot hold a NUL character", FAILED
        case ValueError() if str(error).startswith(_OUT_OF_RANGE):
            return f"{quoted(str(error).removeprefix(_OUT_OF_RANGE))} is out of range", FAILED
        case OSError() if error.filename is not None:
            name = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else str(error.filename)
            return f"{quoted(name)}: {describe_os_error(error)}", FAILED
    return None


def _hint(error: BaseException) -> str:
    """What to do next, where the sentence does not say it."""
    if getattr(error, "code", "") == "UNAUTHENTICATED":
        return _HOW_TO_AUTHENTICATE
    if unloaded := _NOT_LOADED.fullmatch(str(error)):
        return f"; load it: zoo load {unloaded[1]}"
    if type(error).__name__ == "UnknownCard" and not getattr(error, "near", ()):
        return "; published networks have references such as hf:ORG/NAME and timm:NAME, see zoo search WORDS"
    return ""


def option_problem(error: typer.BadParameter) -> str:
    """What a numeric option expected, and what was given; empty if the error is of another kind."""
    found: list[dict[str, Any]] = getattr(error.__cause__, "errors", list)()
    if not found:
        return ""
    kind, bounds, given = found[0]["type"], found[0].get("ctx", {}), found[0]["input"]
    bound = next((f" {_BOUNDS[key]} {value:g}" for key, value in bounds.items() if key in _BOUNDS), "")
    if not bound and not kind.startswith(("int_", "float_")):
        return ""
    number = "a whole number" if kind.startswith("int_") else "a number"
    return f"expected {number}{bound}, got {quoted(str(given))}"


def describe_os_error(error: OSError) -> str:
    """The reason that the operating system gives."""
    return (error.strerror or type(error).__name__).lower()


def _is_surrogate(character: str) -> bool:
    return "\ud800" <= character <= "\udfff"
