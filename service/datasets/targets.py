"""Finding the columns that nobody named, and reading targets."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from service.datasets.dataset import Columns
from service.datasets.draft import SPLITS, Draft, Target
from service.datasets.inspection import Summary, is_missing, number
from service.datasets.tables import Cell
from service.datasets.words import has_control, listed, no_such_column, shown
from service.errors import InvalidInput

TARGETS = ("label", "target", "class", "category", "labels", "class_name", "y")
TEXTS = ("text", "sentence", "review", "content", "body", "message", "comment", "document")
SPLIT_COLUMNS = ("split", "subset", "partition")
TIMES = ("time", "timestamp", "datetime", "date", "ds", "month")
FILES = ("image", "file", "file_name", "filename", "path", "image_path", "picture", "photo", "audio")
MOST_NUMBER_CLASSES = 20
"""Whole numbers are classes where there are no more different ones than this, and each comes twice on average."""


def check_named(columns: Columns, names: Sequence[str]) -> None:
    """Raises InvalidInput for a column that the caller named and the table has not, or that means two things."""
    meanings: dict[str, str] = {}
    for meaning in ("text", "target", "image", "split", "time", "series"):
        name = getattr(columns, meaning)
        if not name:
            continue
        if name not in names:
            raise no_such_column(meaning, name, names)
        if name in meanings:
            raise InvalidInput(
                f"header.columns.{meaning}", f"{shown(name)} is the column of the {meanings[name]} already"
            )
        if name in columns.ignored:
            raise InvalidInput("header.columns.ignored", f"{shown(name)} is named as the column of the {meaning} too")
        meanings[name] = meaning
    for name in columns.ignored:
        if name not in names:
            raise no_such_column("ignored", name, names)


def by_usual_name(usual: Sequence[str], summaries: Mapping[str, Summary]) -> str:
    """The only column that has one of the usual names; empty where there is none. The first usual name wins."""
    folded = {name.strip().casefold(): name for name in summaries}
    return next((folded[name] for name in usual if name in folded), "")


def find_split(summaries: Mapping[str, Summary]) -> str:
    """A column that says nothing but `train`, `validation` and `test`."""
    name = by_usual_name(SPLIT_COLUMNS, summaries)
    return name if name and all(value.casefold() in SPLITS for value in summaries[name].distinct) else ""


def find_target(summaries: Mapping[str, Summary]) -> str:
    """The column to be learned, by its usual name, or the only one there is. Raises InvalidInput where that is not clear."""
    found = by_usual_name(TARGETS, summaries) or (next(iter(summaries)) if len(summaries) == 1 else "")
    if not found:
        data = any(number(name) is not None for name in summaries)
        hint = "; the first line is to name the columns, and this one looks like data" if data else ""
        raise InvalidInput(
            "header.columns.target",
            f"cannot tell which column is to be learned; name one of {listed(tuple(summaries))}{hint}",
        )
    return found


def kind_of(summary: Summary, *, number_wanted: bool = False) -> Target:
    """Whether a target is a class or a number: whole numbers of few values are classes unless a number is wanted.

    Raises InvalidInput where there is nothing to learn in it.
    """
    if summary.lists and not summary.distinct:
        raise InvalidInput(
            "header.columns.target", f"{shown(summary.name)} holds lists or objects; a text or number can be learned"
        )
    if not summary.distinct:
        raise InvalidInput("header.columns.target", f"{shown(summary.name)} is empty in every row")
    values = len(summary.distinct)
    if summary.with_comma and values > MOST_NUMBER_CLASSES:
        raise InvalidInput(
            "header.columns.target",
            f"{shown(summary.name)} holds numbers with commas, such as {shown(next(iter(summary.distinct)))};"
            " write them without, and with a point for decimals",
        )
    if not summary.numeric:
        return Target.CLASS
    classes = summary.whole == summary.numbers and values <= MOST_NUMBER_CLASSES and 2 * values <= summary.numbers
    return Target.CLASS if classes and not number_wanted else Target.NUMBER


def read_class(cell: Cell, name_characters: int) -> tuple[str, str]:
    """(class, "") or ("", what is wrong)."""
    if (
        isinstance(cell, str)
        and (value := number(cell)) is not None
        and value.is_integer()
        and not cell.strip().isdigit()
    ):
        cell = value  # "1.0" and "1" are one class
    name = category(cell)
    if isinstance(cell, list):
        return "", "the target is a list; expected a text or number"
    if name is None:
        return "", "the target is NaN" if _is_nan(cell) else "the target is empty"
    if len(name) > name_characters:
        return "", f"the class has a name of more than {name_characters} characters"
    if has_control(name):
        return "", "the class has a name with control characters"
    return name, ""


def read_number(cell: Cell) -> tuple[float, str]:
    """(number, "") or (0, what is wrong)."""
    value = number(cell)
    if value is None or math.isnan(value):
        if _is_nan(cell):
            return 0.0, "the target is NaN"
        return 0.0, "the target is empty" if is_missing(cell) else f"expected a number as target, got {shown(cell)}"
    return (0.0, "the target is infinite") if math.isinf(value) else (value, "")


def _is_nan(cell: Cell) -> bool:
    return (isinstance(cell, str) and cell.strip().casefold() == "nan") or (
        isinstance(cell, float) and math.isnan(cell)
    )


def read_split(cell: Cell) -> tuple[str, str]:
    """(split, "") or ("", what is wrong)."""
    if is_missing(cell):
        return "", ""
    split = SPLITS.get(str(cell).strip().casefold())
    return (split, "") if split else ("", f"the split is {shown(cell)}; expected train, validation or test")


def add_target(draft: Draft, cells: Mapping[str, Cell], columns: Columns, target: Target, name_characters: int) -> str:
    """Reads target and split of a row into its draft; gives what is wrong, or nothing."""
    problem = ""
    if target is Target.CLASS:
        draft.label, problem = read_class(cells.get(columns.target), name_characters)
    elif target is Target.NUMBER:
        draft.number, problem = read_number(cells.get(columns.target))
    if not problem and columns.split:
        draft.split, problem = read_split(cells.get(columns.split))
    return problem
