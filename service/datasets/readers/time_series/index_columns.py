"""Finds the time of a series among columns of numbers: a column that rises in equal steps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import islice

import numpy as np

from service.datasets.readers.columns.cells import to_category, to_number
from service.datasets.readers.columns.column_roles import SERIES_TIME_NAMES
from service.datasets.readers.columns.column_summary import ColumnSummary
from service.datasets.readers.tables.table import Table
from service.datasets.readers.time_series.series import MIN_SERIES_STEPS
from service.datasets.readers.time_series.timeline import MAX_GAP_SHARE, best_steps
from service.datasets.readers.time_series.timestamps import NUMBER

_ROWS = 2_000
"""Rows that are examined."""


def find_index_column(
    table: Table, rest: Mapping[str, ColumnSummary], series: str, channels: Sequence[str], *, to_forecast: bool
) -> str:
    """The column of numbers that is the time of a series: it rises evenly, and has a common name or is the first column.

    `channels`: the columns to forecast, if known. `to_forecast`: for a forecast by a model, which knows its time by name; only
    columns with a common name are considered. Empty if there is no such column, or no other number beside it.
    """
    usual = {name for name in rest if name.strip().casefold() in SERIES_TIME_NAMES}
    candidates = [name for name in rest if name in usual or (not to_forecast and name == next(iter(rest)))]
    numeric = [name for name, summary in rest.items() if summary.numeric and name != series]
    candidates = [name for name in candidates if name in numeric and name not in channels]
    if not candidates or len(numeric) < 2:
        return ""
    times: dict[str, dict[str | None, list[float]]] = {name: {} for name in candidates}
    for row in islice(table.rows(), _ROWS):
        if not row.problem:
            of = to_category(row.cells.get(series)) if series else ""
            for name in candidates:
                value = to_number(row.cells.get(name), rest[name].notation)
                times[name].setdefault(of, []).append(math.nan if value is None else value)
    ordered = sorted(candidates, key=lambda name: name not in usual)
    return next((name for name in ordered if all(_rises(of, name in usual) for of in times[name].values())), "")


def _rises(times: Sequence[float], named: bool) -> bool:
    """Whether times follow each other in equal steps; in a column with a common name, a few gaps are allowed."""
    found = np.array(times)
    if named:  # sorted, since the newest may come first
        once = np.unique(found[np.isfinite(found)])
        few = len(found) - len(once) <= MAX_GAP_SHARE * len(found)
        return few and len(once) > 2 and len(best_steps(once, NUMBER).irregular) <= MAX_GAP_SHARE * len(once)
    steps = np.diff(found)
    return len(found) >= MIN_SERIES_STEPS and bool(steps[0] > 0 and (np.abs(steps - steps[0]) <= 1e-3 * steps[0]).all())
