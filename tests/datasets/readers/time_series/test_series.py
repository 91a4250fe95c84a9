"""Series as people write them: unambiguous dates are read, and calendar steps count as equal."""

from __future__ import annotations

import calendar
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from service.datasets.dataset import DatasetKind
from service.datasets.examples import StoredExamples
from service.datasets.readers.time_series.timestamps import parse_time
from service.errors import InvalidInput
from service.types import SeriesInstance
from tests.support.dataset_files import lines, read
from tests.support.paths import DATASET_FILES

DATA = DATASET_FILES
DAYS = [date(2023, 1, 1) + timedelta(days=i) for i in range(120)]


def csv_of(times: Iterable[object], head: str = "date,value") -> bytes:
    return (head + "\n" + "".join(f"{time},{i * i % 97}\n" for i, time in enumerate(times))).encode()


def values(examples: StoredExamples, at: int = 0) -> list[float]:
    series = examples[at].instance
    assert isinstance(series, SeriesInstance)
    return series.values[:, 0].tolist()


def in_order(count: int) -> list[float]:
    return [float(i * i % 97) for i in range(count)]


def refused(folder: Path, data: bytes, name: str = "a.csv", **more: object) -> InvalidInput:
    with pytest.raises(InvalidInput) as caught:
        read(folder, name, data, **more)  # type: ignore[arg-type]
    return caught.value


def read_whole(folder: Path, times: Iterable[object], head: str = "date,value") -> StoredExamples:
    """The series has all rows in their order, without a warning."""
    times = list(times)
    examples = read(folder, "a.csv", csv_of(times, head))
    assert examples.info.kind is DatasetKind.SERIES
    assert values(examples) == in_order(len(times))
    assert examples.info.report.warnings == ()
    assert examples.info.report.skipped_count == 0
    return examples


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


def test_repeated_hour_keeps_its_order(tmp_path: Path) -> None:
    given = (DATA / "dst_local.csv").read_text().splitlines()[1:]
    examples = read(tmp_path, "a.csv", (DATA / "dst_local.csv").read_bytes())
    assert values(examples) == [float(line.split(",")[1]) for line in given]


# ── dates ─────────────────────────────────────────────────────────────────────────────────────────────────────────


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


def test_month_names_in_other_languages_are_refused_with_advice(tmp_path: Path) -> None:
    error = refused(tmp_path, csv_of(f"{i % 28 + 1}. März {1990 + i // 28}" for i in range(60)))
    assert error.field == "header.columns.time"
    assert "'1. März 1990' cannot be read as a time; names of months are read in English only" in error.problem


def test_date_column_needs_no_common_name(tmp_path: Path) -> None:
    for head in ("Stichtag,value", ",value", "Datum,Umsatz"):
        read_whole(tmp_path, DAYS, head)


def test_day_and_time_of_day_in_two_columns_are_combined(tmp_path: Path) -> None:
    start = datetime(2023, 1, 1)
    rows = [start + timedelta(hours=i) for i in range(100)]
    read_whole(tmp_path, [f"{at:%d/%m/%Y},{at:%H:%M:%S}" for at in rows], "Date,Time,value")


def test_repeated_times_of_day_are_refused_with_the_cause(tmp_path: Path) -> None:
    assert (
        "a time of day without a date; add the date"
        in refused(tmp_path, csv_of((f"{i % 24:02}:00" for i in range(60)), "time,value")).problem
    )
    read_whole(tmp_path, [f"{i // 4:02}:{i % 4 * 15:02}" for i in range(90)], "time,value")


# ── steps ─────────────────────────────────────────────────────────────────────────────────────────────────────────


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


BUSINESS = [day for day in (date(2022, 1, 3) + timedelta(days=i) for i in range(200)) if day.weekday() < 5]
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


# ── rows ──────────────────────────────────────────────────────────────────────────────────────────────────────────


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


def test_constant_text_column_is_no_series_column(tmp_path: Path) -> None:
    rows = [
        {"date": str(day), "shop": f"s{s}", "unit": "kWh", "sold": i + s}
        for i, day in enumerate(DAYS)
        for s in range(2)
    ]
    examples = read(tmp_path, "a.jsonl", lines(rows))
    assert (len(examples), examples.info.columns.series, examples.info.channels) == (2, "shop", 1)


def test_all_series_of_a_file_use_one_time_format(tmp_path: Path) -> None:
    """The first days of a month could be read month first; another series shows that they are not."""
    rows = [
        f"{day:%d/%m/%Y},{name},{i}" for name, part in (("a", DAYS[:12]), ("b", DAYS)) for i, day in enumerate(part)
    ]
    with_short = ("date,shop,value\n" + "\n".join(rows)).encode()
    examples = read(tmp_path, "a.csv", with_short)
    assert values(examples) == [float(i) for i in range(120)]
    assert examples.info.report.skipped[0].reason == "series 'a' has 12 steps; at least 16 are needed"


def test_numbers_with_infinite_squares_are_left_out_of_a_series(tmp_path: Path) -> None:
    data = csv_of(DAYS).decode() + "2023-05-01,1.7e308\n2023-05-02,inf\n"
    examples = read(tmp_path, "a.csv", data.encode())
    assert [s.reason for s in examples.info.report.skipped] == [
        "'value' is '1.7e308'; expected a number from -1e150 to 1e150",
        "'value' is 'inf'; expected a number",
    ]
