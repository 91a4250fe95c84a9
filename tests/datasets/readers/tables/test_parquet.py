"""Parquet files of other programs: values that Python lacks are read all the same, or their column is left out by name."""

import datetime
import io
import uuid
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from service.datasets.dataset_limits import DatasetLimits
from service.datasets.readers.tables.table import Table
from service.errors import InvalidInput
from tests.support.datasets.dataset_files import read
from tests.support.paths import DATASET_FILES

DATA = DATASET_FILES


def written(table: pyarrow.Table) -> bytes:
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(table, buffer)
    return buffer.getvalue()


def cells_of(tmp_path: Path, array: Any) -> tuple[list[Any], list[str]]:
    path = tmp_path / "upload.part"
    path.write_bytes(written(pyarrow.table({"x": array})))
    notes: list[str] = []
    return [row.cells["x"] for row in Table(path, "a.parquet", DatasetLimits()).rows(notes.append)], notes


@pytest.mark.parametrize("name", ["valid_to_9999_tz.parquet", "one_bad_row.parquet"])
def test_dates_beyond_python_keep_their_rows(tmp_path: Path, name: str) -> None:
    info = read(tmp_path, name, (DATA / name).read_bytes()).info
    assert (info.report.examples, info.report.skipped_count, info.labels) == (40, 0, ("neg", "pos"))


def test_dates_of_spark_beyond_nanoseconds_are_read(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    times = pyarrow.array([datetime.datetime(9999, 12, 31)] * 2, pyarrow.timestamp("us"))
    pyarrow.parquet.write_table(pyarrow.table({"x": times}), buffer, use_deprecated_int96_timestamps=True)
    (tmp_path / "upload.part").write_bytes(buffer.getvalue())
    rows = list(Table(tmp_path / "upload.part", "a.parquet", DatasetLimits()).rows())
    assert [row.cells["x"] for row in rows] == ["9999-12-31T00:00:00"] * 2


def test_list_of_dates_beyond_python_is_empty_and_named(tmp_path: Path) -> None:
    times = pyarrow.array([[253402300800]], pyarrow.list_(pyarrow.timestamp("s")))
    assert cells_of(tmp_path, times) == ([None], ["column 'x': 1 cell cannot be read, taken as empty"])


@pytest.mark.parametrize(
    ("array", "cells"),
    [
        (pyarrow.array([253402300800], pyarrow.timestamp("s")), ["10000-01-01 00:00:00"]),
        (pyarrow.array([0, 253402300799], pyarrow.timestamp("s", "Europe/Berlin")), [..., "9999-12-31 23:59:59"]),
        (pyarrow.array([3_000_000], pyarrow.date32()), [...]),
        (pyarrow.array([datetime.date(2024, 1, 31)]), ["2024-01-31"]),
        (pyarrow.array([2**63 + 1], pyarrow.uint64()), [2**63 + 1]),
        (pyarrow.array([Decimal("1.50"), Decimal("3.00")]), [1.5, 3]),
        (pyarrow.array([1.5, None], pyarrow.float16()), [1.5, None]),
        (pyarrow.array(["a", None, "a"]).dictionary_encode(), ["a", None, "a"]),
        (pyarrow.array(["a"], pyarrow.large_string()), ["a"]),
        (pyarrow.array([b"a"], pyarrow.binary()), ["a"]),
        (pyarrow.array([b"\xff"], pyarrow.binary()), [[b"\xff"]]),
        (pyarrow.array([{"a": 1}]), [[{"a": 1}]]),
        (pyarrow.array([[1.5]]), [[1.5]]),
        (pyarrow.nulls(2), [None, None]),
        (pyarrow.array([1], pyarrow.time64("ns")), ["00:00:00"]),
        (pyarrow.array([90_000_000_000], pyarrow.duration("ns")), ["0:01:30"]),
        (pyarrow.array([True, None]), [True, None]),
        (pyarrow.array([uuid.UUID(int=1).bytes], pyarrow.binary(16)), [uuid.UUID(int=1).bytes.decode()]),
    ],
)
def test_every_arrow_type_becomes_a_cell(tmp_path: Path, array: Any, cells: list[Any]) -> None:
    found, _ = cells_of(tmp_path, array)
    assert len(found) == len(cells)
    assert all(want is ... or got == want for got, want in zip(found, cells, strict=True))


def test_bytes_that_are_not_utf8_are_never_one_class(tmp_path: Path) -> None:
    table = pyarrow.table({"x": [i / 7 for i in range(20)], "label": [b"\xff", b"\xfe"] * 10})
    with pytest.raises(InvalidInput, match="holds lists or objects"):
        read(tmp_path, "a.parquet", written(table))


def test_useless_columns_are_named(tmp_path: Path) -> None:
    table = pyarrow.table(
        {"x": [i / 7 for i in range(20)], "label": ["a", "b"] * 10, "nothing": pyarrow.nulls(20), "": [1] * 20}
    )
    info = read(tmp_path, "a.parquet", written(table)).info
    assert "column 'nothing' is empty and was left out" in info.report.warnings
    assert any(line.startswith("columns without a name: left out 'column_4'") for line in info.report.inferred)
    assert info.columns.ignored == ("column_4", "nothing")


def test_text_named_parquet_is_refused_with_the_right_suffix(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"is not a Parquet file, .* call it \.csv or \.jsonl"):
        read(tmp_path, "a.parquet", b"text,label\na,b\n")
