"""Series in CSV files, and the series that validation reads from them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta
from pathlib import Path

import pytest

from service.datasets.dataset import DatasetKind
from service.datasets.examples import StoredExamples
from service.errors import InvalidInput
from service.types import SeriesInstance
from tests.support.datasets.dataset_files import read

DAYS = [date(2023, 1, 1) + timedelta(days=i) for i in range(120)]


BUSINESS = [day for day in (date(2022, 1, 3) + timedelta(days=i) for i in range(200)) if day.weekday() < 5]


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
