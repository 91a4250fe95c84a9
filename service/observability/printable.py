"""Texts of callers in logs, traces and error details: bounded, and without characters that break a line or hide in it."""

from __future__ import annotations

import secrets

LONGEST_ID = 128
"""Characters of a request id that are shown. Replies repeat an id as it came."""


def printable(text: str, most: int) -> str:
    """`text` with control, format and separator characters escaped as Python writes them, and cut to `most` characters."""
    cut = text if len(text) <= most else text[:most]  # first: escaping a megabyte takes time
    if not cut.isprintable():
        cut = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in cut)
    return cut if len(cut) <= most and len(text) <= most else f"{cut[: most - 1]}…"


def shown_id(request_id: str) -> str:
    """A request id as logs, traces and error details show it."""
    return printable(request_id, LONGEST_ID)


def new_request_id() -> str:
    """An id for a request whose caller gave none."""
    return secrets.token_hex(8)
