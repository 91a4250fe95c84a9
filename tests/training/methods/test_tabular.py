"""Tables: the result is as good as a linear regression on few rows, and better if the data are not linear."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from sklearn.datasets import load_diabetes, make_friedman1, make_regression
from sklearn.linear_model import RidgeCV

from model_zoo import (
    strict_json,
)
from service.datasets.dataset import Columns, DatasetKind
from service.datasets.readers.columns.cells import LARGEST_NUMBER
from service.training.data.seeds import seed_all
from service.training.failures import CannotTrain
from service.training.job_spec import JobSpec, Method, WorkOrder
from service.training.methods.tabular import train_table
from service.training.protocol import CheckpointWritten, Finished, WorkerMessage
from service.training.stop_signal import StopRequested, StopSignal
from tests.support.training.data_sets import add_dataset


def table(home: Path, x: np.ndarray, y: Sequence[object], test: np.ndarray) -> str:
    """Adds a data set with these test rows."""
    written = io.StringIO()
    rows = csv.writer(written)
    rows.writerow([*(f"f{i}" for i in range(x.shape[1])), "y", "split"])
    for i, cells in enumerate(x.tolist()):
        rows.writerow([*cells, y[i], "test" if i in test else "train"])
    columns = Columns(target="y", split="split")
    return add_dataset(home, written.getvalue().encode(), "table.csv", DatasetKind.TABLE, columns)


def tune(
    home: Path, dataset: str, folder: Path, stop: StopSignal | None = None, pause_at: int = -1, **hparams: object
) -> list[WorkerMessage]:
    spec = JobSpec(
        base="tabular_mlp",
        dataset_id=dataset,
        model="mine",
        task="tabular-regression",
        method=Method.FULL,
        seed=3,
        hyperparameters=hparams,
    )
    seed_all(3)
    stop, messages = stop or StopSignal(), []

    def send(message: WorkerMessage) -> None:
        messages.append(message)
        if sum(isinstance(m, CheckpointWritten) for m in messages) == pause_at:
            stop.pause.set()

    train_table(WorkOrder(job_id="j", spec=spec, home=home), folder, send, stop)
    return messages


def r2(folder: Path) -> float:
    return float(json.loads((folder / "result" / "report.json").read_text())["metrics"]["r2"]["value"])


@pytest.mark.parametrize("seed", [1, 2])
def test_few_rows_score_as_well_as_ridge_regression(tmp_path: Path, seed: int) -> None:
    """80 rows, 20 columns, much noise: a network beside the linear part would memorise some rows, and lose 0.05 to 0.07 of r2."""
    x, y = make_regression(120, 20, n_informative=5, noise=100.0, random_state=seed)
    test = np.arange(0, len(y), 3)
    rest = np.setdiff1d(np.arange(len(y)), test)
    ridge = RidgeCV(np.logspace(-3, 4, 30)).fit(x[rest], y[rest])
    tune(tmp_path, table(tmp_path, x, y.tolist(), test), tmp_path / "job")
    assert r2(tmp_path / "job") >= ridge.score(x[test], y[test]) - 0.02


def test_diabetes_data_score_as_well_as_ridge_regression(tmp_path: Path) -> None:
    """442 patients, a fifth of them held out."""
    x, y = load_diabetes(return_X_y=True)
    test = np.arange(0, len(y), 5)
    rest = np.setdiff1d(np.arange(len(y)), test)
    scale = x[rest].std(axis=0)
    ridge = RidgeCV(np.logspace(-3, 4, 30)).fit(x[rest] / scale, y[rest])
    tune(tmp_path, table(tmp_path, x, y.tolist(), test), tmp_path / "job")
    assert r2(tmp_path / "job") >= ridge.score(x[test] / scale, y[test]) - 0.02


def test_network_improves_on_linear_part_and_resumes_exactly(tmp_path: Path) -> None:
    """A paused job gives the same weights, although the linear part is in no checkpoint."""
    x, y = make_friedman1(600, 10, noise=1.0, random_state=0)
    test = np.arange(0, len(y), 5)
    rest = np.setdiff1d(np.arange(len(y)), test)
    dataset = table(tmp_path, x, y.tolist(), test)
    hparams = {"epochs": 30, "checkpoint_steps": 50}
    tune(tmp_path, dataset, tmp_path / "whole", **hparams)
    assert r2(tmp_path / "whole") >= RidgeCV().fit(x[rest], y[rest]).score(x[test], y[test]) + 0.1
    with pytest.raises(StopRequested):
        tune(tmp_path, dataset, tmp_path / "paused", pause_at=4, **hparams)
    tune(tmp_path, dataset, tmp_path / "paused", **hparams)
    one, other = (load_file(tmp_path / f / "result" / "model.safetensors") for f in ("whole", "paused"))
    assert one.keys() == other.keys()
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())
    found, again = (
        json.loads((tmp_path / f / "result" / "report.json").read_text())["column_importance"]
        for f in ("whole", "paused")
    )
    assert found == again
    lost = {column["column"]: column["importance"] for column in found["columns"]}
    assert set(list(lost)[:5]) == {"f0", "f1", "f2", "f3", "f4"}  # the target depends on these alone (Friedman 1991)
    assert max(lost[f"f{i}"] for i in range(5, 10)) < 0.1 * lost["f3"]


SCALES = [LARGEST_NUMBER, 1e100, 1e38, 1e30, 1e19, 1e-30, 1e-150, 1e-300, 5e-324]


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("what", ["inputs", "targets"])
def test_table_of_extreme_numbers_gives_finite_metrics_or_a_reason(tmp_path: Path, scale: float, what: str) -> None:
    drawn = np.random.default_rng(0)
    x, noise = drawn.uniform(-1, 1, (80, 3)), drawn.normal(0, 0.05, 80)
    y = np.clip(x @ [0.3, -0.3, 0.2] + noise, -1, 1)
    x, y = (x * scale, y) if what == "inputs" else (x, y * scale)
    dataset = table(tmp_path, x, y.tolist(), np.arange(20))
    if what == "targets" and scale <= 1e-300:
        with pytest.raises(CannotTrain, match="there is nothing to learn"):
            tune(tmp_path, dataset, tmp_path / "job", epochs=3)
        return
    messages = tune(tmp_path, dataset, tmp_path / "job", epochs=3)
    assert isinstance(messages[-1], Finished)
    assert all(map(math.isfinite, messages[-1].metrics.values()))
    for name in ("card.json", "report.json", "lineage.json", "curves.json"):
        strict_json.read((tmp_path / "job" / "result" / name).read_bytes())
    render_page = (tmp_path / "job" / "result" / "report.html").read_text()
    assert "nan" not in render_page.lower().replace("finance", "")
    assert "inf</" not in render_page
