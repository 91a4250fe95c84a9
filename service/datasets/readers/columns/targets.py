"""Decides whether a target is a class or a number, and reads targets and splits from cells."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping

from service.datasets.dataset import Columns, DatasetKind
from service.datasets.formatting import (
    counted,
    has_control,
    quoted,
    quoted_list,
)
from service.datasets.overrides import MULTI_LABEL, NO_OVERRIDES, Overrides, task_names
from service.datasets.readers.columns.cells import LARGEST_NUMBER, NUMBER_RANGE, CellReading, is_missing, to_number
from service.datasets.readers.columns.column_summary import DISTINCT, MOSTLY_NUMBERS, ColumnSummary
from service.datasets.readers.parsed_example import ParsedExample, TargetKind
from service.datasets.readers.tables.table import Cell
from service.datasets.split_names import split_from_word
from service.errors import InvalidInput

AS_WRITTEN = CellReading()
MAX_NUMBER_CLASSES = 20
"""Whole numbers are classes if there are at most this many different ones, and each occurs twice on average."""


def target_kind_of(
    summary: ColumnSummary,
    *,
    number_wanted: bool = False,
    overrides: Overrides = NO_OVERRIDES,
    kind: DatasetKind = DatasetKind.TABLE,
    separator: str = "",
) -> TargetKind:
    """Whether a target is a class, several classes, or a number: few different whole numbers are classes unless a number is
    wanted.

    `overrides`: what the caller decided. `separator`: the text between several classes of a cell, as the caller named it. Raises
    InvalidInput for a target from which a model cannot learn, or not as decided.
    """
    name = quoted(summary.name)
    number = overrides.target is TargetKind.NUMBER or number_wanted
    mixed = (
        summary.word_lists > 0 and kind in MULTI_LABEL and not number
    )  # an example of one class may be without a list
    if separator or mixed or has_several(summary):
        _check_several(name, separator, number, kind)
        why = f"the separator {quoted(separator)} was named" if separator else f"{name} holds lists"
        overrides.infer("target", f"{summary.name}, any number of classes", why)
        return TargetKind.CLASSES
    if not summary.distinct:
        raise InvalidInput("header.columns.target", f"{name} is empty in every row")
    if overrides.target is TargetKind.CLASS:
        _tell_classes(summary, overrides)
        return TargetKind.CLASS
    values, filled = summary.distinct_count, summary.non_missing
    many = f"more than {DISTINCT - 1:,}" if values >= DISTINCT else f"{values:,}"
    as_class, as_number = task_names(kind)
    if not summary.numeric:
        _refuse_unread(summary, overrides.target)
        sample = quoted(summary.reading.name(next(iter(summary.distinct))))
        _tell_classes(summary, overrides)
        overrides.infer("task", as_class, f"{name} holds texts, {many} different ones such as {sample}")
        return TargetKind.CLASS
    if number:
        _tell_merged(summary, as_class, overrides)
        return TargetKind.NUMBER
    held = f"{name} holds {many} different whole numbers"
    if not summary.all_whole:
        why = f"{name} holds numbers with fractions"
    elif summary.notation.unit:
        why = f"{name} holds numbers with {summary.notation.unit}"
    elif summary.loses_digits and 2 * values <= filled:
        why = f"{held}, some of which differ only beyond 16 digits, as ids do, and they repeat"
        overrides.infer("task", as_class, f"{why}; --task {as_number} decides otherwise")
        return TargetKind.CLASS
    elif values > MAX_NUMBER_CLASSES:
        why = f"{held}, more than {MAX_NUMBER_CLASSES}"
    elif 2 * values > filled:
        why = f"{held} in {counted(filled, 'row')}, so hardly any repeats"
    else:
        why = f"{held}, not more than {MAX_NUMBER_CLASSES}, and they repeat"
        overrides.infer("task", as_class, f"{why}; --task {as_number} decides otherwise")
        _tell_classes(summary, overrides)
        return TargetKind.CLASS
    overrides.infer("task", as_number, f"{why}; --task {as_class} decides otherwise")
    _tell_merged(summary, as_class, overrides)
    return TargetKind.NUMBER


def has_several(summary: ColumnSummary) -> bool:
    """Whether a column holds lists alone, each of the classes of an example."""
    return summary.lists > 0 and not summary.distinct


def _check_several(name: str, separator: str, number: bool, kind: DatasetKind) -> None:
    """Raises InvalidInput for data that do not learn several classes of an example."""
    field = "header.columns.label_separator" if separator else "header.columns.target"
    what = "a separator of classes was named" if separator else f"{name} holds lists or objects"
    if number:
        raise InvalidInput(field, f"{what}, and a number is to be learned; a text or number can be learned")
    if kind not in MULTI_LABEL:
        raise InvalidInput(
            field, f"{what}; several classes are learned of texts, pictures and sounds, and these data are a {kind}"
        )


def _tell_merged(summary: ColumnSummary, as_class: str, overrides: Overrides) -> None:
    if summary.loses_digits:
        why = f"some differ only in later digits, as ids do; --task {as_class} keeps them apart"
        overrides.infer(f"numbers of {quoted(summary.name)}", "read to 16 digits", why)


def _tell_classes(summary: ColumnSummary, overrides: Overrides) -> None:
    if summary.boolean_spellings and not summary.reading.boolean_spellings:
        names = {name.casefold() for name in summary.boolean_spellings}
        why = f"{quoted(summary.name)} writes them in several ways, {quoted_list(tuple(summary.boolean_spellings))}"
        overrides.infer("classes", f"called {' and '.join(sorted(names, reverse=True))}", why)
    if summary.decimal_points and summary.reading.whole:
        why = f"{quoted(summary.name)} holds nothing but whole numbers, of which 1.0 and 1 are one"
        overrides.infer("classes", "called by whole numbers, without .0", why)


def _refuse_unread(summary: ColumnSummary, wanted: TargetKind | None) -> None:
    """Raises InvalidInput for a target that people would read as numbers, but that cannot be read as written."""
    name, sample = quoted(summary.name), quoted(next(iter(summary.distinct)))
    many = summary.distinct_count > MAX_NUMBER_CLASSES
    if summary.unreadable_problem and (many or wanted is TargetKind.NUMBER):
        raise InvalidInput("header.columns.target", f"{name} holds numbers, but {summary.unreadable_problem}")
    measured = summary.numbers + summary.decorated + summary.unknown_units >= MOSTLY_NUMBERS * summary.non_missing
    if measured and (wanted is TargetKind.NUMBER or (many and 2 * summary.distinct_count > summary.non_missing)):
        raise InvalidInput(
            "header.columns.target",
            f"{name} holds numbers with something beside them, such as {sample}; write the numbers alone, with a point for"
            " decimals",
        )
    if wanted is TargetKind.NUMBER:
        raise InvalidInput("header.task", f"a number is to be learned, and {name} holds texts, such as {sample}")


def read_class(cell: Cell, name_characters: int, reading: CellReading = AS_WRITTEN) -> tuple[str, str]:
    """(class, "") or ("", what is wrong). A class keeps its spelling: `1E2`, `+1` and `007` are no numbers here."""
    name = reading.name(cell)
    if isinstance(cell, list):
        return "", "the target is a list; expected a text or number"
    if name is None:
        return "", "the target is NaN" if _is_nan(cell) else "the target is empty"
    return _checked(name, name_characters)


def read_classes(
    cell: Cell, name_characters: int, separator: str, reading: CellReading = AS_WRITTEN
) -> tuple[tuple[str, ...], str]:
    """(classes, sorted, "") or ((), what is wrong). An empty list, or a separator alone, is no class; an empty cell is
    missing."""
    if isinstance(cell, str) and separator:
        if not cell.strip():
            return (), "the target is empty"
        parts: list[Cell] = [part for part in cell.split(separator) if part.strip()]
    elif isinstance(cell, list):
        parts = cell
    else:
        name, problem = read_class(cell, name_characters, reading)
        return (() if problem else (name,)), problem
    names = set[str]()
    for number, part in enumerate(parts, 1):
        if isinstance(part, list | dict):
            return (), f"class {number} of the target is a list or object; expected a text or number"
        name, problem = read_class(part, name_characters, reading)
        if problem:
            return (), problem.replace("the target", f"class {number} of the target", 1)
        names.add(name)
    return tuple(sorted(names)), ""


def _checked(name: str, name_characters: int) -> tuple[str, str]:
    if len(name) > name_characters:
        return "", f"the class has a name of more than {name_characters} characters"
    if has_control(name):
        return "", "the class has a name with control characters"
    return name, ""


def read_class_folder(name: str, name_characters: int) -> tuple[str, str]:
    """(class, "") or ("", what is wrong) for a folder, whose name keeps its spelling."""
    name = " ".join(name.split())
    return _checked(name if name.isascii() else unicodedata.normalize("NFC", name), name_characters)


def read_number(cell: Cell, reading: CellReading = AS_WRITTEN) -> tuple[float, str]:
    """(number, "") or (0, what is wrong)."""
    value = to_number(cell, reading.notation)
    if value is None or math.isnan(value):
        if _is_nan(cell):
            return 0.0, "the target is NaN"
        return 0.0, "the target is empty" if is_missing(cell) else f"expected a number as target, got {quoted(cell)}"
    if not -LARGEST_NUMBER <= value <= LARGEST_NUMBER:
        return 0.0, "the target is infinite" if math.isinf(
            value
        ) else f"the target is {quoted(cell)}; expected {NUMBER_RANGE}"
    return value, ""


def _is_nan(cell: Cell) -> bool:
    return (isinstance(cell, str) and cell.strip().casefold() == "nan") or (
        isinstance(cell, float) and math.isnan(cell)
    )


def read_split(cell: Cell) -> tuple[str, str]:
    """(split, "") or ("", what is wrong)."""
    if is_missing(cell):
        return "", ""
    split = split_from_word(str(cell))
    return (split, "") if split else ("", f"the split is {quoted(cell)}; expected train, validation or test")


def add_target(
    example: ParsedExample,
    cells: Mapping[str, Cell],
    columns: Columns,
    target: TargetKind,
    name_characters: int,
    reading: CellReading = AS_WRITTEN,
) -> str:
    """Reads target and split of a row into `example`; returns what is wrong, or an empty text. `reading`: of the target's
    column."""
    problem = ""
    if target is TargetKind.CLASS:
        example.label, problem = read_class(cells.get(columns.target), name_characters, reading)
    elif target is TargetKind.NUMBER:
        example.number, problem = read_number(cells.get(columns.target), reading)
    elif target is TargetKind.CLASSES:
        separator = columns.label_separator
        example.labels, problem = read_classes(cells.get(columns.target), name_characters, separator, reading)
    if not problem and columns.split:
        example.split, problem = read_split(cells.get(columns.split))
    return problem
