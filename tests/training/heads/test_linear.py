"""The linear solvers equal scikit-learn, with more examples than features and with fewer."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.linear_model import Ridge as SklearnRidge

from service.training.heads.linear import (
    LogisticSolver,
    PrincipalAxes,
    RidgeSolver,
    StandardScaler,
)


def data(examples: int, width: int, classes: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(examples + width)
    y = torch.arange(examples) % classes
    x = torch.randn(examples, width, generator=generator, dtype=torch.float64) * torch.linspace(0.1, 3, width)
    x[:, :classes] += 2 * torch.nn.functional.one_hot(y, classes)
    return StandardScaler.of(x)(x), y


@pytest.mark.parametrize(("examples", "width"), [(120, 10), (30, 80)])
@pytest.mark.parametrize("strength", [1.0, 0.01])
def test_logistic_solution_equals_scikit_learn(examples: int, width: int, strength: float) -> None:
    x, y = data(examples, width)
    theirs = LogisticRegression(C=1 / (strength * examples), tol=1e-10, max_iter=5000).fit(x.numpy(), y.numpy())
    ours = LogisticSolver(PrincipalAxes(x), y, 3).fit(strength, tolerance=1e-9)
    np.testing.assert_allclose(ours.weight.numpy(), theirs.coef_, atol=1e-4)
    # A constant added to all biases changes no probability; whether they sum to zero depends on the start.
    bias = ours.bias.numpy()
    np.testing.assert_allclose(bias - bias.mean(), theirs.intercept_ - theirs.intercept_.mean(), atol=1e-3)


@pytest.mark.parametrize(("examples", "width"), [(120, 10), (30, 80)])
def test_ridge_solution_equals_scikit_learn(examples: int, width: int) -> None:
    x, y = data(examples, width)
    target = (x[:, 0] * 2 + y).numpy()
    theirs = SklearnRidge(alpha=0.1 * examples, solver="svd").fit(x.numpy(), target)
    ours = RidgeSolver(PrincipalAxes(x), torch.from_numpy(target)[:, None]).fit(0.1)
    np.testing.assert_allclose(ours.weight.numpy()[0], theirs.coef_, atol=1e-8)
    assert float(ours.bias[0]) == pytest.approx(float(theirs.intercept_), abs=1e-8)


def test_solution_at_end_of_path_equals_fresh_solution() -> None:
    x, y = data(120, 10)
    path = LogisticSolver(PrincipalAxes(x), y, 3)
    for strength in (10.0, 1.0, 0.1):
        last = path.fit(strength, tolerance=1e-9)
    fresh = LogisticSolver(PrincipalAxes(x), y, 3).fit(0.1, tolerance=1e-9)
    np.testing.assert_allclose(last.weight.numpy(), fresh.weight.numpy(), atol=1e-4)


def test_constant_feature_keeps_solution_finite() -> None:
    x, y = data(60, 5)
    x = torch.cat([x, torch.full((60, 1), 7.0, dtype=torch.float64)], dim=1)
    scaled = StandardScaler.of(x)(x)
    assert torch.isfinite(scaled).all()
    assert torch.isfinite(LogisticSolver(PrincipalAxes(scaled), y, 3).fit(0.1).weight).all()


def test_nearly_constant_feature_is_not_amplified() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(60, 5, generator=generator) * torch.tensor(
        [0.05, 0.04, 0.06, 1e-8, 0.0]
    )  # two dead units, as in MiniLM
    scale = StandardScaler.of(x)
    torch.testing.assert_close(scale.scale[:3], x[:, :3].std(dim=0, correction=0))
    assert scale(x + 0.05).abs().max() < 10


def test_all_constant_features_scale_to_zero() -> None:
    x = torch.full((8, 3), 2.0)
    assert (StandardScaler.of(x)(x) == 0).all()
