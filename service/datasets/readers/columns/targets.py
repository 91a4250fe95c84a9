"""Finding the columns that nobody named, and reading targets."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping, Sequence

from service.datasets.dataset import Columns, DatasetKind
from service.datasets.formatting import (
    clean_name,
    counted,
    has_control,
    listed,
    no_such_column,
    shown,
)
from service.datasets.overrides import NONE, Overrides, task_names
from service.datasets.readers.columns.cells import BOUNDS, LARGEST_NUMBER, Reading
from service.datasets.readers.columns.schema import (
    DISTINCT,
    MOSTLY_NUMBERS,
    Summary,
    is_missing,
    number,
)
from service.datasets.readers.inferred import Infer, nowhere
from service.datasets.readers.parsed_example import ParsedExample, Target
from service.datasets.readers.tables.table import Cell
from service.datasets.split_names import split_called
from service.errors import InvalidInput

TARGETS = ("label", "target", "class", "category", "labels", "class_name", "y")
TEXTS = ("text", "sentence", "review", "content", "body", "message", "comment", "document")
SPLIT_COLUMNS = ("split", "subset", "partition")
TIMES = ("time", "timestamp", "datetime", "date", "ds", "month", "datum", "zeit", "zeitstempel", "fecha")
TIMES_OF_SERIES = (
    *(
        "ts",
        "time_stamp",
        "date_time",
        "unix",
        "unixtime",
        "unix_time",
        "epoch",
        "epoch_ms",
        "epoch_s",
        "time_ms",
        "time_s",
    ),
    *(
        "timestamp_ms",
        "timestamp_s",
        "year",
        "years",
        "jahr",
        "anno",
        "année",
        "annee",
        "año",
        "ano",
        "quarter",
        "quartal",
    ),
    *("week", "woche", "day", "tag", "fecha_hora", "jour", "period", "periode", "hour", "stunde", "t"),
)
"""What times are called, too, in data that are a series; elsewhere such a column may be any input."""
FILES = ("image", "file", "file_name", "filename", "path", "image_path", "picture", "photo", "audio")
MEANINGS = ("text", "target", "image", "split", "time", "series")
AS_WRITTEN = Reading()
MOST_NUMBER_CLASSES = 20
"""Whole numbers are classes where there are no more different ones than this, and each comes twice on average."""


def cleaned(columns: Columns) -> Columns:
    """The names that a caller gave, as those of a table's header are cleaned."""
    roles = {meaning: clean_name(getattr(columns, meaning)) for meaning in MEANINGS}
    return columns.model_copy(update={**roles, "ignored": tuple(map(clean_name, columns.ignored))})


def check_named(columns: Columns, names: Sequence[str]) -> None:
    """Raises InvalidInput for a column that the caller named and the table has not, or that means two things."""
    meanings: dict[str, str] = {}
    for meaning in MEANINGS:
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


def find_split(summaries: Mapping[str, Summary], infer: Infer = nowhere) -> str:
    """A column that says nothing but `train`, `validation` and `test`."""
    name = by_usual_name(SPLIT_COLUMNS, summaries)
    if not name:
        infer("split", "drawn by Zoo", "no column says which examples are held out; --split names one")
        return ""
    if strange := [value for value in summaries[name].distinct if not split_called(value)]:
        infer(
            "split",
            "drawn by Zoo",
            f"column {shown(name)} holds {listed(strange[:3])}, and a split is train, validation or test;"
            " the column counts as an input",
        )
        return ""
    infer("split", name, "the column is called so and says which examples are held out; --split decides otherwise")
    return name


