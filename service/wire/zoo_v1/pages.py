"""Page tokens. A token is valid for the listing that gave it."""

from __future__ import annotations

import base64
import hashlib

from service.errors import InvalidInput

DEFAULT_PAGE, LARGEST_PAGE = 50, 500
_MARK = 8


def page_size(asked: int) -> int:
    """Most entries of a page. Raises InvalidInput for a negative number."""
    if asked < 0:
        raise InvalidInput("page_size", f"expected 0 or more, got {asked}")
    return min(asked or DEFAULT_PAGE, LARGEST_PAGE)


def write_token(last: str, *filters: object) -> str:
    """The token of the page after `last`; empty where there is none."""
    return base64.urlsafe_b64encode(f"{_mark(filters)}{last}".encode()).decode() if last else ""


def read_token(token: str, *filters: object) -> str:
    """The entry that the page begins after; empty for the first page. Raises InvalidInput for a token of another listing."""
    if not token:
        return ""
    try:
        text = base64.b64decode(token, altchars=b"-_", validate=True).decode()
    except ValueError:
        raise InvalidInput("page_token", "is not one that this server gave out") from None
    if "\0" in text:
        raise InvalidInput("page_token", "is not one that this server gave out")
    if not text.startswith(_mark(filters)):
        raise InvalidInput("page_token", "belongs to a listing with other filters")
    return text[_MARK:]


def _mark(filters: tuple[object, ...]) -> str:
    text = "\n".join(str(value) for value in filters)
    return hashlib.sha256(text.encode()).hexdigest()[:_MARK]
