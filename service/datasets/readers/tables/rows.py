"""Reads tables: rows of numbers and categories, with one column as the target."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from service.datasets.dataset import Columns, DatasetKind
from service.datasets.dataset_limits import DatasetLimits
from service.datasets.readers.columns.cells import CellReading
from service.datasets.readers.columns.column_summary import ColumnSummary
from service.datasets.readers.columns.input_columns import InputColumns
from service.datasets.readers.columns.targets import AS_WRITTEN, add_target
from service.datasets.readers.parsed_example import (
    ParsedExample,
    ReaderSchema,
    Skip,
    TargetKind,
    Warn,
    digest_of,
)
from service.datasets.readers.tables.table import Table
from service.errors import InvalidInput


class TableReader:
    """Reads each row as an example."""

    def __init__(
        self,
        table: Table,
        columns: Columns,
        target: TargetKind,
        row: Mapping[str, ColumnSummary],
        limits: DatasetLimits,
        reading: CellReading = AS_WRITTEN,
    ) -> None:
        """`row`: the columns that are inputs; `reading`: how the cells of the target's column are read."""
        self._table = table
        self._reading = reading
        self._target = target
        self._row = InputColumns(row)
        self._columns = columns.model_copy(update={"ignored": (*columns.ignored, *self._row.left_out)})
        self._limits = limits
        if not self._row.columns:
            why = "".join(f"; {sentence}" for sentence in self._row.warnings[:5])
            raise InvalidInput("data", f"the table has no column to learn from beside the target{why}")

    def schema(self) -> ReaderSchema:
        """The categories are complete after the end of `examples`."""
        return ReaderSchema(
            DatasetKind.TABLE, self._columns, self._target, self._row.inputs(), row_columns=self._row.columns
        )

    def input_count(self) -> int:
        """See `Reader`."""
        return self._table.count

    def examples(self, skip: Skip, warn: Warn) -> Iterator[ParsedExample]:
        """One for each row, in order."""
        for sentence in self._row.warnings:
            warn(sentence)
        for row in self._table.rows(warn):
            example = ParsedExample({}, "", self._table.name, row.number)
            problem = row.problem or add_target(
                example, row.cells, self._columns, self._target, self._limits.name_characters, self._reading
            )
            if not problem:
                cells, problem = self._row.read(row.cells)
                example.values["row"] = cells
                example.digest = digest_of(repr(tuple(cells.values())))
            if problem:
                skip(self._table.name, row.number, problem)
            else:
                yield example
        for sentence in self._row.remarks():
            warn(sentence)
