"""What is linear in a table, found first and for good: ridge or logistic regression, with the penalty that cross-validation likes
best. The network then learns only what this line leaves over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from model_zoo.architectures.tabular_mlp import LinearTerm
from service.tasks.tabular.row_input import CATEGORIES, NUMBERS
from service.training.data.seeds import mixed
from service.training.heads.fit import example_weights, sharpness_of
from service.training.heads.linear import (
    EXACT,
    ROUGH,
    STRENGTHS,
    Axes,
    Logistic,
    Ridge,
    Solution,
)
from service.training.hyperparameters import Hyperparameters
from service.training.stop_signal import StopSignal

FOLDS = 5
MOST_NUMBERS = 4_000_000
"""Rows × columns: of more rows every second, third, … tells as much of so few weights."""


@dataclass(frozen=True, slots=True)
class Penalty:
    """As cross-validation chose it."""

    strength: float
    sharpness: float
    """What logits are multiplied by: a strong penalty makes them too small. 1 for numbers."""


def rows_for(line: LinearTerm, inputs: Mapping[str, Tensor], y: Tensor) -> tuple[Tensor, Tensor]:
    """What a line is learned from: columns (m, D), numbers, then each category one-hot, the unknown all zeros; targets (m,).

    Args:
        inputs: the network's: `numbers` (n, …), `categories` (n, …). Of very many rows some are taken.
        y: class indices, or numbers in spreads, (n,).
    """
    sizes = line.sizes
    width = (0 if line.weight is None else line.weight.shape[1]) + sum(sizes) - len(sizes)
    step = max(1, -(-len(y) * width // MOST_NUMBERS))
    parts = [inputs[NUMBERS][::step].double()] if NUMBERS in inputs else []
    for i, size in enumerate(sizes):
        parts.append(functional.one_hot(inputs[CATEGORIES][::step, i], size)[:, 1:].double())
    return torch.cat(parts, dim=1), y[::step]


def choose_penalty(
    x: Tensor, y: Tensor, classes: int | None, knobs: Hyperparameters, seed: int, told: StopSignal
) -> Penalty:
    """The penalty whose lines are best on the folds that they were not fitted on.

    Args:
        x: (n, D), of training rows alone.
        y: class indices, or numbers in spreads, (n,).
    """
    fold = folds_of(y, seed)
    outputs = torch.zeros(len(STRENGTHS), len(y), classes or 1, dtype=torch.float64)  # of each row, by lines without it
    for number in range(min(FOLDS, len(y))):
        told.check()
        out = fold == number
        for i, solution in enumerate(path(x[~out], y[~out], classes, knobs, STRENGTHS, ROUGH)):
            outputs[i, out] = solution(x[out])
    if classes is None:
        losses = (outputs[:, :, 0] - y).square().mean(dim=1)
        return Penalty(STRENGTHS[int(losses.argmin())], 1.0)
    sharpness = [sharpness_of(logits, y) for logits in outputs]
    found = [functional.cross_entropy(o * s, y).item() for o, s in zip(outputs, sharpness, strict=True)]
    best = int(np.argmin(found))
    return Penalty(STRENGTHS[best], sharpness[best])


def fit_line(x: Tensor, y: Tensor, classes: int | None, knobs: Hyperparameters, penalty: Penalty) -> Solution:
    """Of columns as they are, (n, D)."""
    (solution,) = path(x, y, classes, knobs, (penalty.strength,), EXACT)
    return Solution(solution.weight * penalty.sharpness, solution.bias * penalty.sharpness)


def folds_of(y: Tensor, seed: int) -> Tensor:
    """The number of each row's fold, (n,): all folds have classes, or large and small numbers, alike."""
    chance = np.random.default_rng(mixed(seed, FOLDS)).permutation(len(y))
    fold = torch.empty(len(y), dtype=torch.int64)
    fold[torch.from_numpy(np.lexsort((chance, y.numpy())))] = torch.arange(len(y)) % FOLDS
    return fold


def path(
    x: Tensor, y: Tensor, classes: int | None, knobs: Hyperparameters, strengths: Sequence[float], tolerance: float
) -> list[Solution]:
    """Lines for penalties, the strongest first. Columns are centred and not scaled: numbers come standardised, and a category
    that is rare should count little."""
    mean = x.mean(dim=0)
    axes = Axes(x - mean)
    solver = Ridge(axes, y[:, None]) if classes is None else _logistic(axes, y, classes, knobs)
    found = [solver.fit(strength, tolerance) for strength in strengths]
    return [Solution(solution.weight, solution.bias - solution.weight @ mean) for solution in found]


def _logistic(axes: Axes, y: Tensor, classes: int, knobs: Hyperparameters) -> Logistic:
    return Logistic(axes, y, classes, example_weights(y, classes, knobs))


@torch.no_grad()
def set_line(line: LinearTerm, solution: Solution) -> None:
    """Gives the network's line its weights: those of the numbers, then of each category, of which the unknown has none."""
    weight, at = solution.weight, 0
    line.bias.copy_(solution.bias)
    if line.weight is not None:
        at = line.weight.shape[1]
        line.weight.copy_(weight[:, :at])
    for table, size in zip(line.categories, line.sizes, strict=True):
        assert isinstance(table, nn.Embedding)
        table.weight[1:] = weight[:, at : at + size - 1].T
        at += size - 1
