"""The input columns of a table: numbers, categories, and their cells."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping

from service.datasets.dataset import ColumnInfo
from service.datasets.formatting import MAX_LISTED, counted, quoted
from service.datasets.readers.columns.cells import LARGEST_NUMBER, NUMBER_RANGE, is_missing, to_category, to_number
from service.datasets.readers.columns.column_summary import ColumnSummary
from service.datasets.readers.columns.number_format import PLAIN
from service.datasets.readers.tables.table import Cell

MAX_CATEGORIES = 1_000
"""Categories of one column, the most frequent ones; a model hardly learns from rarer ones."""
_COUNTED = 20_000


class InputColumns:
    """Reads rows as numbers and categories, and collects the categories."""

    def __init__(self, summaries: Mapping[str, ColumnSummary]) -> None:
        """`summaries`: of the columns that may be inputs. Columns that are useless as input are left out, with a warning."""
        used: list[tuple[str, str]] = []
        self.warnings: list[str] = []
        self.left_out: list[str] = []
        """Columns that are useless as input."""
        for name, summary in summaries.items():
            if summary.lists and not summary.distinct:
                self.warnings.append(f"column {quoted(name)} holds lists or objects and was left out")
            elif not summary.distinct:
                self.warnings.append(f"column {quoted(name)} is empty and was left out")
            elif summary.numeric:
                used.append((name, "number"))
                if summary.loses_digits:
                    self.warnings.append(
                        f"column {quoted(name)} holds whole numbers that differ only beyond 16 digits, as ids do, and counts"
                        " them as the same"
                    )
            elif summary.repeats:
                used.append((name, "category"))
                if summary.trailing_text_problem:
                    self.warnings.append(
                        f"column {quoted(name)} is used as a category: {summary.trailing_text_problem}"
                    )
                elif summary.unreadable_problem:
                    self.warnings.append(f"column {quoted(name)} is used as a category: {summary.unreadable_problem}")
                elif summary.all_different:
                    self.warnings.append(f"column {quoted(name)} is different in every row, and is used as a category")
            elif summary.trailing_text_problem or summary.unreadable_problem:
                self.warnings.append(
                    f"column {quoted(name)} was left out: {summary.trailing_text_problem or summary.unreadable_problem}"
                )
            else:
                self.warnings.append(f"column {quoted(name)} is different in nearly every row and was left out")
            if not used or used[-1][0] != name:
                self.left_out.append(name)
        self.columns = tuple(used)
        self._notations = {name: summaries[name].notation for name, kind in used if kind == "number"}
        self._empty = dict.fromkeys((name for name, _ in used), 0)
        self._rows = 0
        self._beyond: dict[str, tuple[int, Cell]] = {}  # by column: the number of such cells, and the first
        self._seen: dict[str, Counter[str]] = {name: Counter() for name, kind in used if kind == "category"}

    def read(self, cells: Mapping[str, Cell]) -> tuple[dict[str, float | str | None], str]:
        """(cells by column, "") or ({}, what is wrong). A missing cell is None, and so is a number beyond `LARGEST_NUMBER`,
        about which
        `remarks` warns."""
        row: dict[str, float | str | None] = {}
        empty: list[str] = []
        for name, kind in self.columns:
            cell = cells.get(name)
            if kind == "category":
                text = to_category(cell)
                seen = self._seen[name]
                if text is not None and (text in seen or len(seen) < _COUNTED):
                    seen[text] += 1
                row[name] = text
                if text is None:
                    empty.append(name)
                continue
            value = to_number(cell, self._notations[name])
            if value is None and not is_missing(cell):
                return {}, f"column {quoted(name)} holds {quoted(cell)} where the others are numbers"
            if value is not None and -LARGEST_NUMBER <= value <= LARGEST_NUMBER:
                row[name] = value
                continue
            row[name] = None
            empty.append(name)
            if value is not None and not math.isnan(value):
                known, first = self._beyond.get(name, (0, cell))
                self._beyond[name] = known + 1, first
        self._rows += 1
        for name in empty:
            self._empty[name] += 1
        return row, ""

    def remarks(self) -> list[str]:
        """Warnings after all rows were read: about empty cells, and about numbers beyond the accepted range."""
        missing = [f"{quoted(name)} {count}" for name, count in self._empty.items() if count]
        many = [
            f"column {quoted(name)} has {len(seen):,}{'' if len(seen) < _COUNTED else ' or more'} categories; the"
            f" {MAX_CATEGORIES:,} most frequent are known to a model"
            for name, seen in self._seen.items()
            if len(seen) > MAX_CATEGORIES
        ]
        more = f" and {len(missing) - MAX_LISTED} more columns" if len(missing) > MAX_LISTED else ""
        empty = f"empty cells in {counted(self._rows, 'row')}: {', '.join(missing[:MAX_LISTED])}{more}"
        return [*self._too_large(), *([empty, *many] if missing else many)]

    def _too_large(self) -> Iterator[str]:
        for name, (number_of_cells, first) in self._beyond.items():
            verb = "counts" if number_of_cells == 1 else "count"
            yield (
                f"{counted(number_of_cells, 'cell')} of column {quoted(name)} {verb} as empty, such as {quoted(first)};"
                f" expected {NUMBER_RANGE}"
            )

    def inputs(self) -> tuple[ColumnInfo, ...]:
        """The columns in order, with the categories read so far."""
        return tuple(
            ColumnInfo(
                name=name,
                kind=kind,
                categories=tuple(sorted(text for text, _ in self._seen[name].most_common(MAX_CATEGORIES)))
                if kind == "category"
                else (),
                decimal=self._notations.get(name, PLAIN).decimal,
                grouping=self._notations.get(name, PLAIN).grouping,
                unit=self._notations.get(name, PLAIN).unit,
            )
            for name, kind in self.columns
        )
