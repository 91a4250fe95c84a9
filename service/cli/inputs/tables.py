"""Rows, records and series of a table, read by the code that reads uploaded tables.

Cells of a `.csv` are sent as texts: the model knows which of its columns are numbers, and how they are written.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from service.cli.inputs.files import open_table
from service.cli.inputs.input_source import InputSource, UnreadableInput
from service.cli.inputs.known_columns import KnownColumns
from service.cli.inputs.records import record_source
from service.cli.rendering.console import print_note

_EXACT = 2**53
"""A double holds every whole number up to this."""
_MOST_SKIPPED_SHOWN = 5
"""Rows of series that are named when they are left out."""


def table_sources(path: Path, name: str, raw_input: str, columns: KnownColumns) -> Iterator[InputSource]:
    """The inputs in a table at `path`, which people know as `name`. Raises UnreadableInput."""
    if raw_input == "series":
        yield from _series_sources(path, name, columns)
        return
    with open_table(path, name) as table:
        if table.name.lower().endswith((".csv", ".tsv", ".txt", ".parquet")) and raw_input == "row":
            columns.check(table.columns)
        image_column = columns.column_of_role("image", table.columns)
        for row in table.rows():
            row_name = f"{name}:{row.line or row.number}"
            if row.problem:
                yield InputSource(row_name, problem=row.problem)
                continue
            cells = {column: _sendable(cell) for column, cell in row.cells.items()}
            try:
                if raw_input == "record":
                    yield record_source(row_name, cells, path.parent, columns, image_column)
                else:
                    yield InputSource(row_name, columns.select_inputs(cells))
            except UnreadableInput as error:
                yield InputSource(row_name, problem=str(error))


def _series_sources(path: Path, name: str, columns: KnownColumns) -> Iterator[InputSource]:
    from service.datasets.dataset import Columns
    from service.datasets.dataset_limits import DatasetLimits
    from service.datasets.readers.time_series.series_columns import NoNumberColumn, open_series

    with open_table(path, name) as table:
        time, series_name = (columns.column_of_role(role, table.columns) for role in ("time", "series"))
        try:
            reader = open_series(
                table,
                Columns(time=time, series=series_name),
                columns.channels(table.columns),
                DatasetLimits(),
            )
        except NoNumberColumn:
            raise UnreadableInput("no column of the file holds numbers only") from None
        found = False
        skipped = 0

        def skip(_file: str, row: int, reason: str, _count: int = 1, *, example: bool = True) -> None:
            nonlocal skipped
            skipped += 1
            if skipped <= _MOST_SKIPPED_SHOWN:
                print_note(f"{name}, row {row} is left out: {reason}")

        for series in reader.named(skip, print_note):
            found = True
            yield InputSource(f"{name}:{series.name}" if series.name else name, series.values.tolist())
        if skipped > _MOST_SKIPPED_SHOWN:
            print_note(f"and {skipped - _MOST_SKIPPED_SHOWN} rows more")
        if not found:
            raise UnreadableInput("the file holds no series that can be read")


def _sendable(cell: Any) -> Any:
    """A cell as a request takes it: a number that a double does not hold exactly becomes its digits; empty text becomes null."""
    if isinstance(cell, str):
        return cell or None
    if isinstance(cell, list) and len(cell) == 1 and isinstance(cell[0], dict):
        return cell[0]  # the reader of tables gives an object as a list of one
    if isinstance(cell, bool | float | list):
        return cell
    if isinstance(cell, int):
        return cell if abs(cell) < _EXACT else str(cell)
    return cell if cell is None else str(cell)
