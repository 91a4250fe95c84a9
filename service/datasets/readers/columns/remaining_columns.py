"""Which columns of a table are left once some have a meaning."""

from __future__ import annotations

from collections.abc import Mapping

from service.datasets.dataset import Columns
from service.datasets.readers.columns.schema import Summary
from service.datasets.readers.tables.table import Table


def rest_of(table: Table, summaries: Mapping[str, Summary], columns: Columns, *used: str) -> dict[str, Summary]:
    """The columns that still may mean something."""
    named = {columns.target, columns.text, columns.split, columns.time, columns.series}
    out = {*used, *columns.ignored, *(name for name in table.unnamed if name not in named)}
    return {name: summary for name, summary in summaries.items() if name not in out}
