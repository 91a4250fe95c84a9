"""Times that are numbers are found by their equal steps, and the report says which column was taken."""

from pathlib import Path

import pytest

from service.datasets.dataset import Columns, DatasetInfo, DatasetKind
from service.datasets.dataset_limits import DatasetLimits
from service.datasets.readers.tables.table import Table
from service.datasets.readers.time_series.series_columns import open_series
from tests.support.datasets.dataset_files import read


def of(head: str, times: list[str], tmp_path: Path, **more: str) -> DatasetInfo:
    rows = "".join(f"{time},{(i * 37) % 11}\n" for i, time in enumerate(times))
    return read(tmp_path, "a.csv", f"{head}\n{rows}".encode(), kind=DatasetKind.SERIES, **more).info


def inferred(info: DatasetInfo, what: str) -> str:
    return next(line for line in info.report.inferred if line.startswith(f"{what}: "))


@pytest.mark.parametrize(
    ("name", "times"),
    [
        ("ts", [str(1704067200000 + 3_600_000 * i) for i in range(120)]),
        ("unix", [str(1700000000 + 60 * i) for i in range(120)]),
        ("Jahr", [str(1900 + i) for i in range(100)]),
        ("Year", [str(1700 + i) for i in range(200)]),
        ("t", [f"{i * 0.02:.2f}" for i in range(200)]),
        ("frame", [str(i) for i in range(120)]),
        ("ts", [str(1700000000 - 60 * i) for i in range(120)]),
        ("ts", [str(1700000000 + 60 * i) for i in range(122) if i not in (5, 60)]),
    ],
)
def test_evenly_rising_numbers_are_the_time_and_no_channel(tmp_path: Path, name: str, times: list[str]) -> None:
    info = of(f"{name},value", times, tmp_path)
    assert (info.columns.time, info.channels) == (name, 1)
    assert inferred(info, "time").startswith(f"time: '{name}', because its numbers rise evenly")
    assert inferred(info, "channels").startswith("channels: 'value', because")


def test_time_with_a_common_name_need_not_come_first(tmp_path: Path) -> None:
    rows = "".join(f"{(i * 37) % 11},{1900 + i}\n" for i in range(100))
    info = read(tmp_path, "a.csv", f"value,Jahr\n{rows}".encode(), kind=DatasetKind.SERIES).info
    assert (info.columns.time, info.channels) == ("Jahr", 1)


def test_each_series_has_times_of_its_own(tmp_path: Path) -> None:
    rows = "".join(f"{1900 + i},{shop},{(i * 37) % 11}\n" for shop in "ab" for i in range(40))
    info = read(tmp_path, "a.csv", f"jahr,shop,value\n{rows}".encode(), kind=DatasetKind.SERIES).info
    assert (info.columns.time, info.columns.series, info.channels) == ("jahr", "shop", 1)


def test_channels_without_a_time_are_reported(tmp_path: Path) -> None:
    info = of("t,value", [str((i * 7) % 13) for i in range(60)], tmp_path)
    assert (info.columns.time, info.channels) == ("", 2)
    assert inferred(info, "time") == (
        "time: none, rows are used in their order, because no column holds times, and 't' rises by no constant step;"
        " --time names one"
    )
    assert inferred(info, "channels").startswith("channels: 't', 'value', because")


def test_only_column_of_numbers_is_forecast_although_it_rises(tmp_path: Path) -> None:
    data = "value\n" + "".join(f"{i}\n" for i in range(60))
    info = read(tmp_path, "a.csv", data.encode(), kind=DatasetKind.SERIES).info
    assert (info.columns.time, info.channels) == ("", 1)


def test_named_target_is_no_time(tmp_path: Path) -> None:
    info = of("ts,value", [str(i) for i in range(60)], tmp_path, target="ts")
    assert (info.columns.time, info.channels) == ("", 1)


def test_channel_known_to_the_model_stays_a_channel(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("ts,value\n" + "".join(f"{i},{i % 5}\n" for i in range(30)))
    series = open_series(
        Table(tmp_path / "a.csv", "a.csv", DatasetLimits()), Columns(), ("ts", "value"), DatasetLimits()
    )
    assert series.schema().channels == 2


def test_times_with_a_decimal_comma_are_numbers(tmp_path: Path) -> None:
    rows = "".join(f"{45292 + i / 24:.6f}".replace(".", ",") + f";{(i * 37) % 11}\n" for i in range(120))
    for kind in (DatasetKind.SERIES, None):
        examples = read(tmp_path, "a.csv", f"date;value\n{rows}".encode(), kind=kind)
        assert (examples.info.kind, examples.info.columns.time) == (DatasetKind.SERIES, "date")
        assert (examples.info.channels, examples.info.report.skipped_count) == (1, 0)


@pytest.mark.parametrize("rows", [2, 40])
def test_series_to_forecast_keeps_a_rising_channel(tmp_path: Path, rows: int) -> None:
    (tmp_path / "a.csv").write_text("sold,left\n" + "".join(f"{i},{i % 5}\n" for i in range(rows)))
    series = open_series(Table(tmp_path / "a.csv", "a.csv", DatasetLimits()), Columns(), (), DatasetLimits())
    assert series.schema().channels == 2
