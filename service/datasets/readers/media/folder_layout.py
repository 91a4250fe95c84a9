"""Derives classes and splits from the folders of files: `class/file`, `train/class/file`, `class/train/file`.

- A folder above the classes that all files share (`photos/cats/1.jpg`) is no class.
- A folder named after a split is one (`train`, `test_set`, `seg_train`). Below it, a folder that only repeats its name
  (`training_set/training_set`), or that only wraps the classes (`train/images/cat` beside `test/cat`), is no class.
- A folder of any name beside one for training is a split if it has the same classes.
- Numbered folders with the same folders below (`fold1/cat`, `fold2/cat`) are no classes.
- Otherwise the first folder names the class. Deeper folders do not count, and a warning names them.
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
    """The class and split of a file, by its folders; the class is empty for a file outside of all class folders."""

    label: str
    split: str
    problem: str = ""
    """Why the class is unknown."""


@dataclass(frozen=True, slots=True)
class FolderLayout:
    """The classes and splits of all files, and the decisions that the caller may want otherwise."""

    labels: tuple[FolderLabel, ...]
    above: tuple[str, ...] = ()
    """Folders above the classes that all contain the same classes, and are no classes themselves: `fold1`, `fold2`."""
    below: tuple[str, ...] = ()
    """Folders below those of the classes, which do not count."""
    guessed: tuple[tuple[str, str], ...] = ()
    """(folder, assumed split) of folders beside one for training, whose own names tell nothing."""

    def remark(self) -> str:
        """A warning about ignored folders, or an empty text."""
        return f"folders below those of the classes do not count: {quoted_list(self.below[:5])}" if self.below else ""


def folder_labels(paths: Sequence[PurePosixPath]) -> list[FolderLabel]:
    """The class and split of each file."""
    return list(read_layout(paths).labels)


def read_layout(paths: Sequence[PurePosixPath]) -> FolderLayout:
    """The classes and splits that the folders of all files give."""
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
    """The names at a level below each first folder; folders that only wrap their content are skipped."""
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
    """Whether folders below others are classes because nearly all of them occur in each: `fold1/cat`, `fold2/cat`.

    This holds only if the first folders are numbered. First folders with different names are the classes, since in `cat/left` and
    `dog/left`, or `kaggle/cat` and `own/cat`, nothing tells which level is meant. Folders with other uses (`cat/masks`) are
    parts of a class.
    """
    if not _serial(above):
        return False
    every = set().union(*sets)
    if len(every) < 2 or "" in every or any(name.casefold() in WRAPPER_WORDS | _ASIDE for name in every):
        return False
    return 4 * sum(map(len, sets)) > 3 * len(every) * len(sets)


def _serial(names: Collection[str]) -> bool:
    """Whether names differ only in a number."""
    stems = {re.sub(r"[\W\d_]+", "", name).casefold() for name in names}
    return len(stems) == 1 and not stems & _CLASS_WORDS and all(re.search(r"\d", name) for name in names)


def _below(folders: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """Different folders within a class, which do not count."""
    within: dict[str, set[str]] = {}
    for parts in folders:
        if len(parts) > 1:
            within.setdefault(parts[0], set()).add(parts[1])
    return tuple(sorted(set().union(*(names for names in within.values() if len(names) > 1))))


def _beside_train(folders: Sequence[tuple[str, ...]], splits: Mapping[str, str]) -> bool:
    """Whether all folders without a split word have the classes of the folder for training beside them."""
    classes = _sets(folders, 1)
    trained = set().union(*(below for name, below in classes.items() if splits[name] == "train"))
    others = [below for name, below in classes.items() if not splits[name]]
    if len(trained) < 2 or "" in trained:
        return False
    return bool(others) and all(2 * len(below & trained) >= len(below | trained) for below in others)


def _guessed(folders: Sequence[tuple[str, ...]], splits: Mapping[str, str]) -> FolderLayout:
    """The layout of folders with the same classes, at least one of them named after a split. A single folder of another name is
    the test split if there is one for training and none for the test; otherwise such folders are for training."""
    loose = {name: split or only_split_in(name) for name, split in splits.items()}
    unknown = [name for name, split in loose.items() if not split]
    given = set(loose.values())
    held_out = len(unknown) == 1 and "train" in given and "test" not in given
    loose |= dict.fromkeys(unknown, "test" if held_out else "train")
    guessed = tuple(sorted((name, split) for name, split in loose.items() if not splits[name]))
    return FolderLayout(tuple(_below_splits(folders, loose)), guessed=guessed)


def split_folders_alone(paths: Sequence[PurePosixPath]) -> str:
    """The problem with files in folders of splits without folders of classes below; otherwise an empty text."""
    found = folder_labels(paths)
    if any(folder.label for folder in found) or not any(folder.split for folder in found):
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
    """The folders below the shared ones. Files in a shared folder, or beside it, have no class."""
    while len({parts[0] for parts in folders if parts}) == 1 and any(len(parts) > 1 for parts in folders):
        folders = [parts[1:] for parts in folders]
    return folders


def _are_splits(folders: Sequence[tuple[str, ...]], splits: Mapping[str, str]) -> bool:
    """Whether the first folders are splits: all of them, or those for training and evaluation that have classes below."""
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
        folder = FolderLabel(_label(rests[i][0]) if rests[i] else "", split)
        if not split:
            folder = replace(
                folder, label="", problem="lies beside the folders of the splits, so its class is not known"
            )
        elif not folder.label:
            folder = replace(folder, problem="lies in no folder below that of its split, so its class is not known")
        found.append(folder)
    return found


def _only(rests: dict[int, tuple[str, ...]], members: Sequence[int]) -> str:
    """The first folder of all members, if it is the same; otherwise an empty text."""
    names = {rests[i][0] if rests[i] else "" for i in members}
    return names.pop() if len(names) == 1 else ""


def _label(folder: str) -> str:
    """The name of a class: composed (NFC), with single spaces."""
    return " ".join(unicodedata.normalize("NFC", folder).split())
