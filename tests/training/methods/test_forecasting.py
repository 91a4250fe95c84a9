"""Forecasting on series of any size and level."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pytest

from service.datasets.dataset import Columns, DatasetKind
from service.training.job_spec import Method
from service.training.methods.forecasting import train_series
from service.training.protocol import Finished
from tests.support.training.data_sets import (
    add_dataset,
)
from tests.support.training.method_runs import method_order, publish, report, run_method

pytestmark = [pytest.mark.weights, pytest.mark.component]


def sales(level: float, size: float, stretch: int = 0) -> np.ndarray:
    """A wave with a season of 12 steps; `stretch` steps in its middle are constant."""
    steps = np.arange(240)
    values = 5 * np.sin(2 * np.pi * steps / 12) + np.random.default_rng(0).normal(0, 0.5, len(steps))
    values[60 : 60 + stretch] = values[60]
    return level + size * values


def trained_on(home: Path, folder: Path, values: np.ndarray) -> dict[str, float]:
    """Trains on the values; the errors of the model and of the seasonal naive forecast, in spreads of the data."""
    written = "time,sales\n" + "".join(f"{i},{value!r}\n" for i, value in enumerate(values.tolist()))
    dataset = add_dataset(home, written.encode(), "sales.csv", DatasetKind.SERIES, Columns(time="time"))
    hparams = {"epochs": 6, "hidden": 16, "layers": 1, "horizon": 6, "context": 24}
    given = method_order(home, "series_gru", dataset, "time-series-forecasting", Method.FULL, **hparams)
    assert isinstance(run_method(train_series, given, folder)[-1], Finished)
    found = report(folder)
    size = float((values / np.abs(values).max()).std() * np.abs(values).max())
    return {"error": found["metrics"]["mae"]["value"] / size, "baseline": found["baseline"]["mae"] / size}


@pytest.fixture(scope="module")
def usual(home: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, float]:
    return trained_on(home, tmp_path_factory.mktemp("usual"), sales(0.0, 1.0))


def test_forecast_improves_on_seasonal_naive(home: Path, tmp_path: Path) -> None:
    steps = np.arange(320)
    noise = np.random.default_rng(0).normal(0, 0.5, len(steps))
    values = 50 + 10 * np.sin(2 * np.pi * steps / 12) + noise
    written = io.StringIO()
    table = csv.writer(written)
    table.writerow(["time", "sales"])
    table.writerows(zip(steps.tolist(), values.tolist(), strict=True))
    dataset = add_dataset(home, written.getvalue().encode(), "sales.csv", DatasetKind.SERIES, Columns(time="time"))
    hparams = {"epochs": 25, "hidden": 32, "layers": 1, "horizon": 6, "context": 24}
    given = method_order(home, "series_gru", dataset, "time-series-forecasting", Method.FULL, **hparams)
    assert isinstance(run_method(train_series, given, tmp_path / "1")[-1], Finished)
    found = report(tmp_path / "1")
    primary = found["primary"]
    assert found["metrics"][primary]["value"] < found["baseline"][primary]
    incumbent = publish(home, tmp_path / "1").files.folder
    for horizon, reason in ((6, ""), (4, "it forecasts 6 steps, not 4")):
        short = hparams | {"epochs": 1, "horizon": horizon}
        given = method_order(home, "series_gru", dataset, "time-series-forecasting", Method.FULL, incumbent, **short)
        run_method(train_series, given, tmp_path / str(horizon))
        second = report(tmp_path / str(horizon))
        assert second["not_compared"] == reason
        if not reason:
            theirs = second["rival"]["metrics"][primary]
            assert theirs == pytest.approx(found["metrics"][primary]["value"], rel=1e-5)


@pytest.mark.parametrize(
    ("level", "size"),
    [(0.0, 1e19), (5e20, 1e20), (0.0, 1e-19), (0.0, 1e140), (0.0, 1e-150), (1e9, 0.01), (-1.7e12, 1e3)],
)
def test_series_of_any_size_and_level_has_same_relative_error(
    home: Path, tmp_path: Path, usual: dict[str, float], level: float, size: float
) -> None:
    other = trained_on(home, tmp_path / "other", sales(level, size))
    assert other["baseline"] == pytest.approx(usual["baseline"], rel=1e-3)
    assert other["error"] == pytest.approx(usual["error"], rel=0.02)
    assert other["error"] < other["baseline"]


def test_series_constant_for_longer_than_context_is_learned(home: Path, tmp_path: Path) -> None:
    found = trained_on(home, tmp_path / "job", sales(5e20, 1e20, stretch=40))
    assert found["error"] < found["baseline"]


def test_constant_series_has_no_error_and_no_interval(home: Path, tmp_path: Path) -> None:
    written = "time,sales\n" + "".join(f"{i},7.5\n" for i in range(120))
    dataset = add_dataset(home, written.encode(), "sales.csv", DatasetKind.SERIES, Columns(time="time"))
    given = method_order(home, "series_gru", dataset, "time-series-forecasting", Method.FULL, epochs=1)
    assert isinstance(run_method(train_series, given, tmp_path / "job")[-1], Finished)
    assert report(tmp_path / "job")["metrics"]["mae"]["value"] == 0
    assert publish(home, tmp_path / "job").card.forecast is None
