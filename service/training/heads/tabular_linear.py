"""The linear part of a table's model: ridge or logistic regression, with the penalty that cross-validation chooses. It is fitted
before the network, which learns only what the linear part leaves over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from model_zoo.architectures.tabular_mlp import LinearTerm
from service.tasks.tabular.row_input import CATEGORIES, NUMBERS
from service.training.data.seeds import mix_seeds
from service.training.heads.linear import EXACT, ROUGH, STRENGTHS, LinearSolution, solver_for
from service.training.heads.losses import best_sharpness, example_weights
from service.training.hyperparameters import Hyperparameters
from service.training.stop_signal import StopSignal

FOLDS = 5
MAX_CELLS = 4_000_000
"""Rows × columns. Of larger tables every second, third, … row is used: a sample determines so few weights as well."""


@dataclass(frozen=True, slots=True)
class Penalty:
    """As cross-validation chose it."""

    strength: float
    sharpness: float
    """The factor on the logits: a strong penalty makes them too small. 1 for numbers."""


def linear_inputs(line: LinearTerm, inputs: Mapping[str, Tensor], y: Tensor) -> tuple[Tensor, Tensor]:
    """The inputs of the linear part, (m, D), and their targets, (m,): numbers, then each category one-hot, unknown as all zeros.

    Args:
        line: the network's linear part.
        inputs: the network's: `numbers` (n, …), `categories` (n, …). Of very many rows an even sample is taken, m ≤ n.
        y: class indices, or numbers in spreads, (n,).
    """
    sizes = line.sizes
    width = (0 if line.weight is None else line.weight.shape[1]) + sum(sizes) - len(sizes)
    step = max(1, -(-len(y) * width // MAX_CELLS))
    parts = [inputs[NUMBERS][::step].double()] if NUMBERS in inputs else []
    for i, size in enumerate(sizes):
        parts.append(functional.one_hot(inputs[CATEGORIES][::step, i], size)[:, 1:].double())
    return torch.cat(parts, dim=1), y[::step]


def choose_penalty(
    x: Tensor, y: Tensor, classes: int | None, hparams: Hyperparameters, seed: int, stop: StopSignal
) -> Penalty:
    """The penalty with the lowest loss in cross-validation.

    Args:
        x: (n, D), of training rows alone.
        y: class indices, or numbers in spreads, (n,).
    """
    fold = assign_folds(y, seed)
    outputs = torch.zeros(len(STRENGTHS), len(y), classes or 1, dtype=torch.float64)  # each row by models without it
    for number in range(min(FOLDS, len(y))):
        stop.check()
        out = fold == number
        for i, solution in enumerate(solve_path(x[~out], y[~out], classes, hparams, STRENGTHS, ROUGH)):
            outputs[i, out] = solution(x[out])
    if classes is None:
        squared = (outputs[:, :, 0] - y).square().mean(dim=1)
        return Penalty(STRENGTHS[int(squared.argmin())], 1.0)
    sharpness = [best_sharpness(logits, y) for logits in outputs]
    losses = [functional.cross_entropy(o * s, y).item() for o, s in zip(outputs, sharpness, strict=True)]
    best = int(np.argmin(losses))
    return Penalty(STRENGTHS[best], sharpness[best])


def fit_linear(x: Tensor, y: Tensor, classes: int | None, hparams: Hyperparameters, penalty: Penalty) -> LinearSolution:
    """The solution for inputs (n, D) and one penalty."""
    (solution,) = solve_path(x, y, classes, hparams, (penalty.strength,), EXACT)
    return LinearSolution(solution.weight * penalty.sharpness, solution.bias * penalty.sharpness)


def assign_folds(y: Tensor, seed: int) -> Tensor:
    """The fold of each row, (n,). Classes, or large and small numbers, are spread evenly over the folds."""
    random = np.random.default_rng(mix_seeds(seed, FOLDS)).permutation(len(y))
    fold = torch.empty(len(y), dtype=torch.int64)
    fold[torch.from_numpy(np.lexsort((random, y.numpy())))] = torch.arange(len(y)) % FOLDS
    return fold


def solve_path(
    x: Tensor, y: Tensor, classes: int | None, hparams: Hyperparameters, strengths: Sequence[float], tolerance: float
) -> list[LinearSolution]:
    """The solutions for penalties, the strongest first. Inputs are centred but not scaled: numbers are already standardised, and
    a rare category should count little."""
    mean = x.mean(dim=0)
    solver = solver_for(x - mean, y, classes, example_weights(hparams, y, classes))
    solutions = [solver.fit(strength, tolerance) for strength in strengths]
    return [LinearSolution(solution.weight, solution.bias - solution.weight @ mean) for solution in solutions]


@torch.no_grad()
def set_linear(line: LinearTerm, solution: LinearSolution) -> None:
    """Copies the weights into the network's linear part: those of the numbers, then of each category; unknown categories have
    none."""
    weight, at = solution.weight, 0
    line.bias.copy_(solution.bias)
    if line.weight is not None:
        at = line.weight.shape[1]
        line.weight.copy_(weight[:, :at])
    for table, size in zip(line.categories, line.sizes, strict=True):
        assert isinstance(table, nn.Embedding)
        table.weight[1:] = weight[:, at : at + size - 1].T
        at += size - 1
