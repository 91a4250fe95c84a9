"""The times of one series: their format, their order, and whether their steps are equal."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from service.datasets.formatting import counted, quoted
from service.datasets.readers.inferred_facts import Infer
from service.datasets.readers.parsed_example import Warn
from service.datasets.readers.time_series.time_steps import (
    Floats,
    StepPattern,
    find_steps,
    numbers_as_dates,
    spring_forward,
    without_clock_changes,
)
from service.datasets.readers.time_series.timestamps import (
    CLOCK,
    DATE,
    DAY_FIRST,
    LOCAL,
    MONTH_FIRST,
    NUMBER,
    YEAR_FIRST,
    format_time,
)
from service.errors import InvalidInput

MAX_GAP_SHARE = 0.05
"""Share of steps that may differ from the others; with more, the series has no constant step."""
_ORDERS = (DAY_FIRST, MONTH_FIRST, YEAR_FIRST)
_SURE = "dates written as 2024-01-31 are never ambiguous"
_ISO_DATE = "2024-01-31"

Rows = NDArray[np.int64]


class Timeline:
    """The times of one series, in the order of its rows."""

    def __init__(self, called: str, time_format: str, times: Floats, *, zoned: bool) -> None:
        """`called`: the name of the series in messages. `times`: NaN for a row that cannot be read. `zoned`: they include a
        time zone."""
        self._called = called
        self._time_format = time_format
        self._times = times
        self._local = time_format not in (NUMBER, CLOCK) and not zoned
        self._dated = time_format not in (NUMBER, CLOCK)

    def order(
        self, values: Floats, rows: Rows, warn: Warn, infer: Infer, *, one_series: bool
    ) -> tuple[Rows, list[tuple[int, str]]]:
        """The rows of the series in order of time, and (row, reason) of those that are left out.

        Args:
            values: of each row, `(rows, channels)`.
            rows: their numbers in the file.
            one_series: the caller did not name a column that tells series apart.

        Raises:
            InvalidInput: two rows of the same time differ, or the steps are unequal.
        """
        unread = np.isnan(self._times)
        left_out = [
            (int(row), f"its time cannot be read as {self._time_format}, as the others are") for row in rows[unread]
        ]
        kept = np.flatnonzero(~unread)
        times = self._times[kept]
        steps = np.diff(times)
        descending = bool((steps < 0).sum() > 0.9 * len(steps))
        if descending:  # so that of two rows of the same time the earlier one comes first
            kept, times = kept[::-1], times[::-1]
        sorting = np.argsort(times, kind="stable")
        shuffled = descending or bool((sorting != np.arange(len(times))).any())
        kept, times = kept[sorting], times[sorting]
        if self._local and (np.diff(times) == 0).any():
            apart, again, changes = without_clock_changes(times)
            if changes and self._follow_each_other(kept[again]):
                kept, times, shuffled = kept[again], apart, descending
                infer(
                    "zone",
                    "local time",
                    "an hour repeats because the clocks go back; times in UTC are never ambiguous",
                )
        if shuffled:
            warn(f"{self._called} was not in order of time and was sorted")
        same = np.flatnonzero(np.diff(times) == 0) + 1
        twice = [at for at in same.tolist() if (values[kept[at]] != values[kept[at - 1]]).any()]
        if twice:
            raise self._two_of_one_time(times, rows[kept], twice, one_series)
        left_out += [(int(rows[kept[at]]), f"repeats row {rows[kept[at - 1]]}") for at in same.tolist()]
        kept, times = np.delete(kept, same), np.delete(times, same)
        self._check_steps(times, warn, infer)
        return kept, sorted(left_out)

    @staticmethod
    def _follow_each_other(rows: Rows) -> bool:
        """Whether the rows have this order in the file, ascending or descending. Otherwise the order of repeated hours is
        unknown."""
        return bool((np.diff(rows) > 0).all() or (np.diff(rows) < 0).all())

    def _two_of_one_time(self, times: Floats, rows: Rows, twice: list[int], one_series: bool) -> InvalidInput:
        at = twice[0]
        when = self._shown(float(times[at]))
        said = (
            f"{self._called} has {counted(len(twice), 'row')} of the same time as another: rows {rows[at - 1]} and {rows[at]} "
            f"are of {when}"
        )
        if self._time_format == CLOCK:
            return InvalidInput("header.columns.time", f"{said}, a time of day without a date; add the date")
        if self._local and len(twice) < 0.05 * len(times) and times[at] % 86_400 < 4 * 3_600 and times[at] % 60 == 0:
            said += "; if the clocks went back then, write the times in UTC or with their offset, such as +01:00"
        if one_series:
            said += "; if there are several series, name the column that tells them apart"
        return InvalidInput("header.columns.time", said)

    def _check_steps(self, times: Floats, warn: Warn, infer: Infer) -> None:
        found = best_steps(times, self._time_format)
        wrong = found.irregular
        if self._local and len(wrong) and len(times) > 2:
            wrong = wrong[~spring_forward(times, wrong, float(np.median(np.diff(times))))]
        if len(wrong) > MAX_GAP_SHARE * len(times):
            first, then = self._shown(float(times[wrong[0] - 1])), self._shown(float(times[wrong[0]]))
            usual = f" of {found.name}" if found.name else ""
            raise InvalidInput(
                "header.columns.time",
                f"{self._called} has no constant step: {len(wrong)} of {len(times) - 1} steps differ from the usual one{usual}, "
                f"the first is from {first} to {then}; fill in the rows that are missing, or sum up the rows to a longer step",
            )
        if len(wrong):
            first, then = self._shown(float(times[wrong[0] - 1])), self._shown(float(times[wrong[0]]))
            warn(
                f"{self._called} has {counted(len(wrong), 'gap')} in its times, the first from {first} to {then}; "
                "the rows around a gap count as consecutive"
            )
        if found.name:
            infer("step", found.name, "most rows have this step")

    def _shown(self, time: float) -> str:
        if self._time_format == NUMBER:
            return f"{time:.15g}"
        if self._time_format == CLOCK:
            return f"{int(time // 3600):02}:{int(time // 60) % 60:02}"
        return format_time(time)


def best_steps(times: Floats, time_format: str) -> StepPattern:
    """The step of ascending times. Numbers may stand for dates if that makes their steps more regular."""
    found = find_steps(times, dated=time_format not in (NUMBER, CLOCK))
    if time_format == NUMBER and len(found.irregular):
        for name, dates in numbers_as_dates(times):
            as_date = find_steps(dates, dated=True)
            if len(as_date.irregular) < len(found.irregular):
                found = StepPattern(f"{as_date.name} ({name})", as_date.irregular)
    return found


def choose_time_format(
    column: str, time_formats: Sequence[str], times: Sequence[Sequence[Floats]], infer: Infer
) -> int:
    """The index of the format in which a column of times is read: the one that fits most cells and makes most steps equal.

    Args:
        times: by format and series, in the order of their rows.

    Raises:
        InvalidInput: two orders of day, month and year fit equally well, and give different series.
    """
    if len(time_formats) == 1:
        if time_formats[0] in _ORDERS:
            infer(f"times of {quoted(column)}", time_formats[0], f"its dates cannot be read otherwise; {_SURE}")
        return 0
    faults = [
        sum(map(_faults, of_series, [time_format] * len(of_series)))
        for time_format, of_series in zip(time_formats, times, strict=True)
    ]
    best = faults.index(min(faults))
    if (
        time_formats[best] == DATE
        and LOCAL in time_formats
        and faults[local := time_formats.index(LOCAL)] == faults[best]
    ):
        longest = max(times[local], key=len)  # for steps of days, local dates give the names of weekdays
        return local if len(longest) > 1 and np.nanmedian(np.abs(np.diff(longest))) >= 0.9 * 86_400 else best
    if time_formats[best] not in _ORDERS:
        return best
    alike = [at for at, time_format in enumerate(time_formats) if time_format in _ORDERS and faults[at] == faults[best]]
    if any(not _same_story(times[best], times[at]) for at in alike):
        names = " and as ".join(time_formats[at] for at in alike)
        first = next(float(t) for series in times[best] for t in series if not np.isnan(t))
        raise InvalidInput(
            "header.columns.time",
            f"the dates in column {quoted(column)} can be read as {names}; write them as {_ISO_DATE}, so that the first is "
            f"{format_time(first)[:10]} if it is meant as {time_formats[best]}",
        )
    why = "any other order of day, month and year leaves dates unread or steps unequal"
    infer(
        f"times of {quoted(column)}",
        time_formats[best],
        f"{why if len(alike) == 1 else 'the order makes no difference'}; {_SURE}",
    )
    return best


def _faults(times: Floats, time_format: str) -> int:
    """Rows that do not fit the format, unequal steps, and repeated times."""
    found = np.sort(times[~np.isnan(times)])
    once = np.unique(found)
    return len(times) - len(once) + len(best_steps(once, time_format).irregular)


def _same_story(one: Sequence[Floats], other: Sequence[Floats]) -> bool:
    """Whether both give the same rows in the same order with the same gaps."""
    for a, b in zip(one, other, strict=True):
        if (np.isnan(a) != np.isnan(b)).any():
            return False
        order = np.argsort(a, kind="stable")
        if (order != np.argsort(b, kind="stable")).any():
            return False
        if list(best_steps(np.unique(a), DAY_FIRST).irregular) != list(best_steps(np.unique(b), DAY_FIRST).irregular):
            return False
    return True
