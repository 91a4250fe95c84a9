"""The head itself: features in, a `Head` out. Seconds for thousands of rows.

1. A linear head for each penalty of a path, on the training features; the one that validation likes best is taken.
2. Where nobody asked for a kind: a small perceptron too, which is taken only if it is better by more than noise.
3. A linear head is fitted once more on training and validation data together: more data, and nothing left to choose on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from model_zoo.architectures.tuned import Head
from model_zoo.cards.tuned_parts import HeadSpec
from service.training.heads.linear import (
    EXACT,
    ROUGH,
    STRENGTHS,
    Axes,
    Logistic,
    Ridge,
    Scale,
    Solution,
)
from service.training.heads.mlp import fit_mlp
from service.training.hyperparameters import Hyperparameters
from service.training.protocol import Metric
from service.training.stop_signal import StopSignal

CLEAR = 2.0
"""Standard errors by which validation losses must be lower, example by example, for what is less simple to be taken."""
ENOUGH = 200
"""Training examples below which a perceptron is not tried."""
WORSE = 4
"""Penalties in a row that validation likes less; weaker ones are not tried then."""
USUAL_STRENGTH = 0.1
"""Where there are no validation data."""
LOG_TEMPERATURES = torch.linspace(-2.0, 2.0, 81, dtype=torch.float64)
PRIOR_SPREAD = 0.5
"""Of the log of the temperature: on few examples it stays near 1."""


@dataclass(frozen=True, slots=True)
class Xy:
    """Features `(n, D)` and class indices, or numbers in spreads of the target, `(n)`."""

    x: Tensor
    y: Tensor


@dataclass(frozen=True, slots=True)
class FittedHead:
    """What came of it."""

    head: Head
    judged: NDArray[np.float32]
    """Outputs for the validation data, `(n, outputs)`, of a head that has not learned from them."""
    chosen: dict[str, float | int | str]
    """Hyperparameters as found."""
    curves: tuple[Metric, ...]


@dataclass(frozen=True, slots=True)
class _Choice:
    strength: float
    sharpness: float
    """What the logits are multiplied by: a strong penalty makes them too small (Guo et al. 2017, arXiv:1706.04599)."""
    losses: Tensor
    """Of the validation examples."""
    head: Head


def fit_head(
    train: Xy,
    validation: Xy,
    classes: int | None,
    knobs: Hyperparameters,
    *,
    kind: str | None,
    output: str,
    seed: int,
    told: StopSignal,
    note: Callable[[Metric], None] = lambda metric: None,
    columns: int = 0,
) -> FittedHead:
    """Fits a head on fixed features. Same data, same seed, same head.

    Args:
        classes: how many; None for a number.
        kind: `linear` or `mlp`; None takes what validation likes better.
        note: told of every figure as it is measured.
        columns: how many of the features, the last, are a table's.
    """
    curves: list[Metric] = []

    def measured(metric: Metric) -> None:
        curves.append(metric)
        note(metric)

    def spec(of: str) -> HeadSpec:
        hidden = knobs.hidden if of == "mlp" else None
        width, outputs = train.x.shape[1], classes or 1
        return HeadSpec(kind=of, inputs=width, outputs=outputs, hidden=hidden, output=output, columns=columns)  # type: ignore[arg-type]

    chosen: dict[str, float | int | str] = {}
    best: _Choice | None = None
    if kind != "mlp":
        best = _along_the_path(train, validation, classes, knobs, spec("linear"), told, measured)
        chosen = {"head": "linear", "weight_decay": best.strength, "sharpness": round(best.sharpness, 4)}
    if kind == "mlp" or (kind is None and len(train.y) >= ENOUGH and len(validation.y)):
        started = len(STRENGTHS)
        fitted = fit_mlp(train, validation, Head(spec("mlp")), knobs, classes, seed, told, measured, started)
        if best is None or clearly_better(fitted.losses, best.losses):
            chosen = {"head": "mlp", "hidden": knobs.hidden, "weight_decay": fitted.decay, "epochs": fitted.epochs}
            return FittedHead(fitted.head, _outputs(fitted.head, validation.x), chosen, tuple(curves))
    assert best is not None
    both = Xy(torch.cat([train.x, validation.x]), torch.cat([train.y, validation.y]))
    told.check()
    scale = scale_of(both.x, columns)
    final = _solver(scale(both.x.double()), both.y, classes, knobs)(best.strength, EXACT)
    head = _as_head(spec("linear"), scale, final, best.sharpness)
    return FittedHead(head, _outputs(best.head, validation.x), chosen, tuple(curves))


def _along_the_path(
    train: Xy,
    validation: Xy,
    classes: int | None,
    knobs: Hyperparameters,
    spec: HeadSpec,
    told: StopSignal,
    measured: Callable[[Metric], None],
) -> _Choice:
    """The penalty whose head validation likes best, each head started from that of the next stronger penalty."""
    scale = scale_of(train.x, spec.columns)
    x, judged = scale(train.x.double()), scale(validation.x.double())
    solver = _solver(x, train.y, classes, knobs)
    strengths: Sequence[float] = STRENGTHS if knobs.weight_decay is None else (max(knobs.weight_decay, STRENGTHS[-1]),)
    if knobs.weight_decay is None and not len(validation.y):
        strengths = (USUAL_STRENGTH,)
    best: _Choice | None = None
    worse = 0
    for step, strength in enumerate(strengths):
        told.check()
        solution = solver(strength, ROUGH)
        outputs = solution(judged)
        sharpness = 1.0 if classes is None or not len(validation.y) else sharpness_of(outputs, validation.y)
        losses = _losses(outputs * sharpness, validation.y, classes)
        loss = float(losses.mean()) if len(losses) else 0.0
        _note(measured, "loss", "train", float(_losses(solution(x), train.y, classes).mean()), step)
        if len(losses):
            _note(measured, "loss", "validation", loss, step)
        if classes is not None and len(losses):
            _note(measured, "accuracy", "validation", float((outputs.argmax(1) == validation.y).double().mean()), step)
        _note(measured, "weight_decay", "train", strength, step)
        if best is None or loss < float(best.losses.mean()):
            best, worse = _Choice(strength, sharpness, losses, _as_head(spec, scale, solution, sharpness)), 0
        else:
            worse += 1
            if worse >= WORSE:
                break
    assert best is not None
    return best


def _solver(x: Tensor, y: Tensor, classes: int | None, knobs: Hyperparameters) -> Callable[[float, float], Solution]:
    """Of standardised features."""
    axes = Axes(x)
    if classes is None:
        return Ridge(axes, y[:, None]).fit
    return Logistic(axes, y, classes, example_weights(y, classes, knobs)).fit


def example_weights(y: Tensor, classes: int, knobs: Hyperparameters) -> Tensor | None:
    """`balanced`: rare classes count as much as frequent ones. None where all examples count alike."""
    if knobs.class_weights == "none":
        return None
    counts = torch.bincount(y, minlength=classes).double()
    return (len(y) / (classes * counts.clamp(min=1.0)))[y]


def scale_of(features: Tensor, columns: int) -> Scale:
    """Standardises `(n, D)`; the last `columns`, a table's, count as much together as all others together.

    A penalty sees a few columns beside a thousand features of a picture as noise, and what the table knows would be lost.
    """
    scale = Scale.of(features.double())
    others = features.shape[1] - columns
    if columns and others > columns:
        scale.scale[-columns:] *= (columns / others) ** 0.5
    return scale


def _as_head(spec: HeadSpec, scale: Scale, solution: Solution, sharpness: float) -> Head:
    head = Head(spec)
    with torch.no_grad():
        head.mean.copy_(scale.mean)
        head.scale.copy_(scale.scale)
        head.out.weight.copy_(solution.weight * sharpness)
        head.out.bias.copy_(solution.bias * sharpness)
    return head.eval().requires_grad_(False)


def sharpness_of(logits: Tensor, targets: Tensor) -> float:
    """By how much to multiply logits so that their probabilities fit best; near 1 where few examples say so."""
    scales = LOG_TEMPERATURES.exp()
    losses = torch.stack([functional.cross_entropy(logits * scale, targets) for scale in scales])
    return float(scales[(losses + (LOG_TEMPERATURES / PRIOR_SPREAD).square() / (2 * len(targets))).argmin()])


def _losses(outputs: Tensor, targets: Tensor, classes: int | None) -> Tensor:
    if classes is None:
        return (outputs[:, 0] - targets).square()
    return functional.cross_entropy(outputs, targets, reduction="none")


def clearly_better(ours: Tensor, theirs: Tensor) -> bool:
    """Whether losses of the same examples are lower by more than noise."""
    gain = (theirs.double() - ours.double()).numpy()
    return bool(gain.mean() > CLEAR * gain.std() / np.sqrt(len(gain)))


def _note(measured: Callable[[Metric], None], name: str, split: str, value: float, step: int) -> None:
    measured(Metric(name=name, split=split, value=value, step=step))


@torch.inference_mode()
def _outputs(head: Head, x: Tensor) -> NDArray[np.float32]:
    outputs: NDArray[np.float32] = head(x.float()).numpy()
    return outputs
