"""Texts that are read once with each of several others."""

from __future__ import annotations

from service.errors import InvalidInput

LONGEST_TEXT = 1 << 18
"""Bytes of a text that is read with several others: it is decoded and tokenised with each of them."""


def longest_text_checked(data: bytes, path: str) -> None:
    """Raises InvalidInput for a text that is blank or too long to be read with several others."""
    if not data.strip():
        raise InvalidInput(path, "is empty; expected a text")
    if len(data) > LONGEST_TEXT:
        raise InvalidInput(path, f"expected at most {LONGEST_TEXT:,} bytes, got {len(data):,}")
