"""Linear models on fixed features with an L2 penalty: logistic regression of one class, or of each class alone, and ridge
regression.

Both are solved in the principal axes of the features. The penalty is invariant under rotation, so the solution is the same. There
are never more axes than examples, and the curvature of the loss is nearly diagonal in them: dividing each axis by the root of its
curvature lets L-BFGS (Liu and Nocedal 1989) converge in tens of steps instead of hundreds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

STRENGTHS = tuple(10.0 ** (exponent / 2) for exponent in range(4, -11, -1))
"""Penalties of a path, the strongest first: 100 … 1e-5."""
MAX_STEPS = 200
"""Of L-BFGS for one strength; the next strength starts from the solution."""
EXACT, ROUGH = 1e-5, 1e-4
"""Largest gradient of a solution: of a final one, and of one that only serves to choose a penalty."""
MAX_CURVATURE = 0.25
"""Largest second derivative of the logistic loss."""
MIN_RELATIVE_SPREAD = 1e-2
"""A feature whose spread is a smaller share of the usual spread is nearly constant."""
MIN_RELATIVE_LENGTH = 1e-7
"""An axis whose spread is a smaller share of the longest axis's spread is rounding noise."""


@dataclass(frozen=True, slots=True)
class StandardScaler:
    """Standardises features: subtracts `mean` and divides by `scale`, `(D)` each."""

    mean: Tensor
    scale: Tensor

    @classmethod
    def of(cls, features: Tensor) -> StandardScaler:
        """The scaler of features `(n, D)`. A nearly constant feature is divided by the usual spread of the others.

        Pretrained networks have dead units with a spread of 1e-8. Divided by its own spread, such a feature would be
        noise here, and would dominate all others as soon as the backbone learns or computes in another precision.
        """
        spread = features.std(dim=0, correction=0)
        usual = spread.square().mean().sqrt()
        if not usual > 1e-6 * features.abs().amax().clamp(min=1e-6):
            usual = torch.ones_like(usual)  # all features are constant
        return cls(features.mean(dim=0), torch.where(spread <= MIN_RELATIVE_SPREAD * usual, usual, spread))

    @classmethod
    def with_columns(cls, features: Tensor, columns: int) -> StandardScaler:
        """The scaler of features `(n, D)` whose last `columns` are a table's: together they count as much as all others.

        A penalty treats a few columns beside a thousand features of an image as noise, and the information of the table is lost.
        """
        scaler = cls.of(features.double())
        others = features.shape[1] - columns
        if columns and others > columns:
            scaler.scale[-columns:] *= (columns / others) ** 0.5
        return scaler

    def __call__(self, features: Tensor) -> Tensor:
        """`(n, D)` → `(n, D)`."""
        return (features - self.mean) / self.scale


@dataclass(frozen=True, slots=True)
class LinearSolution:
    """A linear layer: `x @ weight.T + bias`."""

    weight: Tensor
    """`(outputs, D)`"""
    bias: Tensor
    """`(outputs)`"""

    def __call__(self, x: Tensor) -> Tensor:
        """`(n, D)` → `(n, outputs)`."""
        return x @ self.weight.T + self.bias


class PrincipalAxes:
    """Standardised features in their principal axes."""

    def __init__(self, x: Tensor) -> None:
        """Of `(n, D)`. There are r ≤ min(n, D) axes."""
        x = x.double()
        examples, width = x.shape
        # By the smaller of the two Gram matrices: a fraction of the cost of a singular value decomposition.
        squares, vectors = torch.linalg.eigh(x.T @ x if examples >= width else x @ x.T)
        significant = squares > MIN_RELATIVE_LENGTH**2 * squares[-1]
        spread, vectors = squares[significant].sqrt(), vectors[:, significant]
        self.rotation = vectors if examples >= width else x.T @ vectors / spread  # (D, r)
        self.z = x @ self.rotation  # (n, r)
        self.variance = spread.square() / examples  # (r)


class LinearSolver(Protocol):
    """Solves the same regression for one penalty after another."""

    def fit(self, strength: float, tolerance: float = EXACT) -> LinearSolution:
        """The solution for a penalty of `strength`, until no element of the gradient exceeds `tolerance`."""


class LogisticSolver:
    """Logistic regression along a path of penalties; each fit starts from the solution of the previous one. It is multinomial,
    or one regression for each class where an example may have several."""

    def __init__(
        self, axes: PrincipalAxes, targets: Tensor, classes: int, example_weights: Tensor | None = None
    ) -> None:
        """Class indices `(n,)`, or 1 for each of several classes and 0 for the others, `(n, classes)`; weights of the same
        shape, or None if all examples count alike."""
        several = targets.dim() == 2
        self._axes, self._targets = axes, targets.double() if several else targets
        weights = torch.ones(targets.shape) if example_weights is None else example_weights
        self._weights = (weights / weights.sum(dim=0)).double()
        self._weight = torch.zeros(axes.z.shape[1], classes, dtype=torch.float64)
        self._bias = torch.zeros(classes, dtype=torch.float64)

    def fit(self, strength: float, tolerance: float = EXACT) -> LinearSolution:
        """Minimises mean cross entropy (of several classes: its sum over them) + strength / 2 · ‖weight‖², until no element of
        the gradient exceeds `tolerance`."""
        z, targets = self._axes.z, self._targets
        roots = (MAX_CURVATURE * self._axes.variance + strength).sqrt()[:, None]
        scaled = (self._weight * roots).requires_grad_()
        bias = self._bias.clone().requires_grad_()
        inputs = z / roots.T
        optimizer = torch.optim.LBFGS(
            [scaled, bias],
            max_iter=MAX_STEPS,
            tolerance_grad=tolerance,
            tolerance_change=1e-9,
            line_search_fn="strong_wolfe",
        )

        def closure() -> Tensor:
            optimizer.zero_grad()
            logits = inputs @ scaled + bias
            if targets.dim() == 2:
                losses = functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
            else:
                losses = functional.cross_entropy(logits, targets, reduction="none")
            loss: Tensor = (losses * self._weights).sum() + strength / 2 * (scaled / roots).square().sum()
            loss.backward()  # type: ignore[no-untyped-call]
            return loss

        optimizer.step(closure)  # type: ignore[no-untyped-call]
        self._weight, self._bias = (scaled.detach() / roots), bias.detach()
        return LinearSolution((self._axes.rotation @ self._weight).T, self._bias)


class RidgeSolver:
    """Ridge regression (Hoerl and Kennard 1970), in closed form."""

    def __init__(self, axes: PrincipalAxes, targets: Tensor) -> None:
        """Targets `(n, outputs)`."""
        self._axes = axes
        self._mean = targets.double().mean(dim=0)
        self._against = axes.z.T @ (targets.double() - self._mean) / len(targets)  # (r, outputs)

    def fit(self, strength: float, tolerance: float = EXACT) -> LinearSolution:
        """Minimises mean squared error + strength · ‖weight‖². Exact: the tolerance is not used."""
        weight = self._against / (self._axes.variance + strength)[:, None]
        return LinearSolution((self._axes.rotation @ weight).T, self._mean)


def solver_for(x: Tensor, y: Tensor, classes: int | None, example_weights: Tensor | None = None) -> LinearSolver:
    """The solver for features `(n, D)` and targets `(n,)`, or of several classes `(n, classes)`: ridge regression for numbers
    (`classes` is None), else logistic."""
    axes = PrincipalAxes(x)
    return RidgeSolver(axes, y[:, None]) if classes is None else LogisticSolver(axes, y, classes, example_weights)
