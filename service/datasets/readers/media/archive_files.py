"""Sorts the files of an extracted archive into images, sounds, texts, tables and others."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from service.datasets.formatting import counted
from service.datasets.readers.file_types import (
    AUDIO_SUFFIXES,
    IMAGE_SUFFIXES,
    TABLE_SUFFIXES,
    TEXT_SUFFIXES,
    UNSUPPORTED_AUDIO_SUFFIXES,
    UNSUPPORTED_IMAGE_SUFFIXES,
    media_type_of,
)
from service.datasets.readers.tables.sniffing import SNIFFED_BYTES, starts_like_text


@dataclass(frozen=True, slots=True)
class ArchiveFiles:
    """The files of an archive by sort: sorted paths below its folder."""

    root: Path
    images: tuple[PurePosixPath, ...]
    audio: tuple[PurePosixPath, ...]
    texts: tuple[PurePosixPath, ...]
    tables: tuple[PurePosixPath, ...]
    others: tuple[PurePosixPath, ...]
    """Of no use for a dataset."""
    empty: tuple[PurePosixPath, ...] = ()
    """Folders without files."""

    def __len__(self) -> int:
        return sum(map(len, (self.images, self.audio, self.texts, self.tables, self.others)))

    def all(self) -> Iterator[PurePosixPath]:
        """All files, one sort after the other."""
        for sort in (self.images, self.audio, self.texts, self.tables, self.others):
            yield from sort


def sort_files(root: Path) -> ArchiveFiles:
    """Sort the files below a folder by their suffixes, and files with an unknown suffix by their first bytes.

    Text files without a suffix are texts in an archive of hardly anything else; beside other data they are notes.
    """
    sorts: dict[str, list[PurePosixPath]] = {"images": [], "audio": [], "texts": [], "tables": [], "others": []}
    empty: list[PurePosixPath] = []
    unnamed: list[PurePosixPath] = []
    for path in _walk(root, empty):
        suffix = path.suffix.lower()
        if suffix in IMAGE_SUFFIXES or suffix in UNSUPPORTED_IMAGE_SUFFIXES:
            sort = "images"
        elif suffix in AUDIO_SUFFIXES or suffix in UNSUPPORTED_AUDIO_SUFFIXES:
            sort = "audio"
        elif suffix in TEXT_SUFFIXES or suffix in TABLE_SUFFIXES:
            sort = "texts" if suffix in TEXT_SUFFIXES else "tables"
        else:
            with (root / path).open("rb") as file:
                start = file.read(SNIFFED_BYTES)
            sort = {"picture": "images", "sound": "audio"}.get(media_type_of(start), "others")
            if sort == "others" and _no_ending(suffix) and starts_like_text(start):
                unnamed.append(path)
                continue
        sorts[sort].append(path)
    others = any(sorts[sort] for sort in ("images", "audio", "tables"))
    sorts["others" if others or len(unnamed) <= len(sorts["texts"]) else "texts"] += unnamed
    return ArchiveFiles(
        root, **{name: tuple(sorted(found)) for name, found in sorts.items()}, empty=tuple(sorted(empty))
    )


def _no_ending(suffix: str) -> bool:
    """Mails and articles often have a number as their name: `101551`, `1234.5`."""
    return not suffix or suffix[1:].isdigit()


def _walk(root: Path, empty: list[PurePosixPath]) -> Iterator[PurePosixPath]:
    for folder, folders, names in os.walk(root):
        below = PurePosixPath(Path(folder).relative_to(root).as_posix())
        if not folders and not names and below.parts:
            empty.append(below)
        yield from (below / name for name in names)


def unused_files_warning(paths: Sequence[PurePosixPath], what: str) -> str:
    """`passed over 12 files without a picture: .txt 10, .json 2`."""
    endings = Counter(path.suffix.lower() or "no ending" for path in paths)
    most = sorted(endings.items(), key=lambda item: (-item[1], item[0]))
    more = " …" if len(most) > 8 else ""
    kinds = ", ".join(f"{end} {count}" for end, count in most[:8])
    return f"passed over {counted(len(paths), 'file')} without a {what}: {kinds}{more}"
