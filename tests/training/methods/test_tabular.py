"""Tables: a network beside a line. Few rows give at least what a regression would, many rows what a network sees beyond it."""

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from sklearn.datasets import load_diabetes, make_friedman1, make_regression
from sklearn.linear_model import LogisticRegression, RidgeCV

from model_zoo.architectures.tabular_mlp import Line
from service.datasets.dataset import Columns, DatasetKind
from service.training.data.seeds import seed_all
from service.training.heads.tabular_linear import (
    FOLDS,
    Penalty,
    assign_folds,
    choose_penalty,
    fit_linear,
    linear_inputs,
    set_linear,
)
from service.training.hyperparameters import Hyperparameters
from service.training.job_spec import JobSpec, Method, WorkOrder
from service.training.methods.tabular import train_table
from service.training.protocol import CheckpointWritten, WorkerMessage
from service.training.stop_signal import StopRequested, StopSignal
from tests.support.training_data import add_dataset

HPARAMS = Hyperparameters()


def table(home: Path, x: np.ndarray, y: Sequence[object], test: np.ndarray) -> str:
    """A data set whose test rows are given."""
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
    stop, said = stop or StopSignal(), []

    def send(one: WorkerMessage) -> None:
        said.append(one)
        if sum(isinstance(s, CheckpointWritten) for s in said) == pause_at:
            stop.pause.set()

    train_table(WorkOrder(job_id="j", spec=spec, home=home), folder, send, stop)
    return said


def r2(folder: Path) -> float:
    return float(json.loads((folder / "result" / "report.json").read_text())["metrics"]["r2"]["value"])


@pytest.mark.parametrize("seed", [1, 2])
def test_of_few_rows_it_makes_as_much_as_a_ridge_regression(tmp_path: Path, seed: int) -> None:
    """80 of them, 20 columns, much noise: a network beside the line learns some of them by heart, and loses 0.05 to 0.07."""
    x, y = make_regression(120, 20, n_informative=5, noise=100.0, random_state=seed)
    test = np.arange(0, len(y), 3)
    rest = np.setdiff1d(np.arange(len(y)), test)
    ridge = RidgeCV(np.logspace(-3, 4, 30)).fit(x[rest], y[rest])
    tune(tmp_path, table(tmp_path, x, y.tolist(), test), tmp_path / "job")
    assert r2(tmp_path / "job") >= ridge.score(x[test], y[test]) - 0.02


def test_real_patients_are_foreseen_as_well_as_by_a_ridge_regression(tmp_path: Path) -> None:
    """442 of them, a fifth held out."""
    x, y = load_diabetes(return_X_y=True)
    test = np.arange(0, len(y), 5)
    rest = np.setdiff1d(np.arange(len(y)), test)
    scale = x[rest].std(axis=0)
    ridge = RidgeCV(np.logspace(-3, 4, 30)).fit(x[rest] / scale, y[rest])
    tune(tmp_path, table(tmp_path, x, y.tolist(), test), tmp_path / "job")
    assert r2(tmp_path / "job") >= ridge.score(x[test] / scale, y[test]) - 0.02


def test_what_no_line_can_say_the_network_adds(tmp_path: Path) -> None:
    """And a job that was paused ends with the same weights, although the line is in no checkpoint."""
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


def test_the_line_is_that_of_a_logistic_regression_on_numbers_and_categories() -> None:
    rng = np.random.default_rng(0)
    numbers, positions = rng.normal(size=(200, 2)), rng.integers(0, 4, (200, 1))
    y = (numbers[:, 0] + (positions[:, 0] == 2) + rng.normal(size=200) > 0.5).astype(np.int64)
    line = Line(2, [4], 2)
    inputs = {"numbers": torch.tensor(numbers, dtype=torch.float32), "categories": torch.from_numpy(positions)}
    x, wanted = linear_inputs(line, inputs, torch.from_numpy(y))
    assert x.shape == (200, 5)
    set_linear(line, fit_linear(x, wanted, 2, HPARAMS, Penalty(strength=0.02, sharpness=1.0)))
    with torch.no_grad():
        found = line(inputs["numbers"], inputs["categories"]).softmax(dim=1)[:, 1].numpy()
    # Their penalty is on one weight vector of two classes, C times the sum of losses; ours on both, beside the mean.
    theirs = LogisticRegression(C=1 / (0.02 / 2 * 200), tol=1e-8).fit(x.numpy(), y)
    np.testing.assert_allclose(found, theirs.predict_proba(x.numpy())[:, 1], atol=1e-3)


def test_the_penalty_is_strong_where_there_is_nothing_to_see_and_weak_where_all_is_clear() -> None:
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.normal(size=(60, 20)))
    noise = torch.from_numpy(rng.normal(size=60)).float()
    clear = x[:, 0].float() + 0.01 * noise
    strong, weak = (choose_penalty(x, y, None, HPARAMS, 0, StopSignal()).strength for y in (noise, clear))
    assert weak < 0.01 < 1 <= strong


@pytest.mark.parametrize("rows", [1, 3, 23])
def test_all_folds_have_all_classes_alike(rows: int) -> None:
    y = torch.tensor([0, 1, 2] * rows)
    fold = assign_folds(y, 0)
    for label in range(3):
        counts = torch.bincount(fold[y == label], minlength=FOLDS)
        assert counts.max() - counts.min() <= 1
