"""The times of a series have one format, one order and one step; ambiguous ones are refused."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from service.datasets.dataset import DatasetKind
from tests.support.datasets.dataset_files import read
from tests.support.datasets.series_files import (
    DAYS,
    csv_of,
    in_order,
    read_whole,
    refused,
    values,
)
from tests.support.paths import DATASET_FILES

DATA = DATASET_FILES


def test_repeated_hour_keeps_its_order(tmp_path: Path) -> None:
    given = (DATA / "dst_local.csv").read_text().splitlines()[1:]
    examples = read(tmp_path, "a.csv", (DATA / "dst_local.csv").read_bytes())
    assert values(examples) == [float(line.split(",")[1]) for line in given]


def test_ambiguous_days_and_months_are_decided_by_equal_steps(tmp_path: Path) -> None:
    """The first of each month, day first; read month first they would be the first days of each January."""
    firsts = [date(2020 + i // 12, i % 12 + 1, 1) for i in range(40)]
    examples = read_whole(tmp_path, [f"{day:%d/%m/%Y}" for day in firsts])
    report = examples.info.report
    assert any(line.startswith("times of 'date': day/month/year") for line in report.inferred)
    assert any(line.startswith("step: 1 month") for line in report.inferred)


def test_ambiguous_order_without_effect_is_accepted(tmp_path: Path) -> None:
    read_whole(tmp_path, [f"01/02/{year}" for year in range(1990, 2020)])


def test_dates_with_two_possible_formats_are_refused_with_advice(tmp_path: Path) -> None:
    """Days 1 to 12 of every month: both orders of day and month give equally unequal steps."""
    days = [date(2023, month, day) for month in range(1, 13) for day in range(1, 13)]
    error = refused(tmp_path, csv_of(f"{day:%d/%m/%Y}" for day in days), kind=DatasetKind.SERIES)
    assert error.field == "header.columns.time"
    assert "can be read as day/month/year and as month/day/year; write them as 2024-01-31" in error.problem


def test_row_in_another_date_order_is_left_out_and_named(tmp_path: Path) -> None:
    times = [f"{day:%d/%m/%Y}" for day in DAYS]
    times[40] = "02/30/2023"
    examples = read(tmp_path, "a.csv", csv_of(times))
    report = examples.info.report
    assert (len(values(examples)), report.skipped_count, report.skipped[0].row) == (119, 1, 41)
    assert "'02/30/2023'" in report.skipped[0].reason


def test_repeated_times_of_day_are_refused_with_the_cause(tmp_path: Path) -> None:
    assert (
        "a time of day without a date; add the date"
        in refused(tmp_path, csv_of((f"{i % 24:02}:00" for i in range(60)), "time,value")).problem
    )
    read_whole(tmp_path, [f"{i // 4:02}:{i % 4 * 15:02}" for i in range(90)], "time,value")


@pytest.mark.parametrize("turn", [lambda rows: rows[::-1], lambda rows: rows[60:] + rows[:60]])
def test_unordered_rows_are_sorted_and_reported(tmp_path: Path, turn: Callable[[list[str]], list[str]]) -> None:
    head, *rows = csv_of(DAYS).decode().splitlines()
    examples = read(tmp_path, "a.csv", "\n".join([head, *turn(rows)]).encode())
    assert values(examples) == in_order(len(DAYS))
    assert examples.info.report.warnings == ("the series was not in order of time and was sorted",)


def test_repeated_hour_in_descending_order_keeps_its_order(tmp_path: Path) -> None:
    head, *rows = (DATA / "dst_local.csv").read_text().splitlines()
    examples = read(tmp_path, "a.csv", "\n".join([head, *rows[::-1]]).encode())
    assert values(examples) == [float(row.split(",")[1]) for row in rows]


def test_repeated_hour_in_no_order_is_refused_with_the_cause(tmp_path: Path) -> None:
    head, *rows = (DATA / "dst_local.csv").read_text().splitlines()
    error = refused(tmp_path, "\n".join([head, *np.random.default_rng(0).permutation(rows).tolist()]).encode())
    assert "are of 2023-10-29 02:00; if the clocks went back then, write the times in UTC" in error.problem


def test_repeated_row_is_left_out_and_named(tmp_path: Path) -> None:
    rows = csv_of(DAYS).decode().splitlines()
    examples = read(tmp_path, "a.csv", "\n".join([*rows, rows[5]]).encode())
    report = examples.info.report
    assert values(examples) == in_order(len(DAYS))
    assert [(s.row, s.reason) for s in report.skipped] == [(121, "repeats row 5")]


def test_two_values_of_one_time_are_refused_by_their_rows(tmp_path: Path) -> None:
    data = csv_of(DAYS).decode() + f"{DAYS[4]},1000\n"
    error = refused(tmp_path, data.encode())
    assert "rows 5 and 121 are of 2023-01-05" in error.problem
    assert "name the column that tells them apart" in error.problem


def test_all_series_of_a_file_use_one_time_format(tmp_path: Path) -> None:
    """The first days of a month could be read month first; another series shows that they are not."""
    rows = [
        f"{day:%d/%m/%Y},{name},{i}" for name, part in (("a", DAYS[:12]), ("b", DAYS)) for i, day in enumerate(part)
    ]
    with_short = ("date,shop,value\n" + "\n".join(rows)).encode()
    examples = read(tmp_path, "a.csv", with_short)
    assert values(examples) == [float(i) for i in range(120)]
    assert examples.info.report.skipped[0].reason == "series 'a' has 12 steps; at least 16 are needed"
