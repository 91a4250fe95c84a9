"""Lists the files of a folder that becomes a dataset: follows links within it, and names what is left out.

The client uploads a folder this way, and the server reads a folder below its roots this way.
"""

from __future__ import annotations

import os
import stat
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path

MOST_FILES, DEEPEST, MOST_LINKS = 1_000_000, 32, 3
"""Limits of a walk: links that lead to each other can make a folder look endless."""
WINDOWS = "cp1252"
"""The code page of most names that are not UTF-8."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A file or folder that is left out."""

    name: str
    """The path below the given folder."""
    reason: str


@dataclass(slots=True)
class Folder:
    """The content of a folder."""

    files: list[tuple[str, Path]] = field(default_factory=list)
    """Names in the archive, with slashes, and paths; sorted by name."""
    empty: list[str] = field(default_factory=list)
    """Folders without a file; the server warns about them."""
    left_out: list[LeftOut] = field(default_factory=list)


def look_into(root: Path) -> Folder:
    """Walks a folder. Leaves out hidden files, and links that lead out of it, nowhere, or in a circle. Blocks."""
    found = Folder()
    real = Path(os.path.realpath(root))
    _walk(real, "", (_identity(real),), 0, real, found)
    names: dict[str, Path] = {}
    for name, path in sorted(found.files, key=lambda item: (item[0], os.fsencode(item[1]))):
        if name in names:
            found.left_out.append(LeftOut(name, "has the name of another file once it is written in UTF-8"))
        else:
            names[name] = path
    found.files = list(names.items())
    found.left_out.sort(key=lambda one: one.name)
    return found


def _walk(folder: Path, below: str, above: tuple[tuple[int, int], ...], links: int, root: Path, found: Folder) -> None:
    """`above`: the parent folders by device and number; `links`: how many of them are links."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: os.fsencode(entry.name))
    except OSError as error:
        found.left_out.append(LeftOut(below or ".", _why(error)))
        return
    before = len(found.files), len(found.empty)
    for entry in entries:
        name = below + "/" * bool(below) + _readable(entry.name)
        if reason := _reason(entry, root):
            found.left_out.append(LeftOut(name, reason))
        elif not entry.is_dir():
            found.files.append((name, Path(entry.path)))
        elif (identity := _identity(Path(entry.path))) in above:
            found.left_out.append(LeftOut(name, "is a link to a folder that it lies in"))
        elif len(above) >= DEEPEST or len(found.files) >= MOST_FILES or links + entry.is_symlink() > MOST_LINKS:
            found.left_out.append(LeftOut(name, "lies too deep, beyond too many files, or behind too many links"))
        else:
            _walk(Path(entry.path), name, (*above, identity), links + entry.is_symlink(), root, found)
    if below and (len(found.files), len(found.empty)) == before:
        found.empty.append(below)


def _reason(entry: os.DirEntry[str], root: Path) -> str:
    """Why an entry is left out; empty if it is not."""
    if entry.name.startswith("."):
        return "is hidden"
    if not _printable(_readable(entry.name)):
        return "has a name with control characters; rename it"
    try:
        if entry.is_symlink():
            target = Path(os.path.realpath(entry.path))
            if not target.is_relative_to(root):
                return "is a link that leads out of the folder"
            if not target.exists():
                return "is a link that leads nowhere"
        if entry.is_dir():
            return ""
        if not stat.S_ISREG(entry.stat().st_mode):
            return "is no regular file"
        os.close(os.open(entry.path, os.O_RDONLY | getattr(os, "O_BINARY", 0)))
    except OSError as error:
        return _why(error)
    return ""


def _why(error: OSError) -> str:
    return f"cannot be read: {(error.strerror or type(error).__name__).lower()}"


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino


def _readable(name: str) -> str:
    """The name as text; bytes that are not UTF-8 are decoded as Windows' code page. Backslashes would separate folders."""
    try:
        name.encode()
    except UnicodeEncodeError:
        raw = os.fsencode(name)
        try:
            name = raw.decode(WINDOWS)
        except UnicodeDecodeError:
            name = raw.decode("latin-1")
    return name.replace("\\", "_")


def _printable(name: str) -> bool:
    return not any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in name)
