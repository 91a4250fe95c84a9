"""The folder of a server, ZOO_HOME, and its path in messages."""

from __future__ import annotations

from pathlib import Path

HOME_FOLDERS = ("datasets", "jobs", "uploads", "versions", "weights")
"""Folders of ZOO_HOME that a server needs."""
HOME_LOCK = ".lock"
"""File in ZOO_HOME that every server locks while it runs."""


def printable_path(path: Path) -> str:
    """A path in a message, on one line for any name."""
    text = str(path)
    return text if text.isprintable() else repr(text)
