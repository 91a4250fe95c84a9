"""The owner that a call names in its metadata. It is a claim without proof: fine_tuning.proto says which proxy should set it."""

from __future__ import annotations

import re

from service.errors import InvalidInput
from service.wire.calls import Context

KEY = "zoo-owner"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+@-]{0,63}")


def owner_of(context: Context) -> str:
    """The call's `zoo-owner`, empty where there is none. Raises InvalidInput for a value that is no name, and for two values."""
    values = [value for key, value in context.invocation_metadata() or () if key == KEY]
    if len(values) > 1:  # a proxy that adds its value to the caller's must replace it
        raise InvalidInput(KEY, "came more than once in the call's metadata")
    if not values or not values[0]:
        return ""
    if not isinstance(values[0], str) or not _NAME.fullmatch(values[0]):
        problem = "expected letters, digits and . _ - + @, a letter or digit first, at most 64 characters"
        raise InvalidInput(KEY, f"{problem}, got {values[0][:64]!r}")
    return values[0]
