"""Linear models on fixed features, regularised by an L2 penalty: multinomial logistic regression and ridge regression.

Both are solved in the principal axes of the features. The penalty does not see a rotation, so the solution is the same; but
there are never more axes than examples, and in them the curvature of the loss is nearly diagonal, so that dividing each axis
by its root lets L-BFGS (Liu and Nocedal 1989) converge in tens of steps instead of hundreds.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

STRENGTHS = tuple(10.0 ** (exponent / 2) for exponent in range(4, -11, -1))
"""Penalties that are tried, the strongest first: 100 … 1e-5."""
MOST_STEPS = 200
"""Of L-BFGS for one strength; the next one starts where it stopped."""
EXACT, ROUGH = 1e-5, 1e-4
"""Slopes at which a solution counts as found: for good, and to choose a penalty by."""
CURVATURE = 0.25
"""Largest second derivative of the logistic loss."""
STILL = 1e-2
"""A feature with less than this share of the usual spread hardly changes."""
FLAT = 1e-7
"""An axis with less than this share of the longest one's spread is rounding noise."""


@dataclass(frozen=True, slots=True)
class Scale:
    """Standardises features: subtract `mean`, divide by `scale`, `(D)` each."""

    mean: Tensor
    scale: Tensor

    @classmethod
    def of(cls, features: Tensor) -> Scale:
        """Of `(n, D)`. A feature that hardly changes is divided by what the others change by, as if it were one of them.

        Divided by a spread of its own of 1e-8, as dead units of pretrained networks have it, it would say nothing here and
        outshout everything as soon as the backbone learns, or computes in another precision.
        """
        spread = features.std(dim=0, correction=0)
        usual = spread.square().mean().sqrt()
        if not usual > 1e-6 * features.abs().amax().clamp(min=1e-6):
            usual = torch.ones_like(usual)  # nothing changes at all
        return cls(features.mean(dim=0), torch.where(spread <= STILL * usual, usual, spread))

    def __call__(self, features: Tensor) -> Tensor:
        """`(n, D)` → `(n, D)`."""
        return (features - self.mean) / self.scale


@dataclass(frozen=True, slots=True)
class Solution:
    """A linear layer: `x @ weight.T + bias`."""

    weight: Tensor
    """`(outputs, D)`"""
    bias: Tensor
    """`(outputs)`"""

    def __call__(self, x: Tensor) -> Tensor:
        """`(n, D)` → `(n, outputs)`."""
        return x @ self.weight.T + self.bias


class Axes:
    """Standardised features in their principal axes."""

    def __init__(self, x: Tensor) -> None:
        """Of `(n, D)`; n numbers of D, or D axes, whichever are fewer."""
        x = x.double()
        examples, width = x.shape
        # By the smaller of the two Gram matrices: a fraction of the cost of a singular value decomposition.
        squares, vectors = torch.linalg.eigh(x.T @ x if examples >= width else x @ x.T)
        kept = squares > FLAT**2 * squares[-1]
        spread = squares[kept].sqrt()
        self.rotation = vectors[:, kept] if examples >= width else x.T @ vectors[:, kept] / spread  # (D, r)
        self.z = x @ self.rotation  # (n, r)
        self.variance = spread.square() / examples  # (r)


class Logistic:
    """Multinomial logistic regression along a path of penalties, each started from the last."""

    def __init__(self, axes: Axes, targets: Tensor, classes: int, example_weights: Tensor | None = None) -> None:
        self._axes, self._targets = axes, targets
        weights = torch.ones(len(targets)) if example_weights is None else example_weights
        self._weights = (weights / weights.sum()).double()
        self._weight = torch.zeros(axes.z.shape[1], classes, dtype=torch.float64)
        self._bias = torch.zeros(classes, dtype=torch.float64)

    def fit(self, strength: float, tolerance: float = EXACT) -> Solution:
        """Minimises mean cross entropy + strength / 2 · ‖weight‖², until no slope is greater than `tolerance`."""
        z, targets = self._axes.z, self._targets
        roots = (CURVATURE * self._axes.variance + strength).sqrt()[:, None]
        scaled = (self._weight * roots).requires_grad_()
        bias = self._bias.clone().requires_grad_()
        inputs = z / roots.T
        optimizer = torch.optim.LBFGS(
            [scaled, bias],
            max_iter=MOST_STEPS,
            tolerance_grad=tolerance,
            tolerance_change=1e-9,
            line_search_fn="strong_wolfe",
        )

        def closure() -> Tensor:
            optimizer.zero_grad()
            logits = inputs @ scaled + bias
            losses = functional.cross_entropy(logits, targets, reduction="none")
            loss: Tensor = losses @ self._weights + strength / 2 * (scaled / roots).square().sum()
            loss.backward()  # type: ignore[no-untyped-call]
            return loss

        optimizer.step(closure)  # type: ignore[no-untyped-call]
        self._weight, self._bias = (scaled.detach() / roots), bias.detach()
        return Solution((self._axes.rotation @ self._weight).T, self._bias)


class Ridge:
    """Ridge regression (Hoerl and Kennard 1970), in closed form."""

    def __init__(self, axes: Axes, targets: Tensor) -> None:
        """Targets `(n, outputs)`."""
        self._axes = axes
        self._mean = targets.double().mean(dim=0)
        self._against = axes.z.T @ (targets.double() - self._mean) / len(targets)  # (r, outputs)

    def fit(self, strength: float, tolerance: float = EXACT) -> Solution:
        """Minimises mean squared error + strength · ‖weight‖²."""
        # In closed form: exact whatever the tolerance.
        weight = self._against / (self._axes.variance + strength)[:, None]
        return Solution((self._axes.rotation @ weight).T, self._mean)
