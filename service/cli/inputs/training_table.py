"""A local table that a job learns from: the target that its base knows, and a row to call the result with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from service.cli.inputs.files import open_table
from service.cli.inputs.input_source import UnreadableInput
from service.cli.inputs.paths import TABLES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from service.client import Client, TableColumn

MOST_CELLS = 4
"""Cells of a row that is shown; a model takes the others as empty."""


def is_table(data: str) -> bool:
    """Whether the data of a job are a table on this machine."""
    return Path(data).suffix.lower() in TABLES and Path(data).is_file()


def known_target(client: Client, base: str, data: str) -> str:
    """The column that a base of rows predicts, if the table has it; else empty."""
    from service.client import NotFound

    if not is_table(data):
        return ""
    try:
        model = client.model(base)
    except NotFound:  # the check of the job reports it
        return ""
    if model.raw_input != "row" or not model.target_column:
        return ""
    try:
        with open_table(Path(data), data) as table:
            return model.target_column if model.target_column in table.columns else ""
    except UnreadableInput:  # the server reports it
        return ""


def sample_row(columns: Sequence[TableColumn]) -> dict[str, str | float]:
    """Cells that a model takes: the first value of a category, 1 in place of a number."""
    return {column.name: column.categories[0] if column.categories else 1.0 for column in columns[:MOST_CELLS]}


def first_row(data: str, columns: Sequence[TableColumn]) -> dict[str, str | float]:
    """Cells of the first row of a table, of the columns that a model takes; empty if the table cannot be read or has none."""
    if not is_table(data):
        return {}
    try:
        with open_table(Path(data), data) as table:
            cells = next((row.cells for row in table.rows() if not row.problem), {})
    except UnreadableInput:
        return {}
    given = {column: cells.get(column.name) for column in columns}
    shown = [(column, cell) for column, cell in given.items() if cell is not None and str(cell).strip()]
    return {column.name: _cell(str(cell), column.kind) for column, cell in shown[:MOST_CELLS]}


def _cell(text: str, kind: str) -> str | float:
    """A plain number as a number; other notations as they are, which the model reads as its training data."""
    if kind == "number":
        try:
            return int(text) if text.lstrip("-").isdecimal() else float(text)
        except ValueError:
            pass
    return text
