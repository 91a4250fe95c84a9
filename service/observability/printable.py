"""Texts of callers in logs, traces and error details: bounded, and without characters that break a line or hide in it."""

from __future__ import annotations

import re
import secrets

LONGEST_ID = 128
"""Characters of a request id that are shown. Replies repeat an id as it came."""
_TOKEN = re.compile(r"zoo_([0-9a-f]{16})_[0-9a-f]+")
"""A token, as `service/access/tokens.py` makes them."""


def printable(text: str, most: int) -> str:
    """`text` with control, format and separator characters escaped as Python writes them, and cut to `most` characters."""
    cut = text if len(text) <= most else text[:most]  # first: escaping a megabyte takes time
    if not cut.isprintable():
        cut = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in cut)
    return cut if len(cut) <= most and len(text) <= most else f"{cut[: most - 1]}…"


def without_secrets(text: str) -> str:
    """A text in which every token is cut after its id: callers paste tokens where names belong."""
    return _TOKEN.sub(r"zoo_\1_…", text) if "zoo_" in text else text


def shown_id(request_id: str) -> str:
    """A request id, or another word that a caller chose, as logs, traces and error details show it."""
    return printable(without_secrets(request_id[: 4 * LONGEST_ID]), LONGEST_ID)


def new_request_id() -> str:
    """An id for a request whose caller gave none."""
    return secrets.token_hex(8)
