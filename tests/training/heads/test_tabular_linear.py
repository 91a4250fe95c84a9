"""The linear part of a table's model."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from model_zoo.architectures.tabular_mlp import LinearTerm
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
from service.training.stop_signal import StopSignal

HPARAMS = Hyperparameters()


def test_linear_part_equals_scikit_learn_logistic_regression() -> None:
    rng = np.random.default_rng(0)
    numbers, positions = rng.normal(size=(200, 2)), rng.integers(0, 4, (200, 1))
    y = (numbers[:, 0] + (positions[:, 0] == 2) + rng.normal(size=200) > 0.5).astype(np.int64)
    line = LinearTerm(2, [4], 2)
    inputs = {"numbers": torch.tensor(numbers, dtype=torch.float32), "categories": torch.from_numpy(positions)}
    x, wanted = linear_inputs(line, inputs, torch.from_numpy(y))
    assert x.shape == (200, 5)
    set_linear(line, fit_linear(x, wanted, 2, HPARAMS, Penalty(strength=0.02, sharpness=1.0)))
    with torch.no_grad():
        probability = line(inputs["numbers"], inputs["categories"]).softmax(dim=1)[:, 1].numpy()
    # scikit-learn: one weight vector for two classes, and C times the summed losses. Ours: two vectors, and the mean loss.
    theirs = LogisticRegression(C=1 / (0.02 / 2 * 200), tol=1e-8).fit(x.numpy(), y)
    np.testing.assert_allclose(probability, theirs.predict_proba(x.numpy())[:, 1], atol=1e-3)


def test_penalty_is_strong_for_noise_and_weak_for_clear_data() -> None:
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.normal(size=(60, 20)))
    noise = torch.from_numpy(rng.normal(size=60)).float()
    clear = x[:, 0].float() + 0.01 * noise
    strong, weak = (choose_penalty(x, y, None, HPARAMS, 0, StopSignal()).strength for y in (noise, clear))
    assert weak < 0.01 < 1 <= strong


@pytest.mark.parametrize("rows", [1, 3, 23])
def test_folds_have_balanced_classes(rows: int) -> None:
    y = torch.tensor([0, 1, 2] * rows)
    fold = assign_folds(y, 0)
    for label in range(3):
        counts = torch.bincount(fold[y == label], minlength=FOLDS)
        assert counts.max() - counts.min() <= 1
