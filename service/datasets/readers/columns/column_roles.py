"""Which column of a table has which role: named by the caller, found by a common name, or the only one left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from service.datasets.dataset import Columns
from service.datasets.formatting import clean_name, no_such_column, quoted, quoted_list
from service.datasets.readers.columns.cells import to_number
from service.datasets.readers.columns.column_summary import ColumnSummary
from service.datasets.readers.inferred_facts import Infer, ignore_inferred
from service.datasets.readers.tables.table import Table
from service.datasets.split_names import split_from_word
from service.errors import InvalidInput

TARGET_NAMES = ("label", "target", "class", "category", "labels", "class_name", "y")
TEXT_NAMES = ("text", "sentence", "review", "content", "body", "message", "comment", "document")
PAIR_NAMES = (
    ("text", "text_pair"),
    ("premise", "hypothesis"),
    ("sentence1", "sentence2"),
    ("sentence_1", "sentence_2"),
    ("sentence_a", "sentence_b"),
    ("question1", "question2"),
    ("text1", "text2"),
    ("text_1", "text_2"),
    ("text_a", "text_b"),
)
"""Names of two columns of texts that are read together, in the order in which they are read."""
SPLIT_NAMES = ("split", "subset", "partition")
TIME_NAMES = ("time", "timestamp", "datetime", "date", "ds", "month", "datum", "zeit", "zeitstempel", "fecha")
SERIES_TIME_NAMES = (
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
"""Further names of times in data that are a series; elsewhere such a column may be any input."""
FILE_NAMES = ("image", "file", "file_name", "filename", "path", "image_path", "picture", "photo", "audio")


def refuse_separator(columns: Columns, data: str) -> None:
    """Raises InvalidInput for a separator of classes that these data would ignore."""
    if columns.label_separator:
        problem = f"a separator stands between the classes of a cell of a table, and these data are {data}"
        raise InvalidInput("header.columns.label_separator", problem)


def refuse_columns(columns: Columns, data: str) -> None:
    """Raises InvalidInput for columns that were named for data without a table."""
    refuse_separator(columns, data)
    for role, column in columns.roles().items():
        if column:
            raise InvalidInput(f"header.columns.{role}", f"{data} come without columns, got {quoted(column)}")


def clean_columns(columns: Columns) -> Columns:
    """The names that a caller gave, normalised like those of a table's header."""
    roles = {role: clean_name(name) for role, name in columns.roles().items()}
    return columns.model_copy(update={**roles, "ignored": tuple(map(clean_name, columns.ignored))})


def check_named_columns(columns: Columns, names: Sequence[str]) -> None:
    """Raises InvalidInput for a named column that the table does not have, or that has two roles."""
    roles: dict[str, str] = {}
    for role, name in columns.roles().items():
        if not name:
            continue
        if name not in names:
            raise no_such_column(role, name, names)
        if name in roles:
            raise InvalidInput(f"header.columns.{role}", f"{quoted(name)} is the column of the {roles[name]} already")
        if name in columns.ignored:
            raise InvalidInput("header.columns.ignored", f"{quoted(name)} is named as the column of the {role} too")
        roles[name] = role
    for name in columns.ignored:
        if name not in names:
            raise no_such_column("ignored", name, names)


def find_by_name(usual: Sequence[str], summaries: Mapping[str, ColumnSummary]) -> str:
    """The column with one of the common names, or an empty text. The first common name wins."""
    folded = {name.strip().casefold(): name for name in summaries}
    return next((folded[name] for name in usual if name in folded), "")


def find_split(summaries: Mapping[str, ColumnSummary], infer: Infer = ignore_inferred) -> str:
    """A column whose only values are `train`, `validation` and `test`."""
    name = find_by_name(SPLIT_NAMES, summaries)
    if not name:
        infer("split", "drawn by Zoo", "no column tells which examples are held out; --split names one")
        return ""
    if strange := [value for value in summaries[name].distinct if not split_from_word(value)]:
        infer(
            "split",
            "drawn by Zoo",
            f"column {quoted(name)} holds {quoted_list(strange[:3])}, and a split is train, validation or test;"
            " the column counts as an input",
        )
        return ""
    infer("split", name, "the column has this name and tells which examples are held out; --split decides otherwise")
    return name


def find_target(
    summaries: Mapping[str, ColumnSummary], infer: Infer = ignore_inferred, columns: tuple[str, ...] = ()
) -> str:
    """The column to learn, by a common name, or the only one left; `columns` are all columns of the table.

    Raises InvalidInput if the target is not clear.
    """
    found = find_by_name(TARGET_NAMES, summaries)
    if found:
        infer("target", found, "a target often has this name; --target decides otherwise")
        return found
    if len(summaries) == 1:
        found = next(iter(summaries))
        infer("target", found, "no other column is left; --target decides otherwise")
        return found
    if not summaries:
        only = f"the table has only one column, {quoted(columns[0])}; " if len(columns) == 1 else ""
        raise InvalidInput(
            "header.columns.target",
            f"{only}there is no column left to be learned; perhaps the cells are separated by something else than , ; | or tab",
        )
    hint = "; the first line is to name the columns, and this one looks like data" if looks_like_data(summaries) else ""
    raise InvalidInput(
        "header.columns.target",
        f"cannot tell which column is to be learned; name one of {quoted_list(tuple(summaries))}{hint}",
    )


def looks_like_data(summaries: Mapping[str, ColumnSummary]) -> bool:
    """Whether the names of columns are rather cells: numbers, or values that the column itself holds repeatedly."""
    return any(
        ("." in name and to_number(name) is not None) or summary.distinct.get(name, 0) > 1
        for name, summary in summaries.items()
    )


def find_text_column(rest: Mapping[str, ColumnSummary], target: str) -> str:
    """The column of texts: by a common name, or the only one with prose if no numbers stand beside it."""
    labels = TARGET_NAMES[:-1]
    words = {
        name: summary
        for name, summary in rest.items()
        if not summary.numeric and not summary.unreadable_problem and name != target and name.casefold() not in labels
    }
    if usual := find_by_name(TEXT_NAMES, words):
        return usual
    prose = [name for name, summary in words.items() if summary.is_prose]
    numbers = [name for name, s in rest.items() if s.numeric and name != target and name.casefold() not in TARGET_NAMES]
    if len(prose) == 1 and (not numbers or len(rest) == 2):
        return prose[0]
    return next(iter(words)) if len(words) == 1 and len(rest) == 2 and not next(iter(words.values())).repeats else ""


def find_text_pair(rest: Mapping[str, ColumnSummary], columns: Columns) -> tuple[str, str]:
    """Two columns of texts with the usual names of pairs; empty texts where there are none, or the caller names the text."""
    if columns.text or columns.text_pair:
        return columns.text, columns.text_pair
    folded = {
        name.casefold(): name
        for name, summary in rest.items()
        if name != columns.target and not summary.numeric and not (summary.lists and not summary.distinct)
    }
    return next(((folded[one], folded[other]) for one, other in PAIR_NAMES if {one, other} <= folded.keys()), ("", ""))


def unassigned_columns(
    table: Table, summaries: Mapping[str, ColumnSummary], columns: Columns, *used: str
) -> dict[str, ColumnSummary]:
    """The columns without a role so far."""
    named = {columns.target, columns.text, columns.split, columns.time, columns.series, columns.text_pair}
    out = {*used, *columns.ignored, *(name for name in table.unnamed if name not in named)}
    return {name: summary for name, summary in summaries.items() if name not in out}
