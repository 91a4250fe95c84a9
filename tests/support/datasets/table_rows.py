"""Rows of tables as tests read them."""

import csv
import io
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from service.datasets.dataset_limits import DatasetLimits
from service.datasets.readers.tables.table import Table, TableRow

HEAD = "text,label\n" + "".join(f"{('some', 'words')[i % 2]} number {i},{('pos', 'neg')[i % 2]}\n" for i in range(8))


def rows_of(tmp_path: Path, text: str | bytes, name: str = "a.csv") -> tuple[list[TableRow], list[str]]:
    path = tmp_path / "upload.part"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    notes: list[str] = []
    return list(Table(path, name, DatasetLimits()).rows(notes.append)), notes


def cells(rows: list[TableRow]) -> list[tuple[object, ...]]:
    return [tuple(row.cells.values()) or row.problem for row in rows]  # type: ignore[misc]


def as_csv(
    rows: Iterable[tuple[object, ...]], delimiter: str = ",", how: Literal[0, 1, 2, 3] = csv.QUOTE_MINIMAL
) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, delimiter=delimiter, quoting=how).writerows(rows)
    return buffer.getvalue()
