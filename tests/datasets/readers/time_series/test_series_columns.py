"""Series are read from rows of times and numbers, or from rows of lists."""

import math
from pathlib import Path
from typing import Any

import pytest

from service.datasets.dataset import DatasetKind
from service.errors import InvalidInput
from service.types import SeriesInstance
from tests.support.datasets.dataset_files import lines, read


def refusal(tmp_path: Path, file_name: str, data: bytes | str, **how: Any) -> InvalidInput:
    with pytest.raises(InvalidInput) as caught:
        read(tmp_path, file_name, data if isinstance(data, bytes) else data.encode(), **how)
    assert str(tmp_path) not in caught.value.message
    return caught.value


def months(count: int = 48) -> str:
    return "month,passengers\n" + "".join(f"{1949 + i // 12}-{i % 12 + 1:02},{i * i % 97}\n" for i in range(count))


def test_one_series_in_a_csv_is_read(tmp_path: Path) -> None:
    examples = read(tmp_path, "a.csv", months().encode())
    assert examples.info.kind is DatasetKind.SERIES
    assert (examples.info.columns.time, examples.info.channels, len(examples)) == ("month", 1, 1)
    assert examples[0].target is None
    series = examples[0].instance
    assert isinstance(series, SeriesInstance)
    assert series.values.shape == (48, 1)
    assert series.values[:, 0].tolist() == [float(i * i % 97) for i in range(48)]
    assert not examples.info.report.warnings


def test_several_series_of_several_channels_are_read(tmp_path: Path) -> None:
    rows = [
        {"date": f"2024-01-{1 + i:02}", "shop": shop, "sold": 10 * i + len(shop), "visitors": i}
        for i in range(20)
        for shop in ("north", "south!")
    ]
    examples = read(tmp_path, "a.jsonl", lines(rows))
    assert (len(examples), examples.info.channels, examples.info.columns.series) == (2, 2, "shop")
    assert [c.name for c in examples.info.inputs] == ["sold", "visitors"]
    values = examples[1].instance.values  # type: ignore[union-attr]
    assert values[:3].tolist() == [[6.0, 0.0], [16.0, 1.0], [26.0, 2.0]]
    only = read(tmp_path, "a.jsonl", lines(rows), DatasetKind.SERIES, target="sold", series="shop", time="date")
    assert (only.info.channels, only[0].instance.values.shape) == (1, (20, 1))  # type: ignore[union-attr]


def test_series_as_one_row_each_is_read(tmp_path: Path) -> None:
    rows = [{"name": c, "values": [float(i) for i in range(n)]} for c, n in (("a", 20), ("b", 30), ("c", 3))]
    rows.append({"name": "d", "values": [1.0, "x"]})
    rows.append({"name": "e", "values": [math.nan] * 20})
    examples = read(tmp_path, "a.jsonl", lines(rows))
    assert [examples[i].instance.values.shape for i in range(2)] == [(20, 1), (30, 1)]  # type: ignore[union-attr]
    assert [(s.row, s.reason) for s in examples.info.report.skipped] == [
        (3, "has 3 steps; at least 16 are needed"),
        (4, "expected lists of numbers"),
        (5, "holds a number that is NaN or infinite"),
    ]


def test_unordered_series_is_sorted_and_gaps_are_warned_of(tmp_path: Path) -> None:
    head, *rows = months().splitlines()
    shuffled = "\n".join([head, *rows[::-1]])
    examples = read(tmp_path, "a.csv", shuffled.encode())
    assert examples[0].instance.values[1, 0] == 1.0  # type: ignore[union-attr]
    assert "the series was not in order of time and was sorted" in examples.info.report.warnings
    gap = "\n".join([head, *rows[:20], *rows[23:]])
    (warning,) = read(tmp_path, "a.csv", gap.encode()).info.report.warnings
    assert warning.startswith("the series has 1 gap in")


def test_series_without_a_constant_step_or_with_a_repeated_time_is_refused(tmp_path: Path) -> None:
    head, *rows = months().splitlines()
    uneven = "\n".join([head, *(row for i, row in enumerate(rows) if i % 5 not in (1, 2))])
    error = refusal(tmp_path, "a.csv", uneven)
    assert error.field == "header.columns.time"
    assert "no constant step" in error.problem
    assert "same time" in refusal(tmp_path, "a.csv", "\n".join([head, *rows, "1949-04,10"])).problem


def test_bad_numbers_and_times_are_named_by_row(tmp_path: Path) -> None:
    head, *rows = months(60).splitlines()
    rows[30], rows[59] = "1951-07,NaN", "soon,4"
    report = read(tmp_path, "a.csv", "\n".join([head, *rows]).encode(), DatasetKind.SERIES).info.report
    assert [(s.row, s.reason) for s in report.skipped] == [
        (31, "'passengers' is 'NaN'; expected a number"),
        (60, "'soon' is no time; write it as 2024-01-31, 2024-01-31 12:00 or a number"),
    ]
