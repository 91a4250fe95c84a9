"""Fits a head on fixed features. Takes seconds for thousands of rows.

1. A linear head is fitted on the training features for each penalty of a path. Validation loss chooses the penalty.
2. If the user chose no kind of head, a small MLP is trained too. It is taken only if it is better by more than noise.
3. A linear head is fitted again on training and validation data together: nothing is left to choose on the validation data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model_zoo.architectures.tuned import (
    Head,
)
from model_zoo.cards.tuned_parts import (
    HeadSpec,
)
from service.training.heads.labelled_features import (
    LabelledFeatures,
)
from service.training.heads.linear import (
    EXACT,
    ROUGH,
    STRENGTHS,
    LinearSolution,
    LinearSolver,
    StandardScaler,
    solver_for,
)
from service.training.heads.losses import best_sharpness, clearly_better, example_losses, example_weights
from service.training.heads.mlp import fit_mlp
from service.training.hyperparameters import Hyperparameters
from service.training.protocol import Metric
from service.training.stop_signal import StopSignal

MIN_MLP_EXAMPLES = 200
"""With fewer training examples no MLP is tried."""
MAX_WORSE = 4
"""After so many penalties in a row with a higher validation loss, weaker penalties are not tried."""
DEFAULT_STRENGTH = 0.1
"""The penalty if there are no validation data."""
MOST_OF_ONE_THREAD = 1 << 20
"""Numbers among the training features up to which the fit uses one thread."""


@dataclass(frozen=True, slots=True)
class FittedHead:
    """The fitted head, and how it was chosen."""

    head: Head
    validation_outputs: NDArray[np.float32]
    """Outputs for the validation data, `(n, outputs)`, of a head that has not learned from them."""
    chosen: dict[str, float | int | str]
    """The hyperparameters that were found."""
    curves: tuple[Metric, ...]


@dataclass(frozen=True, slots=True)
class _Candidate:
    """The head of one penalty."""

    strength: float
    sharpness: float
    """The factor on the logits: a strong penalty makes them too small."""
    losses: Tensor
    """Of the validation examples, `(n,)`."""
    head: Head


def fit_head(
    train: LabelledFeatures,
    validation: LabelledFeatures,
    classes: int | None,
    hparams: Hyperparameters,
    *,
    kind: str | None,
    output: str,
    seed: int,
    stop: StopSignal,
    on_metric: Callable[[Metric], None] = lambda metric: None,
    columns: int = 0,
) -> FittedHead:
    """Fits a head on fixed features. Same data and same seed give the same head.

    Args:
        classes: the number of classes; None if the target is a number.
        kind: `linear` or `mlp`; None takes the kind with the lower validation loss.
        on_metric: called with each value as it is measured.
        columns: how many of the features, the last ones, are a table's.

    Raises:
        StopRequested: the worker must stop.
    """
    with _threads_for(train.x.numel()):
        curves: list[Metric] = []

        def record(metric: Metric) -> None:
            curves.append(metric)
            on_metric(metric)

        def spec(of: str) -> HeadSpec:
            hidden = hparams.hidden if of == "mlp" else None
            width, outputs = train.x.shape[1], classes or 1
            return HeadSpec(kind=of, inputs=width, outputs=outputs, hidden=hidden, output=output, columns=columns)  # type: ignore[arg-type]

        chosen: dict[str, float | int | str] = {}
        best: _Candidate | None = None
        if kind != "mlp":
            best = _best_on_path(train, validation, classes, hparams, spec("linear"), stop, record)
            chosen = {"head": "linear", "weight_decay": best.strength, "sharpness": round(best.sharpness, 4)}
        if kind == "mlp" or (kind is None and len(train.y) >= MIN_MLP_EXAMPLES and len(validation.y)):
            first_step = len(STRENGTHS)
            mlp = fit_mlp(train, validation, Head(spec("mlp")), hparams, classes, seed, stop, record, first_step)
            if best is None or clearly_better(mlp.losses, best.losses):
                chosen = {"head": "mlp", "hidden": hparams.hidden, "weight_decay": mlp.decay, "epochs": mlp.epochs}
                return FittedHead(mlp.head, _outputs(mlp.head, validation.x), chosen, tuple(curves))
        assert best is not None
        both = train.joined(validation)
        stop.check()
        scaler = StandardScaler.with_columns(both.x, columns)
        solution = _solver(scaler(both.x.double()), both.y, classes, hparams).fit(best.strength, EXACT)
        head = _linear_head(spec("linear"), scaler, solution, best.sharpness)
        return FittedHead(head, _outputs(best.head, validation.x), chosen, tuple(curves))


@contextmanager
def _threads_for(numbers: int) -> Iterator[None]:
    """One thread for a block that computes with few numbers: several would wait for each other at every step."""
    before = torch.get_num_threads()
    torch.set_num_threads(before if numbers > MOST_OF_ONE_THREAD else 1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _best_on_path(
    train: LabelledFeatures,
    validation: LabelledFeatures,
    classes: int | None,
    hparams: Hyperparameters,
    spec: HeadSpec,
    stop: StopSignal,
    record: Callable[[Metric], None],
) -> _Candidate:
    """The penalty whose head has the lowest validation loss. Each fit starts from the head of the next stronger penalty."""
    scaler = StandardScaler.with_columns(train.x, spec.columns)
    x, validation_x = scaler(train.x.double()), scaler(validation.x.double())
    solver = _solver(x, train.y, classes, hparams)
    best: _Candidate | None = None
    worse = 0
    for step, strength in enumerate(_strengths(hparams, len(validation.y))):
        stop.check()
        solution = solver.fit(strength, ROUGH)
        outputs = solution(validation_x)
        sharpness = 1.0 if classes is None or not len(validation.y) else best_sharpness(outputs, validation.y)
        losses = example_losses(outputs * sharpness, validation.y)
        loss = float(losses.mean()) if len(losses) else 0.0
        measured = {("loss", "train"): float(example_losses(solution(x), train.y).mean())}
        if len(losses):
            measured["loss", "validation"] = loss
        if classes is not None and len(losses):
            name, value = _quality(outputs, validation.y)
            measured[name, "validation"] = value
        measured["weight_decay", "train"] = strength
        for (name, split), value in measured.items():
            record(Metric(name=name, split=split, value=value, step=step))
        if best is None or loss < float(best.losses.mean()):
            best, worse = _Candidate(strength, sharpness, losses, _linear_head(spec, scaler, solution, sharpness)), 0
        else:
            worse += 1
            if worse >= MAX_WORSE:
                break
    assert best is not None
    return best


def _quality(outputs: Tensor, y: Tensor) -> tuple[str, float]:
    """The name and the value of a figure of the validation examples for people: the accuracy, or F1 over all classes of
    several."""
    if y.dim() == 1:
        return "accuracy", float((outputs.argmax(1) == y).double().mean())
    named = outputs > 0
    hits, either = (named & (y > 0)).sum(), named.sum() + (y > 0).sum()
    return "micro_f1", float(2 * hits / either.clamp(min=1))


def _strengths(hparams: Hyperparameters, validation_examples: int) -> Sequence[float]:
    """The penalties to try, the strongest first."""
    if hparams.weight_decay is not None:
        return (max(hparams.weight_decay, STRENGTHS[-1]),)
    return STRENGTHS if validation_examples else (DEFAULT_STRENGTH,)


def _solver(x: Tensor, y: Tensor, classes: int | None, hparams: Hyperparameters) -> LinearSolver:
    """Of standardised features."""
    return solver_for(x, y, classes, example_weights(hparams, y, classes))


def _linear_head(spec: HeadSpec, scaler: StandardScaler, solution: LinearSolution, sharpness: float) -> Head:
    head = Head(spec)
    with torch.no_grad():
        head.mean.copy_(scaler.mean)
        head.scale.copy_(scaler.scale)
        head.out.weight.copy_(solution.weight * sharpness)
        head.out.bias.copy_(solution.bias * sharpness)
    return head.eval().requires_grad_(False)


@torch.inference_mode()
def _outputs(head: Head, x: Tensor) -> NDArray[np.float32]:
    outputs: NDArray[np.float32] = head(x.float()).numpy()
    return outputs
