"""Reads series of numbers in time. One example is one whole series; training decides where to cut it."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from service.datasets.dataset import ColumnInfo, Columns, DatasetKind
from service.datasets.dataset_limits import DatasetLimits
from service.datasets.formatting import quoted
from service.datasets.readers.columns.cells import LARGEST_NUMBER, NUMBER_RANGE, is_missing, to_category, to_number
from service.datasets.readers.columns.number_format import PLAIN, Notation
from service.datasets.readers.columns.targets import read_split
from service.datasets.readers.inferred_facts import Infer, ignore_inferred
from service.datasets.readers.parsed_example import (
    ParsedExample,
    ReaderSchema,
    Skip,
    TargetKind,
    Warn,
    digest_of,
)
from service.datasets.readers.tables.table import Cell, Table, TableRow
from service.datasets.readers.time_series.timeline import Timeline, choose_time_format
from service.datasets.readers.time_series.timestamps import (
    LOCAL,
    matching_formats,
    parse_time,
    unreadable_time,
)
from service.errors import InvalidInput

MIN_SERIES_STEPS = 16
"""Minimum length of a series for training, in steps."""
_SAMPLED_ROWS = 5_000


@dataclass(frozen=True, slots=True)
class NamedSeries:
    """One series."""

    name: str
    """Empty for the only series of a file."""
    values: NDArray[np.float64]
    """`(steps, channels)`."""
    row: int
    """Its first row."""
    split: str


class _SeriesRows:
    """One series while its rows are read."""

    def __init__(self, first_row: int, time_formats: int) -> None:
        self.first_row = first_row
        self.times = tuple(array("d") for _ in range(time_formats))
        """Times of its rows, by format; NaN for a row that does not fit the format."""
        self.values = array("d")
        self.rows = array("q")
        self.split = ""


class SeriesReader:
    """Reads rows of (time, series, numbers), or one row with lists of numbers for each series."""

    def __init__(
        self,
        table: Table,
        columns: Columns,
        channels: Sequence[str],
        lists: bool,
        limits: DatasetLimits,
        *,
        notations: Mapping[str, Notation] | None = None,
        time_notation: Notation = PLAIN,
        clock: str = "",
        shortest: int = MIN_SERIES_STEPS,
        infer: Infer = ignore_inferred,
    ) -> None:
        """`channels`: the columns of numbers. `lists`: whether their cells are whole series. `notations`: the number formats of
        the channels; `time_notation`: that of times that are numbers. `clock`: a column with the time of day, if the column of
        the time holds only the day. `shortest`: minimum number of steps."""
        self._table = table
        self._columns = columns
        self._channels = tuple(channels)
        self._lists = lists
        self._limits = limits
        self._notations = [(notations or {}).get(name, PLAIN) for name in channels]
        self._time_notation = time_notation
        self._clock = clock
        self._shortest = shortest
        self._infer = infer
        self._time_formats: tuple[str, ...] = ()
        self._numbers = False
        """Whether times are numbers in a notation of their own."""

    def schema(self) -> ReaderSchema:
        """Known from the start."""
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
        return ReaderSchema(DatasetKind.SERIES, self._columns, TargetKind.NONE, inputs, channels=len(self._channels))

    def input_count(self) -> int:
        """See `Reader`."""
        return self._table.count

    def examples(self, skip: Skip, warn: Warn) -> Iterator[ParsedExample]:
        """One for each series, in the order in which they begin."""
        for found in self.named(skip, warn):
            flat = np.ascontiguousarray(found.values).reshape(-1)
            digest = digest_of(flat.tobytes())
            pieces = 1 if self._lists else len(found.values)
            yield ParsedExample({"values": flat}, digest, self._table.name, found.row, split=found.split, pieces=pieces)

    def named(self, skip: Skip, warn: Warn) -> Iterator[NamedSeries]:
        """The series with their names."""
        return self._whole(skip, warn) if self._lists else self._by_rows(skip, warn)

    def _whole(self, skip: Skip, warn: Warn) -> Iterator[NamedSeries]:
        for row in self._table.rows(warn):
            problem = row.problem
            values: NDArray[np.float64] = np.empty((0, len(self._channels)))
            if not problem:
                values, problem = self._from_lists(row.cells)
            split = ""
            if not problem and self._columns.split:
                split, problem = read_split(row.cells.get(self._columns.split))
            problem = problem or self._too_short(len(values))
            if problem:
                skip(self._table.name, row.number, problem)
            else:
                yield NamedSeries(f"row {row.number}", values, row.number, split)

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
        if not np.isfinite(values).all():
            return empty, "holds a number that is NaN or infinite"
        largest = float(np.abs(values).max(initial=0.0))
        return (values, "") if largest <= LARGEST_NUMBER else (empty, f"holds {largest:g}; expected {NUMBER_RANGE}")

    def _by_rows(self, skip: Skip, warn: Warn) -> Iterator[NamedSeries]:
        if self._columns.time:
            sample = [self._time_of(row.cells) for row in islice(self._table.rows(), _SAMPLED_ROWS) if not row.problem]
            self._time_formats = matching_formats(sample)
            if not self._time_formats and not self._time_notation.is_plain:
                self._time_formats = matching_formats(map(self._as_number, sample))
                self._numbers = bool(self._time_formats)
            if not self._time_formats:
                bad = next((cell for cell in sample if not is_missing(cell) and not parse_time(cell)), None)
                column = quoted(self._columns.time)
                raise InvalidInput(
                    "header.columns.time", f"the times in column {column} have no common format: {unreadable_time(bad)}"
                )
        series: dict[str, _SeriesRows] = {}
        for row in self._table.rows(warn):
            problem = row.problem or self._add(row, series)
            if problem:
                skip(self._table.name, row.number, problem)
        lines: dict[str, Timeline] = {}
        if self._columns.time:
            of_formats = [
                [np.frombuffer(g.times[at]) for g in series.values()] for at in range(len(self._time_formats))
            ]
            at = choose_time_format(self._columns.time, self._time_formats, of_formats, self._infer)
            lines = {
                name: Timeline(self._called(name), self._time_formats[at], times, zoned=LOCAL in self._time_formats)
                for name, times in zip(series, of_formats[at], strict=True)
            }
        for name, gathered in series.items():
            values = np.frombuffer(gathered.values, np.float64).reshape(-1, len(self._channels))
            if name in lines:
                rows = np.frombuffer(gathered.rows, np.int64)
                hint = not self._columns.series
                kept, left_out = lines[name].order(values, rows, warn, self._infer, one_series=hint)
                for number_, why in left_out:
                    skip(self._table.name, number_, why)
                values = values[kept]
            if problem := self._too_short(len(values)):
                skip(self._table.name, gathered.first_row, f"{self._called(name)} {problem}", len(values))
            else:
                yield NamedSeries(name, values, gathered.first_row, gathered.split)

    def _called(self, name: str) -> str:
        return f"series {quoted(name)}" if name else "the series"

    def _time_of(self, cells: Mapping[str, Cell]) -> Cell:
        day = cells.get(self._columns.time)
        return f"{day} {cells.get(self._clock)}" if self._clock else day

    def _as_number(self, cell: Cell) -> Cell:
        value = to_number(cell, self._time_notation)
        return cell if value is None else value

    def _add(self, row: TableRow, series: dict[str, _SeriesRows]) -> str:
        found: Mapping[str, float] = {}
        if self._columns.time:
            time = self._time_of(row.cells)
            found = parse_time(self._as_number(time) if self._numbers else time)
            if not any(time_format in found for time_format in self._time_formats):
                return "has no time" if is_missing(time) else unreadable_time(time)
        name = ""
        if self._columns.series:
            of = to_category(row.cells.get(self._columns.series))
            if of is None:
                return "does not say which series it belongs to"
            name = of
        cells = [row.cells.get(channel) for channel in self._channels]
        numbers = [to_number(cell, notation) for cell, notation in zip(cells, self._notations, strict=True)]
        for channel, value in zip(self._channels, numbers, strict=True):
            if value is None or not -LARGEST_NUMBER <= value <= LARGEST_NUMBER:
                wanted = "a number" if value is None or not math.isfinite(value) else NUMBER_RANGE
                return f"{quoted(channel)} is {quoted(row.cells.get(channel))}; expected {wanted}"
        split = ""
        if self._columns.split:
            split, problem = read_split(row.cells.get(self._columns.split))
            if problem:
                return problem
        if name not in series and len(series) >= self._limits.files:
            raise InvalidInput("data", f"there are more than {self._limits.files} series, which is the limit")
        gathered = series.setdefault(name, _SeriesRows(row.number, len(self._time_formats)))
        if gathered.rows and split != gathered.split:
            raise InvalidInput(
                "header.columns.split",
                f"row {row.number} puts a series into a second split; a series is in one, and is otherwise cut by time",
            )
        gathered.split = split
        gathered.rows.append(row.number)
        for time_format, times in zip(self._time_formats, gathered.times, strict=True):
            times.append(found.get(time_format, math.nan))
        gathered.values.extend(value for value in numbers if value is not None)
        return ""

    def _too_short(self, steps: int) -> str:
        least = self._shortest
        return f"has {steps} steps; at least {least} are needed" if steps < least else ""
