"""The text of a token: `zoo_ID_SECRET`. The id names it in lists and logs; only the digest of the whole text is stored.

The secret has 256 random bits, so a plain SHA-256 protects it: there is nothing to guess that a slow or salted hash would guard,
as it does for passwords (NIST SP 800-63B, section 5.1.2, "look-up secrets" of at least 112 bits).
"""

from __future__ import annotations

import hashlib
import re
import secrets
from typing import NamedTuple

PREFIX = "zoo_"
"""Lets scanners for leaked secrets recognise a token."""
ID_BYTES, SECRET_BYTES = 8, 32
_PATTERN = rf"{PREFIX}([0-9a-f]{{{2 * ID_BYTES}}})_[0-9a-f]{{{2 * SECRET_BYTES}}}"
_TEXT = re.compile(_PATTERN)
_HEADER = re.compile(rf"(?i:bearer) +({_PATTERN}) *")
LONGEST_HEADER = 256
"""Longer values are refused unread."""


class Secret(NamedTuple):
    """A token as its holder has it."""

    id: str
    text: str

    def __repr__(self) -> str:
        return f"Secret({self.id})"  # a secret must not reach a log by accident

    @property
    def digest(self) -> bytes:
        """What the server stores."""
        return digest_of(self.text)


def new_secret() -> Secret:
    """A token that nobody has."""
    token_id = secrets.token_hex(ID_BYTES)
    return Secret(token_id, f"{PREFIX}{token_id}_{secrets.token_hex(SECRET_BYTES)}")


def parse(text: str) -> Secret | None:
    """A token from its text; None for a text that is none."""
    found = _TEXT.fullmatch(text)
    return Secret(found[1], text) if found is not None else None


def from_header(value: str) -> Secret | None:
    """The token of an `authorization` header (RFC 6750, section 2.1); None for another scheme or a text that is no token."""
    found = _HEADER.fullmatch(value) if len(value) <= LONGEST_HEADER else None
    return Secret(found[2], found[1]) if found is not None else None


def digest_of(text: str) -> bytes:
    """SHA-256 of a token's text, 32 bytes."""
    return hashlib.sha256(text.encode()).digest()
