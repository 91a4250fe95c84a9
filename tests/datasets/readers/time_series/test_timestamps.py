"""Points in time are parsed in every common format."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from service.datasets.readers.time_series.timestamps import parse_time
from tests.support.datasets.series_files import (
    DAYS,
    csv_of,
    read_whole,
    refused,
)


@pytest.mark.parametrize(
    "form",
    [
        "{0:%Y-%m-%d}",
        "{0.year}-{0.month}-{0.day}",
        "{0.year}/{0.month}/{0.day}",
        "{0.year}.{0.month}.{0.day}.",
        "{0.day}/{0.month}/{0.year}",
        "{0.month}/{0.day}/{0.year}",
        "{0:%m/%d/%Y}",
        "{0:%d-%m-%Y}",
        "{0:%d.%m.%Y}",
        "{0.day}. {0.month}. {0.year}",
        "{0:%d.%m.%y}",
        "{0:%m/%d/%y}",
        "{0:%y-%m-%d}",
        "{0:%d/%m/%y}",
        "{0:%d %B %Y}",
        "{0:%d-%b-%y}",
        "{0:%b} {0.day}. {0.year}",
        "{0:%Y-%b-%d}",
        "{0:%a %d %b %Y}",
        "{0:%A}. {0:%d %B %Y}",
        "{0:%Y%m%d}",
        "{0.year}年{0.month}月{0.day}日",
        "{0:%Y-%m-%d}T00:00:00Z",
        "{0:%Y-%m-%d} 00:00:00+00:00",
        "{0:%Y-%m-%d} 00:00:00 UTC",
        "{0:%Y-%m-%d}T00:00:00.000000000",
        "{0:%d/%m/%Y} 12:00 AM",
        "{0:%m/%d/%Y} 3:45:10 pm",
        "{0:%d.%m.%Y} 07:00 Uhr",
        "{0:%d.%m.%Y} 00:00 - {0:%d.%m.%Y} 01:00",
        "{0:%a %b %d} 00:00:00 {0.year}",
        "{0:%a %d %b %Y} 00:00:00 GMT",
        "{0:%d/%b/%Y}:13:55:36 +0700",
    ],
)
def test_dates_are_read_in_the_one_format_that_fits_all(tmp_path: Path, form: str) -> None:
    examples = read_whole(tmp_path, [form.format(day) for day in DAYS])
    assert any(line.startswith("step: 1 day") for line in examples.info.report.inferred)


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("2025-W03", "2025-01-13"),
        ("2025W3", "2025-01-13"),
        ("W03 2025", "2025-01-13"),
        ("KW 3/2025", "2025-01-13"),
        ("2025-Q3", "2025-07-01"),
        ("Q3 2025", "2025-07-01"),
        ("2025Q3", "2025-07-01"),
        ("2025-03", "2025-03-01"),
        ("03/2025", "2025-03-01"),
        ("2025M03", "2025-03-01"),
        ("Mar-25", "2025-03-01"),
        ("March 2025", "2025-03-01"),
        ("2023-01-01 24:00", "2023-01-02"),
        ("1969-12-31", "1969-12-31"),
        ("29 Feb 2024", "2024-02-29"),
    ],
)
def test_date_means_its_first_moment(text: str, want: str) -> None:
    wanted = datetime.fromisoformat(want).replace(tzinfo=UTC).timestamp()
    assert parse_time(text) == {"date": wanted}


@pytest.mark.parametrize(
    "text", ["31.02.2023", "2023-13-01", "25:61", "hello", "12 apples", "1/2", "", "Q5 2025", "2025-W60"]
)
def test_texts_that_are_no_dates_are_not_read_as_dates(text: str) -> None:
    assert parse_time(text) == {}


def test_two_digit_years_below_69_are_in_this_century() -> None:
    assert parse_time("31/12/68")["day/month/year"] == datetime(2068, 12, 31, tzinfo=UTC).timestamp()
    assert parse_time("31/12/69")["day/month/year"] == datetime(1969, 12, 31, tzinfo=UTC).timestamp()


def test_month_names_in_other_languages_are_refused_with_advice(tmp_path: Path) -> None:
    error = refused(tmp_path, csv_of(f"{i % 28 + 1}. März {1990 + i // 28}" for i in range(60)))
    assert error.field == "header.columns.time"
    assert "'1. März 1990' cannot be read as a time; names of months are read in English only" in error.problem
