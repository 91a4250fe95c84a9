"""Series of numbers in time. One example is one whole series; where it is cut for training and testing is decided by jobs."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from service.datasets.dataset import ColumnInfo, Columns, DatasetKind
from service.datasets.draft import Draft, Shape, Skip, Target, Warn, digest_of
from service.datasets.inspection import category, number
from service.datasets.limits import Limits
from service.datasets.notation import PLAIN, Notation
from service.datasets.tables import Cell, Row, Table
from service.datasets.targets import read_split
from service.datasets.times import gaps, moment
from service.datasets.words import counted, shown
from service.errors import InvalidInput

SHORTEST = 16
"""Steps of a series that something can be learned from."""
MOST_GAPS = 0.05
"""Share of steps that may be longer than the others; beyond it the series has no step."""


class _Gathered:
    """One series while its rows come in."""

    def __init__(self, first_row: int) -> None:
        self.first_row = first_row
        self.times = array("d")
        self.values = array("d")
        self.split = ""


class Series:
    """Rows of (time, series, numbers), or a row for each series with lists of numbers."""

    def __init__(
        self,
        table: Table,
        columns: Columns,
        channels: Sequence[str],
        lists: bool,
        limits: Limits,
        notations: Sequence[Notation] = (),
    ) -> None:
        """`channels`: the columns of numbers, written in these `notations`. `lists`: whether their cells are whole series."""
        self._notations = tuple(notations) or (PLAIN,) * len(channels)
        self._table = table
        self._columns = columns
        self._channels = tuple(channels)
        self._lists = lists
        self._limits = limits

    def shape(self) -> Shape:
        """All known from the start."""
        inputs = tuple(
            ColumnInfo(
                name=name,
                kind="number",
                decimal=notation.decimal,
                grouping=notation.grouping,
                unit=notation.unit,
            )
            for name, notation in zip(self._channels, self._notations, strict=True)
        )
        return Shape(DatasetKind.SERIES, self._columns, Target.NONE, inputs, channels=len(self._channels))

    def drafts(self, skip: Skip, warn: Warn) -> Iterator[Draft]:
        """Series by series, in the order in which they begin."""
        yield from self._whole(skip, warn) if self._lists else self._by_rows(skip, warn)

    def _whole(self, skip: Skip, warn: Warn) -> Iterator[Draft]:
        for row in self._table.rows(warn):
            problem = row.problem
            values: NDArray[np.float64] = np.empty((0, len(self._channels)))
            if not problem:
                values, problem = self._from_lists(row.cells)
            split = ""
            if not problem and self._columns.split:
                split, problem = read_split(row.cells.get(self._columns.split))
            problem = problem or _too_short(len(values))
            if problem:
                skip(self._table.name, row.number, problem)
            else:
                yield self._draft(values, row.number, split)

    def _from_lists(self, cells: Mapping[str, Cell]) -> tuple[NDArray[np.float64], str]:
        empty = np.empty((0, len(self._channels)))
        columns = [cells.get(name) for name in self._channels]
        if not all(isinstance(column, list) for column in columns):
            return empty, "expected a list of numbers"
        if len({len(column) for column in columns if isinstance(column, list)}) > 1:
            return empty, "its lists differ in length"
        try:
            values = np.array(columns, np.float64).T
        except (TypeError, ValueError):
            return empty, "expected lists of numbers"
        if values.ndim != 2:
            return empty, "expected lists of numbers"
        return (values, "") if np.isfinite(values).all() else (empty, "holds a number that is NaN or infinite")

    def _by_rows(self, skip: Skip, warn: Warn) -> Iterator[Draft]:
        series: dict[str, _Gathered] = {}
        for row in self._table.rows(warn):
            problem = row.problem or self._add(row, series)
            if problem:
                skip(self._table.name, row.number, problem)
        for name, gathered in series.items():
            values = np.frombuffer(gathered.values, np.float64).reshape(-1, len(self._channels))
            called = f"series {shown(name)}" if name else "the series"
            if self._columns.time:
                values = self._in_order(called, gathered, values, warn)
            if problem := _too_short(len(values)):
                skip(self._table.name, gathered.first_row, f"{called} {problem}")
            else:
                yield self._draft(values, gathered.first_row, gathered.split)

    def _add(self, row: Row, series: dict[str, _Gathered]) -> str:
        at = 0.0
        if self._columns.time:
            found = moment(row.cells.get(self._columns.time))
            if found is None:
                written = shown(row.cells.get(self._columns.time))
                return f"{written} is no time; write it as 2024-01-31, 2024-01-31 12:00 or a number"
            at = found
        name = ""
        if self._columns.series:
            of = category(row.cells.get(self._columns.series))
            if of is None:
                return "does not say which series it belongs to"
            name = of
        numbers = [
            number(row.cells.get(channel), notation)
            for channel, notation in zip(self._channels, self._notations, strict=True)
        ]
        for channel, value in zip(self._channels, numbers, strict=True):
            if value is None or not math.isfinite(value):
                return f"{shown(channel)} is {shown(row.cells.get(channel))}; expected a number"
        split = ""
        if self._columns.split:
            split, problem = read_split(row.cells.get(self._columns.split))
            if problem:
                return problem
        if name not in series and len(series) >= self._limits.files:
            raise InvalidInput("data", f"there are more than {self._limits.files} series, which is the limit")
        gathered = series.setdefault(name, _Gathered(row.number))
        if gathered.times and split != gathered.split:
            raise InvalidInput(
                "header.columns.split",
                f"row {row.number} puts a series into a second split; a series is in one, and is otherwise cut by time",
            )
        gathered.split = split
        gathered.times.append(at)
        gathered.values.extend(value for value in numbers if value is not None)
        return ""

    def _in_order(
        self, called: str, gathered: _Gathered, values: NDArray[np.float64], warn: Warn
    ) -> NDArray[np.float64]:
        """By time, each time once, in equal steps."""
        times = np.frombuffer(gathered.times, np.float64)
        order = np.argsort(times, kind="stable")
        if (order != np.arange(len(order))).any():
            warn(f"{called} was not in order of time and was sorted")
        times, values = times[order], values[order]
        twice = int((np.diff(times) == 0).sum())
        if twice:
            hint = (
                "" if self._columns.series else "; if there are several series, name the column that tells them apart"
            )
            raise InvalidInput("header.columns.time", f"{called} has {twice} rows of the same time as another{hint}")
        found = gaps(times)
        if found > MOST_GAPS * len(times):
            raise InvalidInput(
                "header.columns.time",
                f"{called} has no constant step: {found} of {max(len(times) - 1, 0)} steps differ from the usual one",
            )
        if found:
            warn(f"{called} has {counted(found, 'gap')} in its times; the steps around one count as neighbours")
        return values

    def _draft(self, values: NDArray[np.float64], row: int, split: str) -> Draft:
        flat = np.ascontiguousarray(values).reshape(-1)
        return Draft({"values": flat}, digest_of(flat.tobytes()), self._table.name, row, split=split)


def _too_short(steps: int) -> str:
    return f"has {steps} steps; at least {SHORTEST} are needed" if steps < SHORTEST else ""