def find_target(summaries: Mapping[str, Summary], infer: Infer = nowhere, columns: tuple[str, ...] = ()) -> str:
    """The column to be learned, by its usual name, or the only one there is; `columns` are all of the table.

    Raises InvalidInput where that is not clear.
    """
    found = by_usual_name(TARGETS, summaries)
    if found:
        infer("target", found, "a column to be learned is often called so; --target decides otherwise")
        return found
    if len(summaries) == 1:
        found = next(iter(summaries))
        infer("target", found, "no other column is left; --target decides otherwise")
        return found
    if not summaries:
        only = f"the table has only one column, {shown(columns[0])}; " if len(columns) == 1 else ""
        raise InvalidInput(
            "header.columns.target",
            f"{only}there is no column left to be learned; perhaps the cells are separated by something else than , ; | or tab",
        )
    hint = "; the first line is to name the columns, and this one looks like data" if looks_like_data(summaries) else ""
    raise InvalidInput(
        "header.columns.target",
        f"cannot tell which column is to be learned; name one of {listed(tuple(summaries))}{hint}",
    )


def looks_like_data(summaries: Mapping[str, Summary]) -> bool:
    """Whether what should be names of columns are rather cells: numbers, or what the column holds again and again."""
    return any(
        ("." in name and number(name) is not None) or summary.distinct.get(name, 0) > 1
        for name, summary in summaries.items()
    )


def kind_of(
    summary: Summary,
    *,
    number_wanted: bool = False,
    wishes: Overrides = NONE,
    kind: DatasetKind = DatasetKind.TABLE,
) -> Target:
    """Whether a target is a class or a number: whole numbers of few values are classes unless a number is wanted.

    `wishes`: what the caller said, which decides. Raises InvalidInput where there is nothing to learn in it, or not that.
    """
    name = shown(summary.name)
    if summary.lists and not summary.distinct:
        raise InvalidInput("header.columns.target", f"{name} holds lists or objects; a text or number can be learned")
    if not summary.distinct:
        raise InvalidInput("header.columns.target", f"{name} is empty in every row")
    if wishes.target is Target.CLASS:
        _tell_classes(summary, wishes)
        return Target.CLASS
    values, filled = summary.values, summary.filled
    many = f"more than {DISTINCT - 1:,}" if values >= DISTINCT else f"{values:,}"
    as_class, as_number = task_names(kind)
    if not summary.numeric:
        _refuse_unread(summary, wishes.target)
        sample = shown(summary.reading.name(next(iter(summary.distinct))))
        _tell_classes(summary, wishes)
        wishes.infer("task", as_class, f"{name} holds texts, {many} different ones such as {sample}")
        return Target.CLASS
    if wishes.target is Target.NUMBER or number_wanted:
        _tell_merged(summary, as_class, wishes)
        return Target.NUMBER
    held = f"{name} holds {many} different whole numbers"
    if not summary.all_whole:
        why = f"{name} holds numbers with fractions"
    elif summary.notation.unit:
        why = f"{name} holds numbers with {summary.notation.unit}"
    elif summary.merged and 2 * values <= filled:
        why = f"{held}, some of which differ only beyond 16 digits, as ids do, and they come again"
        wishes.infer("task", as_class, f"{why}; --task {as_number} decides otherwise")
        return Target.CLASS
    elif values > MOST_NUMBER_CLASSES:
        why = f"{held}, more than {MOST_NUMBER_CLASSES}"
    elif 2 * values > filled:
        why = f"{held} in {counted(filled, 'row')}, so that hardly one comes twice"
    else:
        why = f"{held}, not more than {MOST_NUMBER_CLASSES}, and they come again"
        wishes.infer("task", as_class, f"{why}; --task {as_number} decides otherwise")
        _tell_classes(summary, wishes)
        return Target.CLASS
    wishes.infer("task", as_number, f"{why}; --task {as_class} decides otherwise")
    _tell_merged(summary, as_class, wishes)
    return Target.NUMBER


def _tell_merged(summary: Summary, as_class: str, wishes: Overrides) -> None:
    if summary.merged:
        why = f"some differ only in later digits, as ids do; --task {as_class} keeps them apart"
        wishes.infer(f"numbers of {shown(summary.name)}", "read to 16 digits", why)


def _tell_classes(summary: Summary, wishes: Overrides) -> None:
    if summary.truths and not summary.reading.truths:
        names = {name.casefold() for name in summary.truths}
        why = f"{shown(summary.name)} writes them in several ways, {listed(tuple(summary.truths))}"
        wishes.infer("classes", f"called {' and '.join(sorted(names, reverse=True))}", why)
    if summary.points and summary.reading.whole:
        why = f"{shown(summary.name)} holds nothing but whole numbers, of which 1.0 and 1 are one"
        wishes.infer("classes", "called by whole numbers, without .0", why)


