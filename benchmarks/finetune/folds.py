"""Data whose split is given, so that all who are compared learn from the same examples and are held against the same others."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

from sklearn.model_selection import StratifiedKFold

FOLDS = 5
SPLITS = ("train", "validation", "test")


def photo_folds(photos: Path, out: Path) -> list[Path]:
    """For each fold a folder `train/`, `validation/`, `test/` with a folder of pictures for each class.

    A fifth is held out; of the rest a seventh is for choosing.
    """
    paths = sorted(path for path in photos.glob("*/*") if path.is_file())
    parts = _parts([path.parent.name for path in paths])
    folders = []
    for number, split_of in enumerate(parts):
        folder = out / f"photos-{number}"
        if not folder.is_dir():
            draft = out / f"photos-{number}.draft"
            shutil.rmtree(draft, ignore_errors=True)
            for path, split in zip(paths, split_of, strict=True):
                target = draft / split / path.parent.name
                target.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target / path.name)
            draft.rename(folder)
        folders.append(folder)
    return folders


def text_folds(table: Path, out: Path) -> list[Path]:
    """For each fold the table with a column `split`."""
    with table.open(encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    made = []
    out.mkdir(parents=True, exist_ok=True)
    for number, split_of in enumerate(_parts([row["topic"] for row in rows])):
        path = out / f"{table.stem}-{number}.csv"
        with path.open("w", encoding="utf-8", newline="") as handle:
            writer = csv.writer(handle)
            writer.writerow(["text", "topic", "split"])
            writer.writerows([row["text"], row["topic"], split] for row, split in zip(rows, split_of, strict=True))
        made.append(path)
    return made


def _parts(labels: list[str]) -> list[list[str]]:
    """For each fold, the split of every example."""
    outer = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    parts = []
    for rest, test in outer.split(labels, labels):
        split_of = ["train"] * len(labels)
        for index in test:
            split_of[index] = "test"
        inner = StratifiedKFold(7, shuffle=True, random_state=0)
        _, chosen = next(iter(inner.split(rest, [labels[i] for i in rest])))
        for index in chosen:
            split_of[rest[index]] = "validation"
        parts.append(split_of)
    return parts
