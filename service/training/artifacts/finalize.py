"""From a trained network to a version folder: held-out figures, the rival beside it, golden items, the worst mistakes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from model_zoo.architectures.tuned import TunedNetwork
from model_zoo.cards.card import Card
from model_zoo.cards.signature import FEATURES
from model_zoo.golden.held_out import HeldOut
from model_zoo.materialised import Materialised
from service.datasets.dataset import Splits
from service.training.artifacts.result import write_labels, write_result
from service.training.artifacts.tuned_card import FORECASTING, REDUCED, RELATIVE_TOLERANCE
from service.training.data.accounting import account
from service.training.evaluation.evaluate import NotCompared, Predictions, evaluate
from service.training.evaluation.mistakes import worst_mistakes
from service.training.loop.checkpoint import State
from service.training.methods.lora import added
from service.training.protocol import Finished, Progress
from service.training.stop_signal import StopSignal
from service.training.training_job import Job, Say
from service.types import Tensors


@dataclass(frozen=True)
class Result:
    """What training gave."""

    card: Card
    network: nn.Module
    """In evaluation mode, on the CPU."""
    held_out: Predictions
    train_targets: NDArray[Any]
    """As `evaluate` wants them."""
    golden: Sequence[Tensors]
    """Inputs of a few held-out examples."""
    state: State
    splits: Splits
    rival: Predictions | NotCompared | None = None
    baseline_outputs: NDArray[Any] | None = None
    decided: HeldOut | None = None
    """By which a server judges the version on a tier or a precision."""


def finish(job: Job, result: Result, say: Say, told: StopSignal) -> None:
    """Evaluates and writes. Says Finished, which is the last word."""
    evaluation = evaluate(
        job.task,
        job.labels,
        result.held_out,
        result.train_targets,
        seed=job.order.spec.seed,
        rival=result.rival,
        baseline_outputs=result.baseline_outputs,
    )
    told.check()
    say(Progress(phase="publishing", ratio=0.97, step=result.state.step, epoch=result.state.epoch))
    golden = [(given, answer(result.network, given)) for given in result.golden]
    write_result(
        job.order,
        job.folder,
        base=job.base,
        base_files=job.files,
        dataset=job.info,
        card=tolerant(result.card, golden),
        state=weights(result.network, adapter=result.card.adapter is not None),
        golden=golden,
        evaluation=evaluation,
        curves=result.state.curves,
        hyperparameters=job.knobs.model_dump(),
        splits=result.splits,
        mistakes=worst_mistakes(job.task, job.labels, result.held_out, job.examples),
        training_s=result.state.seconds,
        held_out=result.decided,
        accounting=account(job, result.splits),
    )
    say(Finished(metrics=evaluation.figures()))


def tolerant(card: Card, golden: Sequence[tuple[Tensors, Tensors]]) -> Card:
    """The card with a tolerance that suits the size of its outputs."""
    largest = max((float(np.abs(np.asarray(out)).max()) for _, outs in golden for out in outs.values()), default=0.0)
    bound = max(card.tolerance.max_abs_error, RELATIVE_TOLERANCE * largest)
    reduced = card.tolerance.reduced_precision
    if reduced.max_abs_error is not None:
        # A number comes in spreads of the target, a forecast in the units of the data, however small they are.
        size = largest or 1.0 if card.task == FORECASTING else max(1.0, largest)
        reduced = reduced.model_copy(update={"max_abs_error": REDUCED * size})
    tolerance = card.tolerance.model_copy(update={"max_abs_error": bound, "reduced_precision": reduced})
    return card.model_copy(update={"tolerance": tolerance})


def weights(network: nn.Module, adapter: bool) -> dict[str, torch.Tensor]:
    """What the version's file holds: see `model_zoo/network.py`, which reads it."""
    if not isinstance(network, TunedNetwork):
        backbone = network.backbone
        assert isinstance(backbone, nn.Module)
        state = backbone.state_dict()
    else:
        state = added(network.state_dict()) if adapter else network.state_dict()
    return {name: tensor.contiguous() for name, tensor in state.items()}


@torch.no_grad()
def answer(network: nn.Module, given: Tensors) -> dict[str, NDArray[np.generic]]:
    """What the network says to one row, alone."""
    outputs: Mapping[str, torch.Tensor] = network(
        **{n: torch.from_numpy(np.asarray(a))[None] for n, a in given.items()}
    )
    return {name: tensor[0].numpy() for name, tensor in outputs.items() if name != FEATURES}


def draft_files(job: Job, card: Card) -> Materialised:
    """Files by which the task of a card that is still being made can prepare examples: the base's, and the labels."""
    job.folder.mkdir(parents=True, exist_ok=True)
    if card.labels is not None:
        write_labels(job.folder / card.labels, job.labels)
    if job.files is None:
        return Materialised(job.folder, job.folder / "none", {}, "")
    return Materialised(job.folder, job.files.weights, job.files.files, job.files.digest)