def _refuse_unread(summary: Summary, wanted: Target | None) -> None:
    """Raises InvalidInput for a target that people would read as numbers and that is none as it is written."""
    name, sample = shown(summary.name), shown(next(iter(summary.distinct)))
    many = summary.values > MOST_NUMBER_CLASSES
    if summary.unread and (many or wanted is Target.NUMBER):
        raise InvalidInput("header.columns.target", f"{name} holds numbers, but {summary.unread}")
    measured = summary.numbers + summary.decorated + summary.measured >= MOSTLY_NUMBERS * summary.filled
    if measured and (wanted is Target.NUMBER or (many and 2 * summary.values > summary.filled)):
        raise InvalidInput(
            "header.columns.target",
            f"{name} holds numbers with something beside them, such as {sample}; write the numbers alone, with a point for"
            " decimals",
        )
    if wanted is Target.NUMBER:
        raise InvalidInput("header.task", f"a number is to be learned, and {name} holds texts, such as {sample}")


def read_class(cell: Cell, name_characters: int, reading: Reading = AS_WRITTEN) -> tuple[str, str]:
    """(class, "") or ("", what is wrong). A class is called as it is written: `1E2`, `+1` and `007` are no numbers here."""
    name = reading.name(cell)
    if isinstance(cell, list):
        return "", "the target is a list; expected a text or number"
    if name is None:
        return "", "the target is NaN" if _is_nan(cell) else "the target is empty"
    return _checked(name, name_characters)


def _checked(name: str, name_characters: int) -> tuple[str, str]:
    if len(name) > name_characters:
        return "", f"the class has a name of more than {name_characters} characters"
    if has_control(name):
        return "", "the class has a name with control characters"
    return name, ""


def read_folder(name: str, name_characters: int) -> tuple[str, str]:
    """(class, "") or ("", what is wrong), of a folder: its name as it is written, whatever it looks like."""
    name = " ".join(name.split())
    return _checked(name if name.isascii() else unicodedata.normalize("NFC", name), name_characters)


def read_number(cell: Cell, reading: Reading = AS_WRITTEN) -> tuple[float, str]:
    """(number, "") or (0, what is wrong)."""
    value = number(cell, reading.notation)
    if value is None or math.isnan(value):
        if _is_nan(cell):
            return 0.0, "the target is NaN"
        return 0.0, "the target is empty" if is_missing(cell) else f"expected a number as target, got {shown(cell)}"
    if not -LARGEST_NUMBER <= value <= LARGEST_NUMBER:
        return 0.0, "the target is infinite" if math.isinf(value) else f"the target is {shown(cell)}; expected {BOUNDS}"
    return value, ""


def _is_nan(cell: Cell) -> bool:
    return (isinstance(cell, str) and cell.strip().casefold() == "nan") or (
        isinstance(cell, float) and math.isnan(cell)
    )


def read_split(cell: Cell) -> tuple[str, str]:
    """(split, "") or ("", what is wrong)."""
    if is_missing(cell):
        return "", ""
    split = split_called(str(cell))
    return (split, "") if split else ("", f"the split is {shown(cell)}; expected train, validation or test")


def add_target(
    draft: ParsedExample,
    cells: Mapping[str, Cell],
    columns: Columns,
    target: Target,
    name_characters: int,
    reading: Reading = AS_WRITTEN,
) -> str:
    """Reads target and split of a row into its draft; gives what is wrong, or nothing. `reading`: of the target's column."""
    problem = ""
    if target is Target.CLASS:
        draft.label, problem = read_class(cells.get(columns.target), name_characters, reading)
    elif target is Target.NUMBER:
        draft.number, problem = read_number(cells.get(columns.target), reading)
    if not problem and columns.split:
        draft.split, problem = read_split(cells.get(columns.split))
    return problem
