"""What the folders of files that belong together say: `class/file`, `train/class/file`, `class/train/file`.

A folder that all files share above the classes (`photos/cats/1.jpg`) is no class. A folder that is called as a split is one
(`train`, `test_set`, `seg_train`); below it, a folder that only repeats it (`training_set/training_set`) or that only wraps what
the others have (`train/images/cat` beside `test/cat`) is no class. The folder below names the class; deeper ones do not count.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from service.datasets.draft import SPLITS
from service.datasets.words import listed

_WRAPS = """
    set sets data dataset datasets image images img imgs picture pictures pics photo photos jpg jpeg png file files
    sample samples seg split folder audio sound sounds wav wavs text texts raw original
"""
WRAPS = frozenset(_WRAPS.split())
"""Words beside that of a split, and names of folders that stand for no class below one."""
_WORDS = re.compile(r"[^\W\d_]+")
_JOINED = re.compile(r"(train|training|val|valid|validation|dev|test|testing)(set|data|images|imgs)")


@dataclass(frozen=True, slots=True)
class Place:
    """Class and split of a file, by its folders; an empty class where it lies in none."""

    label: str
    split: str
    problem: str = ""
    """Why the class is not known."""


def split_of(folder: str) -> str:
    """The split that a folder is called for; empty where it is none. `train`, `Training Set`, `seg_test`, `valdata`."""
    if folder.strip().casefold() in SPLITS:
        return SPLITS[folder.strip().casefold()]
    words = [word.casefold() for word in _WORDS.findall(folder)]
    words = [part for word in words for part in _parts(word)]
    named = {SPLITS[word] for word in words if word in SPLITS}
    rest = [word for word in words if word not in SPLITS and word not in WRAPS]
    return named.pop() if len(named) == 1 and not rest else ""


def _parts(word: str) -> tuple[str, ...]:
    joined = _JOINED.fullmatch(word)
    return (joined[1], joined[2]) if joined else (word,)


def places(paths: Sequence[PurePosixPath]) -> list[Place]:
    """The place of each file."""
    folders = _without_shared([path.parts[:-1] for path in paths])
    firsts = {parts[0] for parts in folders if parts}
    if _are_splits(folders, firsts):
        return _below_splits(folders)
    seconds = {parts[1] for parts in folders if len(parts) > 1}
    if (
        seconds
        and all(len(parts) > 1 or not parts for parts in folders)
        and all(map(split_of, seconds))
        and len(firsts) > 1
    ):
        return [Place(_label(parts[0]), split_of(parts[1])) if parts else Place("", "") for parts in folders]
    return [Place(_label(parts[0]) if parts else "", "") for parts in folders]


def split_folders_alone(paths: Sequence[PurePosixPath]) -> str:
    """What is wrong where files lie in folders of splits, and none below one for a class; else nothing."""
    found = places(paths)
    if any(place.label for place in found) or not any(place.split for place in found):
        return ""
    names = sorted(
        {next(part for part in path.parts if split_of(part)) for path in paths if any(map(split_of, path.parts))}
    )
    return (
        f"{listed(names)} {'is a folder' if len(names) == 1 else 'are folders'} of splits, and there is none below for each"
        " class; put the files into train/CLASS/, test/CLASS/, or add a table that names each file and its class"
    )


def _without_shared(folders: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Files that lie in a shared folder itself, or beside it, are in no class."""
    while len({parts[0] for parts in folders if parts}) == 1 and any(len(parts) > 1 for parts in folders):
        folders = [parts[1:] for parts in folders]
    return folders


def _are_splits(folders: Sequence[tuple[str, ...]], firsts: set[str]) -> bool:
    """Whether the first folders are splits: all of them, or those for training and for measuring with classes below."""
    if not firsts:
        return False
    if all(map(split_of, firsts)):
        return True
    below = {split_of(parts[0]) for parts in folders if len(parts) > 1} - {""}
    return "train" in below and len(below) > 1


def _below_splits(folders: Sequence[tuple[str, ...]]) -> list[Place]:
    groups: dict[str, list[int]] = {}
    for i, parts in enumerate(folders):
        groups.setdefault(parts[0] if parts else "", []).append(i)
    rests = {i: parts[1:] for i, parts in enumerate(folders)}
    for name, members in groups.items():
        while (same := _only(rests, members)) and (split_of(same) == split_of(name) or same.casefold() in WRAPS):
            rests.update({i: rests[i][1:] for i in members})
    known = {name: {rests[i][0] for i in members if rests[i]} for name, members in groups.items() if name}
    for name, members in groups.items():
        others = set().union(*(classes for other, classes in known.items() if other != name))
        while (same := _only(rests, members)) and same not in others and all(len(rests[i]) > 1 for i in members):
            if not {rests[i][1] for i in members} & others:
                break
            rests.update({i: rests[i][1:] for i in members})
    found = []
    for i, parts in enumerate(folders):
        split = split_of(parts[0]) if parts else ""
        place = Place(_label(rests[i][0]) if rests[i] else "", split)
        if not split:
            place = replace(place, label="", problem="lies beside the folders of the splits, so its class is not known")
        elif not place.label:
            place = replace(place, problem="lies in no folder below that of its split, so its class is not known")
        found.append(place)
    return found


def _only(rests: dict[int, tuple[str, ...]], members: Sequence[int]) -> str:
    """The first folder of all of them, where it is the same."""
    names = {rests[i][0] if rests[i] else "" for i in members}
    return names.pop() if len(names) == 1 else ""


def _label(folder: str) -> str:
    """As a class is called: composed letters, single spaces."""
    return " ".join(unicodedata.normalize("NFC", folder).split())
