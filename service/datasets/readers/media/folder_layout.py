"""What the folders of files that belong together say: `class/file`, `train/class/file`, `class/train/file`.

A folder that all files share above the classes (`photos/cats/1.jpg`) is no class. A folder that is called as a split is one
(`train`, `test_set`, `seg_train`); below it, a folder that only repeats it (`training_set/training_set`) or that only wraps what
the others have (`train/images/cat` beside `test/cat`) is no class. A folder of any name beside one for training is a split where
it has the same classes, and numbered folders that all have the same ones below (`fold1/cat`, `fold2/cat`) are no classes. Else
the folder below names the class; deeper ones do not count, and a warning names them.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from service.datasets.formatting import quoted_list
from service.datasets.split_names import WRAPPER_WORDS, only_split_in, split_from_folder, splits_from_folders

_ASIDE = frozenset(
    [
        "aug",
        "augmented",
        "augmentation",
        "mask",
        "masks",
        "label",
        "labels",
        "annotation",
        "annotations",
        "thumbs",
        "thumbnails",
        "resized",
    ]
)
"""Names of folders that stand beside others of the same class."""
_CLASS_WORDS = frozenset(
    [
        "class",
        "klasse",
        "classe",
        "clase",
        "label",
        "category",
        "kategorie",
        "cat",
        "type",
        "digit",
        "grade",
        "stage",
        "level",
    ]
)


@dataclass(frozen=True, slots=True)
class FolderLabel:
    """Class and split of a file, by its folders; an empty class where it lies in none."""

    label: str
    split: str
    problem: str = ""
    """Why the class is not known."""


@dataclass(frozen=True, slots=True)
class FolderLayout:
    """What the folders say of the files, and what was made of them that somebody may have meant otherwise."""

    labels: tuple[FolderLabel, ...]
    above: tuple[str, ...] = ()
    """Folders above the classes that repeat the same classes, so that they are none: `fold1`, `fold2`."""
    below: tuple[str, ...] = ()
    """Folders below those of the classes, which do not count."""
    guessed: tuple[tuple[str, str], ...] = ()
    """(folder, split that it is taken for) beside one for training, where its name tells nothing."""

    def remark(self) -> str:
        """A sentence where folders are passed over; else nothing."""
        return f"folders below those of the classes do not count: {quoted_list(self.below[:5])}" if self.below else ""


def folder_labels(paths: Sequence[PurePosixPath]) -> list[FolderLabel]:
    """The place of each file."""
    return list(read_layout(paths).labels)


def read_layout(paths: Sequence[PurePosixPath]) -> FolderLayout:
    """What the folders of all files say."""
    return _layout([path.parts[:-1] for path in paths])


def _layout(folders: list[tuple[str, ...]]) -> FolderLayout:
    folders = _without_shared(folders)
    firsts = {parts[0] for parts in folders if parts}
    splits = splits_from_folders(firsts)
    if _beside_train(folders, splits):
        return _guessed(folders, splits)
    if _are_splits(folders, splits):
        return FolderLayout(tuple(_below_splits(folders, splits)))
    seconds = {parts[1] for parts in folders if len(parts) > 1}
    deep = len(firsts) > 1 and all(len(parts) > 1 or not parts for parts in folders)
    parted = bool(seconds) and deep and all(map(split_from_folder, seconds))
    if deep and _repeated(list(_sets(folders, 2 if parted else 1).values()), firsts):
        if not parted and any(map(only_split_in, firsts)):
            return _guessed(folders, splits)
        inner = _layout([parts[1:] for parts in folders])
        return replace(inner, above=(*sorted(firsts), *inner.above))
    if parted:
        found = [
            FolderLabel(_label(parts[0]), split_from_folder(parts[1])) if parts else FolderLabel("", "")
            for parts in folders
        ]
        return FolderLayout(tuple(found))
    return FolderLayout(
        tuple(FolderLabel(_label(parts[0]) if parts else "", "") for parts in folders), below=_below(folders)
    )


def _sets(folders: Sequence[tuple[str, ...]], level: int) -> dict[str, set[str]]:
    """The folders at a level below each first one; those that only wrap what lies in them are passed through."""
    found: dict[str, list[tuple[str, ...]]] = {}
    for parts in folders:
        if parts:
            found.setdefault(parts[0], []).append(parts[level:])
    sets = {}
    for first, rests in found.items():
        names = {rest[0] if rest else "" for rest in rests}
        while len(names) == 1 and next(iter(names)).casefold() in WRAPPER_WORDS:
            rests = [rest[1:] for rest in rests]
            names = {rest[0] if rest else "" for rest in rests}
        sets[first] = names
    return sets


def _repeated(sets: Sequence[set[str]], above: Collection[str]) -> bool:
    """Whether folders below others are classes because nearly all of them come in each: `fold1/cat`, `fold2/cat`.

    That is so where the first folders are numbered. Where they have names of their own, they are the classes, as everywhere: of
    `cat/left` and `dog/left`, and of `kaggle/cat` and `own/cat`, nobody can tell which level is meant. Folders of other uses
    (`cat/masks`) are parts of a class.
    """
    if not _serial(above):
        return False
    every = set().union(*sets)
    if len(every) < 2 or "" in every or any(name.casefold() in WRAPPER_WORDS | _ASIDE for name in every):
        return False
    return 4 * sum(map(len, sets)) > 3 * len(every) * len(sets)


def _serial(names: Collection[str]) -> bool:
    """Whether names differ in nothing but a number."""
    stems = {re.sub(r"[\W\d_]+", "", name).casefold() for name in names}
    return len(stems) == 1 and not stems & _CLASS_WORDS and all(re.search(r"\d", name) for name in names)


def _below(folders: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """Different folders within a class, of which nothing is made."""
    within: dict[str, set[str]] = {}
    for parts in folders:
        if len(parts) > 1:
            within.setdefault(parts[0], set()).add(parts[1])
    return tuple(sorted(set().union(*(names for names in within.values() if len(names) > 1))))


def _beside_train(folders: Sequence[tuple[str, ...]], splits: Mapping[str, str]) -> bool:
    """Whether all folders of other names have the classes of that for training beside which they lie."""
    classes = _sets(folders, 1)
    trained = set().union(*(below for name, below in classes.items() if splits[name] == "train"))
    others = [below for name, below in classes.items() if not splits[name]]
    if len(trained) < 2 or "" in trained:
        return False
    return bool(others) and all(2 * len(below & trained) >= len(below | trained) for below in others)


def _guessed(folders: Sequence[tuple[str, ...]], splits: Mapping[str, str]) -> FolderLayout:
    """Folders that have the same classes, of which one at least is called as a split: a single one of another name beside one for
    training, where none is for tests, is that; others are for training."""
    loose = {name: split or only_split_in(name) for name, split in splits.items()}
    unknown = [name for name, split in loose.items() if not split]
    given = set(loose.values())
    held_out = len(unknown) == 1 and "train" in given and "test" not in given
    loose |= dict.fromkeys(unknown, "test" if held_out else "train")
    guessed = tuple(sorted((name, split) for name, split in loose.items() if not splits[name]))
    return FolderLayout(tuple(_below_splits(folders, loose)), guessed=guessed)


def split_folders_alone(paths: Sequence[PurePosixPath]) -> str:
    """What is wrong where files lie in folders of splits, and none below one for a class; else nothing."""
    found = folder_labels(paths)
    if any(place.label for place in found) or not any(place.split for place in found):
        return ""
    names = sorted(
        {
            next(part for part in path.parts if split_from_folder(part))
            for path in paths
            if any(map(split_from_folder, path.parts))
        }
    )
    return (
        f"{quoted_list(names)} {'is a folder' if len(names) == 1 else 'are folders'} of splits, and there is none below for each"
        " class; put the files into train/CLASS/, test/CLASS/, or add a table that names each file and its class"
    )


def _without_shared(folders: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Files that lie in a shared folder itself, or beside it, are in no class."""
    while len({parts[0] for parts in folders if parts}) == 1 and any(len(parts) > 1 for parts in folders):
        folders = [parts[1:] for parts in folders]
    return folders


def _are_splits(folders: Sequence[tuple[str, ...]], splits: Mapping[str, str]) -> bool:
    """Whether the first folders are splits: all of them, or those for training and for measuring with classes below."""
    if not splits:
        return False
    if all(splits.values()):
        return True
    below = {splits[parts[0]] for parts in folders if len(parts) > 1} - {""}
    return "train" in below and len(below) > 1


def _below_splits(folders: Sequence[tuple[str, ...]], splits: Mapping[str, str]) -> list[FolderLabel]:
    groups: dict[str, list[int]] = {}
    for i, parts in enumerate(folders):
        groups.setdefault(parts[0] if parts else "", []).append(i)
    rests = {i: parts[1:] for i, parts in enumerate(folders)}
    for name, members in groups.items():
        while (same := _only(rests, members)) and (
            split_from_folder(same) == splits.get(name, "") or same.casefold() in WRAPPER_WORDS
        ):
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
        split = splits[parts[0]] if parts else ""
        place = FolderLabel(_label(rests[i][0]) if rests[i] else "", split)
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
