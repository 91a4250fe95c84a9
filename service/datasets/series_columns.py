"""Which columns of a table make a series: the one of the time, and the one that tells several series apart."""

from __future__ import annotations

from collections.abc import Mapping

from service.datasets.dataset import Columns
from service.datasets.inspection import Summary
from service.datasets.targets import TARGETS, TEXTS, TIMES, by_usual_name
from service.datasets.times import CLOCK, NUMBER, fitting, no_time
from service.datasets.words import listed, shown
from service.errors import InvalidInput

_SAMPLED = 300
_DAYS = ("date", "day", "datum", "tag", "fecha")


def flat(rest: Mapping[str, Summary]) -> dict[str, Summary]:
    """Without columns that hold lists or objects, which are of use to a series alone."""
    return {name: summary for name, summary in rest.items() if summary.distinct or not summary.lists}


def find_time(summaries: Mapping[str, Summary]) -> str:
    """The column of the time: by its usual name, or the only one whose cells are written as dates; empty where there is none.

    A column without a name may be it, as pandas writes the index of a series.
    """
    if usual := by_usual_name(TIMES, summaries):
        return usual
    dates = [name for name, summary in summaries.items() if not summary.numeric and _dates(summary)]
    return dates[0] if len(dates) == 1 else ""


def find_clock(rest: Mapping[str, Summary], time: str) -> tuple[str, str]:
    """(column of the time, column of the time of day), where day and time of day stand in two columns; else (`time`, "")."""
    if time not in rest or CLOCK not in _ways(rest[time]):
        return time, ""
    day = by_usual_name(_DAYS, {name: summary for name, summary in rest.items() if name != time})
    return (day, time) if day and _dates(rest[day]) else (time, "")


def like_series(rest: Mapping[str, Summary], columns: Columns, time: str) -> str:
    """Why the columns look like series: times go with nothing but numbers, or cells are whole series. Empty where they do not.

    Raises InvalidInput where a column is called as those of times are, goes with numbers alone, and cannot be read.
    """
    labelled = any(name.casefold() in TARGETS[:-1] for name in rest)
    if any(summary.lists for summary in rest.values()):
        if columns.target:
            like = columns.target not in flat(rest)
        else:
            like = not labelled and not by_usual_name(TEXTS, flat(rest))
        return "its cells are lists of numbers" if like else ""
    if not time or columns.target or labelled:
        return ""
    time, clock = find_clock(rest, time)
    others = [summary for name, summary in rest.items() if name not in (time, clock)]
    words = [summary for summary in others if not summary.numeric and len(summary.distinct) > 1]
    if not any(summary.numeric for summary in others) or len(words) > 1 or not all(summary.few for summary in words):
        return ""
    if time not in rest or _ways(rest[time]):
        return f"times in {shown(time)} stand beside numbers"
    cells = list(rest[time].distinct)[:_SAMPLED]
    unread = [cell for cell in cells if not fitting([cell])]
    if not words and unread and sum(any(map(str.isdigit, cell)) for cell in cells) >= 0.95 * len(cells):
        raise InvalidInput("header.columns.time", no_time(unread[0]))
    return ""


def series_column(rest: Mapping[str, Summary]) -> str:
    """The only column of words; those that say the same in every row do not count. Raises InvalidInput where there are more."""
    words = [
        name
        for name, summary in rest.items()
        if not summary.numeric and not summary.lists and len(summary.distinct) > 1
    ]
    if len(words) > 1:
        raise InvalidInput(
            "header.columns.series", f"cannot tell which column tells series apart; name one of {listed(words)}"
        )
    return words[0] if words else ""


def _ways(summary: Summary) -> tuple[str, ...]:
    return fitting(list(summary.distinct)[:_SAMPLED])


def _dates(summary: Summary) -> bool:
    """Whether its cells are written as dates."""
    ways = _ways(summary)
    return bool(ways) and NUMBER not in ways and CLOCK not in ways
