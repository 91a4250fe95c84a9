"""The input columns of a table: which are numbers, which are categories, and their cells."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping

from service.datasets.dataset import ColumnInfo
from service.datasets.inspection import Summary, category, is_missing, number
from service.datasets.tables import Cell
from service.datasets.words import shown

MOST_CATEGORIES = 1_000
"""Of one column, the most frequent; a rarer one is as good as unknown to a model."""
_COUNTED = 20_000
AS_NUMBERS = "its numbers have commas; write them without, and with a point for decimals"


class RowColumns:
    """Reads rows as numbers and categories, and remembers which categories there were."""

    def __init__(self, summaries: Mapping[str, Summary]) -> None:
        """`summaries`: of the columns that are inputs. What is no use as one is left out, with a warning."""
        kept: list[tuple[str, str]] = []
        self.warnings: list[str] = []
        for name, summary in summaries.items():
            if summary.lists and not summary.distinct:
                self.warnings.append(f"column {shown(name)} holds lists or objects and was left out")
            elif not summary.distinct:
                self.warnings.append(f"column {shown(name)} is empty and was left out")
            elif summary.numeric:
                kept.append((name, "number"))
            elif summary.few:
                kept.append((name, "category"))
                if summary.with_comma:
                    self.warnings.append(f"column {shown(name)} counts as words: {AS_NUMBERS}")
            elif summary.with_comma:
                self.warnings.append(f"column {shown(name)} was left out: {AS_NUMBERS}")
            else:
                self.warnings.append(f"column {shown(name)} is different in nearly every row and was left out")
        self.columns = tuple(kept)
        self._seen: dict[str, Counter[str]] = {name: Counter() for name, kind in kept if kind == "category"}

    def read(self, cells: Mapping[str, Cell]) -> tuple[dict[str, float | str | None], str]:
        """(cells by column, "") or (nothing of use, what is wrong). A cell that is missing or infinite is None."""
        row: dict[str, float | str | None] = {}
        for name, kind in self.columns:
            cell = cells.get(name)
            if kind == "category":
                text = category(cell)
                seen = self._seen[name]
                if text is not None and (text in seen or len(seen) < _COUNTED):
                    seen[text] += 1
                row[name] = text
                continue
            value = number(cell)
            if value is None and not is_missing(cell):
                return {}, f"column {shown(name)} holds {shown(cell)} where the others are numbers"
            row[name] = value if value is not None and math.isfinite(value) else None
        return row, ""

    def inputs(self) -> tuple[ColumnInfo, ...]:
        """The columns in order, with the categories read so far."""
        return tuple(
            ColumnInfo(
                name=name,
                kind=kind,
                categories=tuple(sorted(text for text, _ in self._seen[name].most_common(MOST_CATEGORIES)))
                if kind == "category"
                else (),
            )
            for name, kind in self.columns
        )
