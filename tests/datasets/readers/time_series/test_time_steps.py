"""Steps of calendar months, working days and hours count as equal."""

from __future__ import annotations

import calendar
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from tests.support.datasets.dataset_files import read
from tests.support.datasets.series_files import (
    BUSINESS,
    DAYS,
    csv_of,
    in_order,
    read_whole,
    refused,
    values,
)


def month_end(i: int) -> date:
    year, month = 2015 + i // 12, i % 12 + 1
    return date(year, month, calendar.monthrange(year, month)[1])


def hours(zone: str, start: datetime, count: int, minutes: int = 60) -> list[datetime]:
    first = start.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)
    return [(first + timedelta(minutes=minutes * i)).astimezone(ZoneInfo(zone)) for i in range(count)]


def last_weekday(day: date) -> date:
    while day.weekday() > 4:
        day -= timedelta(days=1)
    return day


MARKET = [
    datetime(day.year, day.month, day.day, hour) for day in BUSINESS for hour in range(9, 17)
]  # 8 hours a day, 5 days a week


@pytest.mark.parametrize(
    ("times", "step"),
    [
        (BUSINESS, "Monday to Friday"),
        ([day for day in DAYS if day.weekday() in (6, 0, 1, 2, 3)], "Monday, Tuesday, Wednesday, Thursday, Sunday"),
        ([day for day in DAYS if day.weekday() in (0, 2, 4)], "Monday, Wednesday, Friday"),
        ([f"{at:%Y-%m-%d %H:%M}" for at in MARKET], "Monday to Friday, certain hours"),
        ([month_end(i) for i in range(60)], "1 month"),
        ([last_weekday(month_end(i)) for i in range(120)], "1 month"),
        ([f"{2000 + i // 4}-Q{i % 4 + 1}" for i in range(40)], "1 quarter"),
        ([f"{2000 + i // 12}-{i % 12 + 1:02}" for i in range(40)], "1 month"),
        ([f"{2000 + i // 12}{i % 12 + 1:02}" for i in range(40)], "1 month"),
        ([f"{2000 + i // 12}.{i % 12 + 1:02}" for i in range(40)], "1 month"),
        (
            [
                f"{d.isocalendar().year}-W{d.isocalendar().week:02}"
                for d in (DAYS[1] + timedelta(weeks=i) for i in range(80))
            ],
            "1 week",
        ),
        (list(range(1990, 2020)), "1"),
        ([1_672_531_200 + 3600 * i for i in range(60)], "3600"),
        ([1_672_531_200_000 + 86_400_000 * i for i in range(60)], "86400000"),
        (
            [int((datetime(d.year, d.month, d.day, tzinfo=UTC)).timestamp()) for d in BUSINESS],
            "Monday to Friday (seconds since 1970)",
        ),
        ([(d - date(1899, 12, 30)).days for d in BUSINESS], "Monday to Friday (days since 1900 as in Excel)"),
        ([f"{d:%Y%m%d}" for d in BUSINESS], "Monday to Friday"),
        ([f"{at:%Y-%m-%d %H:%M}" for at in hours("Europe/Berlin", datetime(2022, 10, 1), 9000)], "1 hour"),
        ([f"{at:%m/%d/%Y %I:%M %p}" for at in hours("America/New_York", datetime(2022, 10, 1), 9000)], "1 hour"),
        ([f"{at:%d.%m.%Y %H:%M}" for at in hours("Europe/Berlin", datetime(2023, 10, 20), 2000, 15)], "15 minutes"),
        ([f"{at:%Y-%m-%d %H:%M}" for at in hours("Australia/Sydney", datetime(2023, 3, 1), 6000)], "1 hour"),
        ([f"{at:%Y-%m-%d %H:%M}" for at in hours("Europe/Berlin", datetime(2023, 3, 20), 400)], "1 hour"),
        ([at.isoformat() for at in hours("Europe/Berlin", datetime(2023, 10, 20), 400)], "1 hour"),
        (
            [datetime(d.year, d.month, d.day, tzinfo=ZoneInfo("Europe/Berlin")).isoformat() for d in BUSINESS],
            "Monday to Friday",
        ),
        (
            [
                datetime(d.year, d.month, d.day, tzinfo=ZoneInfo("Europe/Berlin")).astimezone(UTC).isoformat()
                for d in BUSINESS
            ],
            None,
        ),
    ],
)
def test_calendar_steps_are_equal_steps(tmp_path: Path, times: list[object], step: str | None) -> None:
    examples = read_whole(tmp_path, times)
    if step is not None:
        assert f"step: {step}, because most rows have this step" in examples.info.report.inferred


def test_holidays_are_gaps_of_business_days(tmp_path: Path) -> None:
    open_days = [day for day in BUSINESS if day not in (date(2022, 4, 15), date(2022, 4, 18), date(2022, 5, 26))]
    examples = read(tmp_path, "a.csv", csv_of(open_days))
    assert values(examples) == in_order(len(open_days))
    assert examples.info.report.warnings == (
        "the series has 2 gaps in its times, the first from 2022-04-14 to 2022-04-19; the rows around a gap count as consecutive",
    )


def test_times_without_a_constant_step_are_refused_with_advice(tmp_path: Path) -> None:
    days = np.cumsum(np.random.default_rng(0).integers(1, 9, 80))
    error = refused(tmp_path, csv_of(DAYS[0] + timedelta(days=int(i)) for i in days))
    assert error.field == "header.columns.time"
    assert "the series has no constant step" in error.problem
    assert "the first is from 2023-01-" in error.problem
    assert "fill in the rows that are missing, or sum up the rows to a longer step" in error.problem
