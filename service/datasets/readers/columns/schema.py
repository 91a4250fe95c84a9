"""Summarizes the columns of a table in one pass over its first rows; the readers infer kind and columns from the summaries."""

from __future__ import annotations

from itertools import islice

from service.datasets.formatting import quoted
from service.datasets.readers.columns.column_summary import ColumnSummary
from service.datasets.readers.columns.number_columns import choose_notations
from service.datasets.readers.inferred_facts import Infer, ignore_inferred
from service.datasets.readers.tables.table import Table
from service.errors import InvalidInput

INSPECTED_ROWS = 20_000


def summarize_columns(table: Table, infer: Infer = ignore_inferred) -> dict[str, ColumnSummary]:
    """The summary of each column, in order. Number formats are chosen over all rows, the rest over the first ones.

    `infer` is called for numbers that are not written as programs do. Raises InvalidInput if no row can be read.
    """
    summaries = {name: ColumnSummary(name) for name in table.columns}
    read, problem = 0, ""
    rows = table.rows()
    for row in islice(rows, INSPECTED_ROWS):
        if row.problem:
            problem = problem or f"; row {row.number}: {row.problem}"
            continue
        read += 1
        for name, summary in summaries.items():
            summary.add(row.cells.get(name))
    if not read:
        cure = "; save the file as UTF-8" if problem.endswith("is not UTF-8 text") else ""
        raise InvalidInput("data", f"{quoted(table.name)} has no row that can be read{problem}{cure}")
    for summary in summaries.values():
        summary.close()
    written_otherwise = [summary for summary in summaries.values() if summary.may_be_decorated]
    if written_otherwise:
        for row in rows:
            if not row.problem:
                for summary in written_otherwise:
                    summary.add(row.cells.get(summary.name))
        for summary in written_otherwise:
            summary.close()
    choose_notations(tuple(summaries.values()), table.delimiter, infer)
    return summaries
