"""Which release of Zoo wrote a document: one that only a newer release understands is not damaged."""

import re
from functools import cache
from importlib.metadata import PackageNotFoundError, version

__all__ = ["is_newer", "own_release"]

_NUMBERS = re.compile(r"(\d{1,6})\.(\d{1,6})(?:\.(\d{1,6}))?(?:[^\d.].*)?", re.ASCII)


@cache
def own_release() -> str:
    """The version of this Zoo; ``0+unknown`` in a source tree that was never installed."""
    try:
        return version("zoo-serving")
    except PackageNotFoundError:
        return "0+unknown"


def is_newer(written_by: object) -> bool:
    """Whether a document's note of its writer's version names a newer release than this one. Notes that are no version do not."""
    theirs, ours = _numbers(written_by), _numbers(own_release())
    return theirs is not None and ours is not None and theirs > ours


def _numbers(text: object) -> tuple[int, ...] | None:
    found = _NUMBERS.fullmatch(text) if isinstance(text, str) and len(text) <= 32 else None
    return tuple(int(part or 0) for part in found.groups()) if found else None
