"""The time of a series that is written in numbers of no usual name: it is known by its equal steps."""

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
"""That are looked at."""


def find_index_column(
    table: Table, rest: Mapping[str, ColumnSummary], series: str, channels: Sequence[str], *, to_forecast: bool
) -> str:
    """The column of numbers that is the time of a series: they rise evenly, and it is called so or is the first.

    `channels`: what is forecast, where that is known. `to_forecast`: a model is asked, which knows its time by name, or of none;
    no other column is taken from it. Empty where there is no such column, or nothing beside it.
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
    """Whether some times follow each other in equal steps; where the column is called so, with a gap or two."""
    found = np.array(times)
    if named:  # sorted, for the newest may come first
        once = np.unique(found[np.isfinite(found)])
        few = len(found) - len(once) <= MAX_GAP_SHARE * len(found)
        return few and len(once) > 2 and len(best_steps(once, NUMBER).irregular) <= MAX_GAP_SHARE * len(once)
    steps = np.diff(found)
    return len(found) >= MIN_SERIES_STEPS and bool(steps[0] > 0 and (np.abs(steps - steps[0]) <= 1e-3 * steps[0]).all())
