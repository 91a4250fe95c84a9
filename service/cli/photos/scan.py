"""The photos in a folder: JPEG, PNG and WebP by the suffix of their names, which are the formats that a server reads."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from service.cli.inputs.paths import PICTURES
from service.cli.photos.errors import PhotosError
from service.cli.rendering.formatting import format_size
from service.folder_walk import LeftOut, look_into

OTHER_KINDS = frozenset(
    {".gif", ".bmp", ".tif", ".tiff", ".heic", ".heif", ".avif", ".jxl", ".jp2", ".dng", ".cr2", ".cr3", ".nef", ".arw"}
)
"""Suffixes of pictures that no server of Zoo reads."""
_HIDDEN = "is hidden"
_UNREADABLE = "cannot be read"
"""How `look_into` begins its reason for a folder or file that the operating system does not open."""


@dataclass(frozen=True, slots=True)
class Photo:
    """A file that is taken for a photo by its name."""

    name: str
    """The path below the folder, with slashes, as text for people. No other photo of the folder has it."""
    path: Path
    size: int
    modified_ns: int


@dataclass(frozen=True, slots=True)
class Scan:
    """The content of a folder."""

    photos: tuple[Photo, ...]
    """In order of name."""
    left_out: tuple[LeftOut, ...] = ()
    """Files and folders that were not taken, with the reason; hidden ones are not listed."""
    other_kinds: Mapping[str, int] | None = None
    """Number of pictures by a suffix of OTHER_KINDS."""

    def may_hold(self, name: str) -> bool:
        """Whether a photo of that name may be in a part of the folder that could not be read."""
        unread = (entry.name for entry in self.left_out if entry.reason.startswith(_UNREADABLE))
        return any(name == one or name.startswith(f"{one}/") for one in unread)


def scan_folder(folder: Path, most_bytes: int) -> Scan:
    """Walks a folder. Hidden files, links that lead out of it and files of more than `most_bytes` are left out. Blocks.

    Raises PhotosError if the folder itself cannot be read.
    """
    found = look_into(folder)
    left_out = [entry for entry in found.left_out if entry.reason != _HIDDEN]
    photos: list[Photo] = []
    others: Counter[str] = Counter()
    for entry in left_out:
        if entry.name == ".":
            raise PhotosError(f"the folder {str(folder)!r} {entry.reason}")
    for name, path in found.files:
        suffix = PurePosixPath(name).suffix.lower()
        if suffix in OTHER_KINDS:
            others[suffix] += 1
        if suffix not in PICTURES:
            continue
        try:
            status = path.stat()
        except OSError as error:
            left_out.append(LeftOut(name, f"{_UNREADABLE}: {(error.strerror or type(error).__name__).lower()}"))
            continue
        if status.st_size > most_bytes:
            left_out.append(LeftOut(name, too_large(status.st_size, most_bytes)))
        else:
            photos.append(Photo(name, path, status.st_size, status.st_mtime_ns))
    return Scan(tuple(photos), tuple(left_out), dict(sorted(others.items())))


def too_large(size: int, most_bytes: int) -> str:
    """Why a file is left out."""
    return f"has {format_size(size)}, more than the {format_size(most_bytes)} of --max-size"


def real_folder(argument: Path) -> Path:
    """The real path of a folder. Raises PhotosError for what is no folder, OSError for what is not there."""
    real = Path(os.path.realpath(argument, strict=True))
    if not real.is_dir():
        raise PhotosError(f"{str(argument)!r} is no folder")
    return real
