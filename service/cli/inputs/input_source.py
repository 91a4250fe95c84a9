"""One input of `zoo predict`, and the error of one that cannot be read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

STDIN = "-"
"""The argument that stands for standard input."""


class UnreadableInput(Exception):
    """An input cannot be read. The text is one sentence for people."""


@dataclass(frozen=True, slots=True)
class InputSource:
    """One input: its name for people, and the value to send, or the reason why nothing can be sent."""

    name: str
    value: Any = b""
    problem: str = ""
    folder: str = ""
    """Of a file in a folder or archive that an argument names: the folder below that one; empty for none."""
