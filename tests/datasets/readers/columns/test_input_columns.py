"""Numbers too large to compute with are skipped or count as empty, and the report says so, in every format and column."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest

from model_zoo import strict_json
from service.datasets.dataset import DatasetKind
from service.datasets.readers.columns.cells import LARGEST_NUMBER, NUMBER_RANGE
from service.errors import InvalidInput
from service.types import RowInstance, SeriesInstance
from tests.support.datasets.dataset_files import (
    lines,
    picture,
    read,
    sentences,
    zipped,
)
from tests.support.paths import DATASET_FILES

DATA = DATASET_FILES
TOO_LARGE = [1.7976931348623157e308, -1e300, 1e154, 1e155, 1.1e150]
FINE = [1e19, -6.8e20, 6.02e23, 1e37, -1e150]


def written(frame: pandas.DataFrame, form: str) -> bytes:
    if form == "csv":
        return frame.to_csv(index=False).encode()
    if form == "jsonl":
        return lines(frame.to_dict("records"))
    buffer = io.BytesIO()
    frame.to_parquet(buffer)
    return buffer.getvalue()


def table(**columns: Any) -> pandas.DataFrame:
    return pandas.DataFrame({"a": np.arange(40) / 7, "target": np.arange(40) * 1.5 + 0.25, **columns})


def finite(report: Any) -> bool:
    strict_json.text(report)
    return all(map(math.isfinite, report.target_statistics.values()))


def test_target_that_is_a_placeholder_is_skipped_with_its_row(tmp_path: Path) -> None:
    """One of ten rows is unusable: nine are too few, and the error names the row that was left out and why."""
    data = (DATA / "poison_target_dblmax.csv").read_bytes()
    with pytest.raises(InvalidInput) as caught:
        read(tmp_path, "poison_target_dblmax.csv", data)
    assert (
        "row 10: the target is '1.7976931348623157E308'; expected a number from -1e150 to 1e150" in caught.value.problem
    )
    more = data + b"".join(b"%d,%d\n" % (i, i) for i in range(11, 40))
    report = read(tmp_path, "poison_target_dblmax.csv", more).info.report
    assert [(s.row, NUMBER_RANGE in s.reason) for s in report.skipped] == [(10, True)]
    assert report.target_statistics["max"] == 39
    assert finite(report)


def test_huge_input_number_counts_as_empty_with_a_warning(tmp_path: Path) -> None:
    examples = read(tmp_path, "huge_number.csv", (DATA / "huge_number.csv").read_bytes())
    assert (len(examples), examples.info.report.skipped_count) == (120, 0)
    assert examples.info.report.warnings[0] == (
        "1 cell of column 'a' counts as empty, such as '1e+300'; expected a number from -1e150 to 1e150"
    )
    instance = examples[7].instance
    assert isinstance(instance, RowInstance)
    assert instance.cells["a"] is None


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("value", TOO_LARGE)
def test_target_beyond_the_range_is_skipped_in_every_format(tmp_path: Path, value: float, form: str) -> None:
    frame = table()
    frame.loc[4, "target"] = value
    report = read(tmp_path, f"a.{form}", written(frame, form), target="target").info.report
    assert [s.row for s in report.skipped] == [5]
    assert report.skipped[0].reason.endswith(f"expected {NUMBER_RANGE}")
    assert finite(report)


@pytest.mark.parametrize("value", FINE)
def test_large_measurements_are_kept(tmp_path: Path, value: float) -> None:
    frame = table()
    frame.loc[4, ["a", "target"]] = value
    examples = read(tmp_path, "a.csv", written(frame, "csv"), target="target")
    assert examples.info.report.skipped_count == 0
    assert examples.info.report.warnings == ()
    assert examples[4].target == value
    assert finite(examples.info.report)


def test_targets_all_beyond_the_range_are_refused_with_the_first(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=rf"40 left out, the first is 'a\.csv', row 1: .*expected {NUMBER_RANGE}"):
        read(tmp_path, "a.csv", written(table(target=np.linspace(1e300, 1e301, 40)), "csv"), target="target")


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("value", [*TOO_LARGE, math.inf, -math.inf])
def test_input_beyond_the_range_is_empty_in_every_format(tmp_path: Path, value: float, form: str) -> None:
    frame = table()
    frame.loc[[4, 9], "a"] = value
    examples = read(tmp_path, f"a.{form}", written(frame, form), target="target")
    assert len(examples) == 40
    assert examples.info.report.warnings[0].startswith("2 cells of column 'a' count as empty, such as ")
    instance = examples[9].instance
    assert isinstance(instance, RowInstance)
    assert instance.cells == {"a": None}


@pytest.mark.parametrize("value", TOO_LARGE)
def test_text_score_beyond_the_range_is_skipped(tmp_path: Path, value: float) -> None:
    rows = [{"text": row["text"], "score": i + 0.5} for i, row in enumerate(sentences(30))]
    rows[6]["score"] = value
    report = read(tmp_path, "a.jsonl", lines(rows), text="text", target="score").info.report
    assert [s.row for s in report.skipped] == [7]
    assert report.target_statistics["max"] == 29.5
    assert finite(report)


@pytest.mark.parametrize("value", TOO_LARGE)
def test_image_target_or_input_beyond_the_range_is_skipped_or_empty(tmp_path: Path, value: float) -> None:
    frame = pandas.DataFrame(
        {"file_name": [f"{i}.jpg" for i in range(12)], "width": np.arange(12) + 0.5, "price": np.arange(12) * 2.5}
    )
    frame.loc[3, "price"] = value
    frame.loc[5, "width"] = value
    pictures: dict[str, bytes | str] = {f"{i}.jpg": picture(i) for i in range(12)}
    data = zipped({**pictures, "a.csv": frame.to_csv(index=False)})
    examples = read(tmp_path, "a.zip", data, target="price", image="file_name")
    report = examples.info.report
    assert examples.info.kind is DatasetKind.IMAGE_TABLE
    assert [s.row for s in report.skipped] == [4]
    assert any(w.startswith("1 cell of column 'width' counts as empty") for w in report.warnings)
    assert finite(report)


@pytest.mark.parametrize("value", TOO_LARGE)
def test_series_step_beyond_the_range_is_skipped_and_named(tmp_path: Path, value: float) -> None:
    days = pandas.date_range("2024-01-01", periods=60).strftime("%Y-%m-%d")
    frame = pandas.DataFrame({"date": days, "value": np.arange(60) + 0.5})
    frame.loc[59, "value"] = value
    examples = read(tmp_path, "a.csv", written(frame, "csv"), DatasetKind.SERIES, time="date")
    assert [(s.row, s.reason.endswith(NUMBER_RANGE)) for s in examples.info.report.skipped] == [(60, True)]
    rows = [{"value": [float(i) for i in range(40)]}, {"value": [*map(float, range(39)), value]}]
    whole = read(tmp_path, "a.jsonl", lines(rows), DatasetKind.SERIES)
    assert [(s.row, s.reason.endswith(NUMBER_RANGE)) for s in whole.info.report.skipped] == [(2, True)]


def test_large_series_is_kept(tmp_path: Path) -> None:
    days = pandas.date_range("2024-01-01", periods=60).strftime("%Y-%m-%d")
    frame = pandas.DataFrame({"date": days, "value": np.arange(1, 61) * 1e19})
    examples = read(tmp_path, "a.csv", written(frame, "csv"), DatasetKind.SERIES, time="date")
    instance = examples[0].instance
    assert isinstance(instance, SeriesInstance)
    assert instance.values.max() == 60e19
    assert LARGEST_NUMBER > 60e19
