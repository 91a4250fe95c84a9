"""What stands on the command line of `zoo predict`, as inputs of the SDK with names for people."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from service.client import ModelInfo

PICTURES = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp"})
_KINDS = {
    "image": PICTURES,
    "audio": frozenset({".wav", ".flac", ".ogg", ".oga", ".opus"}),
}
"""Endings of the files that a folder is searched for. A file that is named itself may have any."""
STDIN = "-"


@dataclass(frozen=True, slots=True)
class Source:
    """One input: how to call it, and what to send; or why there is nothing to send."""

    name: str
    value: Any = b""
    problem: str = ""


def sources(arguments: Iterable[str], model: ModelInfo, version: str = "") -> Iterator[Source]:
    """Inputs for a model, or a version of it, in the order they were given; files of a folder by name.

    For a text model every argument is a text, and `-` stands for the lines of stdin, read as they come. For one of rows, series
    or records see `tables.py`. For others an argument is a file or a folder, and `-` is one encoded file on stdin.
    """
    from service.cli.tables import Known, structured

    raw_input, known = model.raw_input, Known(model, version)
    for argument in arguments:
        if raw_input == "text":
            yield from _lines() if argument == STDIN else [Source(argument, argument)]
        elif raw_input in ("row", "series", "record"):
            yield from structured(argument, raw_input, known)
        elif argument == STDIN:
            yield Source(STDIN, sys.stdin.buffer.read())
        elif Path(argument).is_dir():
            yield from _folder(Path(argument), raw_input)
        else:
            yield Source(argument, Path(argument))


def _lines() -> Iterator[Source]:
    for line in sys.stdin.buffer:
        raw = line.rstrip(b"\r\n")
        if raw:  # bytes, not str: if they are no UTF-8, that line alone fails
            yield Source(raw.decode(errors="backslashreplace"), raw)


def _folder(folder: Path, raw_input: str) -> Iterator[Source]:
    endings, found = _KINDS.get(raw_input, frozenset()), False
    for at, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith(".") and Path(name).suffix.lower() in endings:
                found = True
                path = Path(at) / name
                yield Source(str(path), path)
    if not found:
        yield Source(str(folder), problem=f"the folder holds no {raw_input} files ({' '.join(sorted(endings))})")
