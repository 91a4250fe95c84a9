"""Data with a fixed split, so that all methods train and are tested on the same examples."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

from sklearn.model_selection import StratifiedKFold

FOLDS = 5
SPLITS = ("train", "validation", "test")


def photo_folds(photos: Path, out: Path) -> list[Path]:
    """For each fold a folder with `train/`, `validation/` and `test/`, each with a folder of images for each class.

    A fifth is the test data; a seventh of the rest is the validation data.
    """
    paths = sorted(path for path in photos.glob("*/*") if path.is_file())
    splits = _splits([path.parent.name for path in paths])
    folders = []
    for number, split_of in enumerate(splits):
        folder = out / f"photos-{number}"
        if not folder.is_dir():
            staged = out / f"photos-{number}.draft"
            shutil.rmtree(staged, ignore_errors=True)
            for path, split in zip(paths, split_of, strict=True):
                target = staged / split / path.parent.name
                target.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target / path.name)
            staged.rename(folder)
        folders.append(folder)
    return folders


def text_folds(table: Path, out: Path) -> list[Path]:
    """For each fold the table with a column `split`."""
    with table.open(encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    made = []
    out.mkdir(parents=True, exist_ok=True)
    for number, split_of in enumerate(_splits([row["topic"] for row in rows])):
        path = out / f"{table.stem}-{number}.csv"
        with path.open("w", encoding="utf-8", newline="") as handle:
            writer = csv.writer(handle)
            writer.writerow(["text", "topic", "split"])
            writer.writerows([row["text"], row["topic"], split] for row, split in zip(rows, split_of, strict=True))
        made.append(path)
    return made


def _splits(labels: list[str]) -> list[list[str]]:
    """For each fold, the split of every example."""
    outer = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    splits = []
    for rest, test in outer.split(labels, labels):
        split_of = ["train"] * len(labels)
        for index in test:
            split_of[index] = "test"
        inner = StratifiedKFold(7, shuffle=True, random_state=0)
        _, chosen = next(iter(inner.split(rest, [labels[i] for i in rest])))
        for index in chosen:
            split_of[rest[index]] = "validation"
        splits.append(split_of)
    return splits
