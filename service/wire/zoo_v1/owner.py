"""Who calls, as the caller says. A claim, and no proof: fine_tuning.proto says who should set it."""

from __future__ import annotations

import re

from service.errors import InvalidInput
from service.wire.calls import Context

KEY = "zoo-owner"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+@-]{0,63}")


def owner_of(context: Context) -> str:
    """The caller's `zoo-owner`, empty where there is none. Raises InvalidInput for one that is no name, and for two of them."""
    said = [value for key, value in context.invocation_metadata() or () if key == KEY]
    if len(said) > 1:  # a proxy that adds its word to the caller's, in place of it
        raise InvalidInput(KEY, "came more than once in the call's metadata")
    if not said or not said[0]:
        return ""
    if not isinstance(said[0], str) or not _NAME.fullmatch(said[0]):
        problem = "expected letters, digits and . _ - + @, a letter or digit first, at most 64 characters"
        raise InvalidInput(KEY, f"{problem}, got {said[0][:64]!r}")
    return said[0]
