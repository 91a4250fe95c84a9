"""The files of an unpacked archive, and what their folders say: `class/file`, or `train/class/file`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from service.datasets.draft import SPLITS
from service.datasets.endings import OTHER_PICTURES, OTHER_SOUNDS, PICTURES, SOUNDS, TABLES, TEXTS


@dataclass(frozen=True, slots=True)
class Files:
    """What an archive held, by sort; paths below its folder, sorted."""

    root: Path
    pictures: tuple[PurePosixPath, ...]
    sounds: tuple[PurePosixPath, ...]
    texts: tuple[PurePosixPath, ...]
    tables: tuple[PurePosixPath, ...]
    others: tuple[PurePosixPath, ...]
    """Of no use."""

    def __len__(self) -> int:
        return sum(map(len, (self.pictures, self.sounds, self.texts, self.tables, self.others)))


def look(root: Path) -> Files:
    """Sort the files below a folder by their endings."""
    sorts: dict[str, list[PurePosixPath]] = {"pictures": [], "sounds": [], "texts": [], "tables": [], "others": []}
    for path in _walk(root):
        suffix = path.suffix.lower()
        if suffix in PICTURES or suffix in OTHER_PICTURES:
            sort = "pictures"
        elif suffix in SOUNDS or suffix in OTHER_SOUNDS:
            sort = "sounds"
        else:
            sort = "texts" if suffix in TEXTS else "tables" if suffix in TABLES else "others"
        sorts[sort].append(path)
    return Files(root, **{name: tuple(sorted(found)) for name, found in sorts.items()})


def _walk(root: Path) -> Iterator[PurePosixPath]:
    for folder, _, names in os.walk(root):
        below = PurePosixPath(Path(folder).relative_to(root).as_posix())
        yield from (below / name for name in names)


@dataclass(frozen=True, slots=True)
class Place:
    """Class and split of a file, by its folders; an empty class where it lies in none."""

    label: str
    split: str


def places(paths: Sequence[PurePosixPath]) -> list[Place]:
    """What the folders of files that belong together say.

    Folders that all share above the classes (`photos/cats/1.jpg`) are no classes. Where the next ones are all called as
    splits, they are splits. The folder below names the class; deeper ones do not count.
    """
    folders = [path.parts[:-1] for path in paths]
    while folders and all(len(parts) > 1 for parts in folders) and len({parts[0] for parts in folders}) == 1:
        folders = [parts[1:] for parts in folders]
    named = [parts[0].casefold() for parts in folders if parts]
    are_splits = bool(named) and all(name in SPLITS for name in named) and any(len(parts) > 1 for parts in folders)
    found = []
    for parts in folders:
        split = SPLITS[parts[0].casefold()] if are_splits and parts else ""
        rest = parts[1:] if split else parts
        found.append(Place(" ".join(rest[0].split()) if rest else "", split))
    return found
