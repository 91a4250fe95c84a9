"""The table of the columns' importances in the report for people, as texts."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from service.training.evaluation.measurements import ColumnImportances

MAX_COLUMNS = 30
"""The most important ones; all are in `report.json`."""


@dataclass(frozen=True, slots=True)
class ImportanceRow:
    """One column."""

    column: str
    lost: str
    spread: str
    share: float
    """Length of the bar, 0..100."""


@dataclass(frozen=True, slots=True)
class ImportanceTable:
    """What the page shows."""

    metric: str
    higher_is_better: bool
    of: str
    """The rows whose values are shuffled."""
    repeats: int
    rows: tuple[ImportanceRow, ...]
    left_out: int


def importance_table(
    found: ColumnImportances | None, names: Mapping[str, str], percentages: Collection[str]
) -> ImportanceTable | None:
    """The table; None without columns.

    Args:
        names: of metrics, for people.
        percentages: metrics that are shares of 0..1, whose losses are shown in percentage points.
    """
    if found is None:
        return None
    shown = found.columns[:MAX_COLUMNS]
    percent = found.metric in percentages
    largest = max((column.importance for column in shown if math.isfinite(column.importance)), default=0.0)
    rows = []
    for column in shown:
        share = 100.0
        if math.isfinite(column.importance):
            share = 100.0 * max(0.0, column.importance) / largest if largest > 0 else 0.0
        rows.append(
            ImportanceRow(
                column.column,
                _number(column.importance, percent),
                _number(column.spread, percent),
                round(share, 1),
            )
        )
    of = f"the {found.rows} held-out rows"
    if found.rows < found.held_out:
        of = f"{found.rows} of the {found.held_out} held-out rows"
    name = names.get(found.metric, found.metric)
    return ImportanceTable(
        name, found.higher_is_better, of, found.repeats, tuple(rows), len(found.columns) - len(shown)
    )


def _number(value: float, percent: bool) -> str:
    if not math.isfinite(value):
        return "no number" if math.isinf(value) else "–"
    if percent:
        return f"{100 * value:.1f} points"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
