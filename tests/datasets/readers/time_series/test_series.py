"""Series as people write them: unambiguous dates are read, and calendar steps count as equal."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest

from service.datasets.dataset import DatasetKind
from tests.support.datasets.dataset_files import lines, read
from tests.support.datasets.series_files import (
    DAYS,
    csv_of,
    read_whole,
    values,
)
from tests.support.paths import DATASET_FILES

DATA = DATASET_FILES


@pytest.mark.parametrize(
    ("name", "rows", "step"),
    [
        ("slash_unpadded", 400, "1 day"),
        ("german", 400, "1 day"),
        ("business_days", 285, "Monday to Friday"),
        ("dst_local", 400, "1 hour"),
        ("scale_1e19", 400, "1 day"),
    ],
)
def test_series_of_real_users_are_read(tmp_path: Path, name: str, rows: int, step: str) -> None:
    examples = read(tmp_path, f"{name}.csv", (DATA / f"{name}.csv").read_bytes())
    report = examples.info.report
    assert examples.info.kind is DatasetKind.SERIES
    assert [len(examples), len(values(examples)), report.skipped_count, report.warnings] == [1, rows, 0, ()]
    assert any(line.startswith(f"step: {step}") for line in report.inferred)


def test_date_column_needs_no_common_name(tmp_path: Path) -> None:
    for head in ("Stichtag,value", ",value", "Datum,Umsatz"):
        read_whole(tmp_path, DAYS, head)


def test_day_and_time_of_day_in_two_columns_are_combined(tmp_path: Path) -> None:
    start = datetime(2023, 1, 1)
    rows = [start + timedelta(hours=i) for i in range(100)]
    read_whole(tmp_path, [f"{at:%d/%m/%Y},{at:%H:%M:%S}" for at in rows], "Date,Time,value")


def test_constant_text_column_is_no_series_column(tmp_path: Path) -> None:
    rows = [
        {"date": str(day), "shop": f"s{s}", "unit": "kWh", "sold": i + s}
        for i, day in enumerate(DAYS)
        for s in range(2)
    ]
    examples = read(tmp_path, "a.jsonl", lines(rows))
    assert (len(examples), examples.info.columns.series, examples.info.channels) == (2, "shop", 1)


def test_numbers_with_infinite_squares_are_left_out_of_a_series(tmp_path: Path) -> None:
    data = csv_of(DAYS).decode() + "2023-05-01,1.7e308\n2023-05-02,inf\n"
    examples = read(tmp_path, "a.csv", data.encode())
    assert [s.reason for s in examples.info.report.skipped] == [
        "'value' is '1.7e308'; expected a number from -1e150 to 1e150",
        "'value' is 'inf'; expected a number",
    ]
