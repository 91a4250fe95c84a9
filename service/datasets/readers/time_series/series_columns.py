"""Finds the columns of a series in a table: the time, the numbers, and the one that tells several series apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from service.datasets.dataset import Columns
from service.datasets.dataset_limits import DatasetLimits
from service.datasets.formatting import quoted, quoted_list
from service.datasets.readers.columns.column_roles import (
    SERIES_TIME_NAMES,
    TARGET_NAMES,
    TEXT_NAMES,
    TIME_NAMES,
    find_by_name,
)
from service.datasets.readers.columns.column_summary import ColumnSummary
from service.datasets.readers.columns.number_format import PLAIN
from service.datasets.readers.columns.schema import summarize_columns
from service.datasets.readers.inferred_facts import Infer, ignore_inferred
from service.datasets.readers.tables.table import Table
from service.datasets.readers.time_series.timestamps import (
    CLOCK,
    NUMBER,
    matching_formats,
    unreadable_time,
)
from service.errors import InvalidInput

if TYPE_CHECKING:
    from service.datasets.readers.time_series.series import SeriesReader

_SAMPLED = 300
_DAYS = ("date", "day", "datum", "tag", "fecha")


class NoNumberColumn(InvalidInput):
    """The table has no column of numbers."""


def without_list_columns(rest: Mapping[str, ColumnSummary]) -> dict[str, ColumnSummary]:
    """The columns without those that hold lists or objects, which only a series can use."""
    return {name: summary for name, summary in rest.items() if summary.distinct or not summary.lists}


def find_time(summaries: Mapping[str, ColumnSummary]) -> str:
    """The column of the time: by a common name, or the only one whose cells are dates; empty if there is none.

    It may be a column without a name, as pandas writes the index of a series.
    """
    if usual := find_by_name(TIME_NAMES, summaries):
        return usual
    dates = [name for name, summary in summaries.items() if not summary.numeric and _dates(summary)]
    return dates[0] if len(dates) == 1 else ""


def find_time_of_day(rest: Mapping[str, ColumnSummary], time: str) -> tuple[str, str]:
    """(column of the date, column of the time of day) if they are separate; otherwise (`time`, "")."""
    if time not in rest or CLOCK not in _time_formats(rest[time]):
        return time, ""
    day = find_by_name(_DAYS, {name: summary for name, summary in rest.items() if name != time})
    return (day, time) if day and _dates(rest[day]) else (time, "")


def why_series(rest: Mapping[str, ColumnSummary], columns: Columns, time: str) -> str:
    """Why the columns look like a series: times beside numbers alone, or cells that are whole series. Empty if they do not.

    Raises InvalidInput if a column has a common name of times, stands beside numbers alone, and cannot be read.
    """
    labelled = any(name.casefold() in TARGET_NAMES[:-1] for name in rest)
    if any(summary.lists for summary in rest.values()):
        texts = find_by_name(TEXT_NAMES, without_list_columns(rest))
        of_texts = any(summary.word_lists for name, summary in rest.items() if columns.target in ("", name))
        like = columns.target not in without_list_columns(rest) if columns.target else not (labelled or texts)
        like = like and not of_texts
        return "its cells are lists of numbers" if like else ""
    if not time or columns.target or labelled:
        return ""
    time, clock = find_time_of_day(rest, time)
    others = [summary for name, summary in rest.items() if name not in (time, clock)]
    words = [summary for summary in others if not summary.numeric and len(summary.distinct) > 1]
    if (
        not any(summary.numeric for summary in others)
        or len(words) > 1
        or not all(summary.repeats for summary in words)
    ):
        return ""
    if time not in rest or _time_formats(rest[time]):
        return f"times in {quoted(time)} stand beside numbers"
    cells = list(rest[time].distinct)[:_SAMPLED]
    unread = [cell for cell in cells if not matching_formats([cell])]
    if not words and unread and sum(any(map(str.isdigit, cell)) for cell in cells) >= 0.95 * len(cells):
        raise InvalidInput("header.columns.time", unreadable_time(unread[0]))
    return ""


def series_column(rest: Mapping[str, ColumnSummary]) -> str:
    """The only column of words, without columns of one constant value. Raises InvalidInput if there are several."""
    words = [
        name
        for name, summary in rest.items()
        if not summary.numeric and not summary.lists and len(summary.distinct) > 1
    ]
    if len(words) > 1:
        raise InvalidInput(
            "header.columns.series", f"cannot tell which column tells series apart; name one of {quoted_list(words)}"
        )
    return words[0] if words else ""


def _time_formats(summary: ColumnSummary) -> tuple[str, ...]:
    cells = list(summary.distinct)[:_SAMPLED]
    return matching_formats(cells) or (
        () if summary.notation.is_plain else matching_formats(map(summary.notation.parse, cells))
    )


def _dates(summary: ColumnSummary) -> bool:
    """Whether the cells are dates."""
    time_formats = _time_formats(summary)
    return bool(time_formats) and NUMBER not in time_formats and CLOCK not in time_formats


def open_series_reader(
    table: Table,
    columns: Columns,
    rest: dict[str, ColumnSummary],
    time: str,
    limits: DatasetLimits,
    infer: Infer,
    *,
    channels: Sequence[str] = (),
    shortest: int | None = None,
) -> SeriesReader:
    """The reader of a table of series. `time`: its column, if inferred. `channels`: the columns of numbers, if known. `shortest`:
    minimum number of steps, if it is not that of training.

    Raises InvalidInput if the columns are ambiguous.
    """
    from service.datasets.readers.time_series.index_columns import find_index_column
    from service.datasets.readers.time_series.series import (
        MIN_SERIES_STEPS,
        SeriesReader,
    )  # local import: most tables are no series

    found_by = "its cells are times"
    named, found_clock = find_time_of_day(rest, columns.time or time)
    time = columns.time or named
    clock = "" if columns.time else found_clock
    if not time and not any(summary.lists for summary in rest.values()):
        among = columns.series or ("" if columns.target else series_column(rest))
        if time := find_index_column(
            table, rest, among, channels or [columns.target], to_forecast=shortest is not None
        ):
            found_by = "its numbers rise evenly"
    time_notation = rest[time].notation if time in rest else PLAIN
    rest = {name: summary for name, summary in rest.items() if name not in (time, clock)}
    lists = [name for name, summary in rest.items() if summary.lists]
    channels = list(channels) or (
        [columns.target]
        if columns.target
        else lists or [name for name, summary in rest.items() if summary.numeric and name != columns.series]
    )
    lists = [name for name in lists if name in channels]
    if not channels:
        raise NoNumberColumn("data", f"{quoted(table.name)} has no column of numbers to forecast")
    series = columns.series
    if not series and not lists and not columns.target:
        series = series_column(rest)
    if not columns.time and time and not lists:
        infer("time", quoted(time), f"{found_by}; name the column of the time to decide otherwise")
    if not time and not lists:
        like = [name for name in channels if name.strip().casefold() in SERIES_TIME_NAMES]
        uneven = f", and {quoted_list(like)} rises by no constant step" if like else ""
        infer("time", "none, rows are used in their order", f"no column holds times{uneven}; --time names one")
    if not columns.target and not lists:
        infer(
            "channels", quoted_list(channels), "these columns hold numbers; --target names one, --ignore leaves one out"
        )
    if not columns.series and series:
        infer(
            "series",
            f"a series for each of {quoted(series)}",
            "it is the only column of words; name the column to decide otherwise",
        )
    complete = columns.model_copy(update={"time": "" if lists else time, "series": series})
    notations = {name: rest[name].reading.notation for name in channels if name in rest}
    return SeriesReader(
        table,
        complete,
        channels,
        bool(lists),
        limits,
        notations=notations,
        time_notation=time_notation,
        clock=clock,
        shortest=MIN_SERIES_STEPS if shortest is None else shortest,
        infer=infer,
    )


def open_series(table: Table, columns: Columns, channels: Sequence[str], limits: DatasetLimits) -> SeriesReader:
    """Series of any length in a table, to be forecast; `channels` and `columns` as the model knows them, or empty."""
    summaries = summarize_columns(table)
    out = (*table.unnamed, *columns.ignored, columns.split)
    rest = {name: summary for name, summary in summaries.items() if name not in out}
    time = columns.time or find_time({name: summaries[name] for name in summaries if name in (*rest, *table.unnamed)})
    return open_series_reader(table, columns, rest, time, limits, ignore_inferred, channels=channels, shortest=1)
