"""The common path of all networks with labelled examples, from the first batch to the result."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import nn

from model_zoo.cards.card import Card
from model_zoo.golden.held_out import HeldOut
from service.training.artifacts.finalize import TrainedModel, finish
from service.training.data.accounting import send_left_out, send_truncated
from service.training.data.prepared import PreparedExamples, predict
from service.training.data.targets import SplitTargets
from service.training.evaluation.conformal import with_interval
from service.training.evaluation.incumbent import incumbent_predictions
from service.training.evaluation.measurements import Predictions
from service.training.failures import CannotTrain
from service.training.heads.losses import balanced_class_weights
from service.training.loop.checkpoint import Checkpoints
from service.training.loop.criteria import (
    binary_cross_entropy,
    classification_metrics,
    cross_entropy,
    in_units,
    multi_label_metrics,
    regression_metrics,
    squared_error,
)
from service.training.loop.train import Batches, train
from service.training.methods.held_out_rows import held_out_rows
from service.training.protocol import Log, Progress, SendMessage
from service.training.stop_signal import StopSignal
from service.training.training_job import TrainingJob

SPLITS = ("train", "validation", "test")
NO_TEST = "there are no test data: the result is measured on data that had a part in training, and looks better"
OutputsOf = Callable[[str], NDArray[np.float32]]
"""The network's outputs for a split, in evaluation mode, (n, outputs)."""
FinalStep = Callable[[OutputsOf], NDArray[np.float32]]
"""Called when training has ended; may still change the network. Returns the outputs for the validation data, of a network that
has not learned from them."""


@dataclass(frozen=True)
class SupervisedData:
    """Prepared examples and their targets."""

    prepared: PreparedExamples
    splits: Mapping[str, tuple[int, ...]]
    """Usable examples alone."""
    targets: SplitTargets


def prepare_data(job: TrainingJob, prepared: PreparedExamples, send: SendMessage, stop: StopSignal) -> SupervisedData:
    """Prepares every example once. Raises CannotTrain if no training example is usable, or all targets are the same number."""
    splits = {name: prepared.usable(job.splits[name], stop) for name in SPLITS}
    splits = filled_splits(splits, prepared, send, "example")
    return SupervisedData(prepared, splits, SplitTargets.of(job, splits))


def filled_splits(
    splits: Mapping[str, tuple[int, ...]], prepared: PreparedExamples, send: SendMessage, kind: str
) -> dict[str, tuple[int, ...]]:
    """The splits, none of which is empty: with very few examples, others take the place of validation and test data.

    `kind`: of examples, for the message. Raises CannotTrain if no training example is usable.
    """
    if not splits["train"]:
        why = next((f"; the first: {reason}" for reason in prepared.left_out.values()), "")
        raise CannotTrain(f"not one training {kind} could be prepared{why}")
    validation = splits["validation"] or splits["train"]
    if not splits["test"]:
        send(Log(level="warning", text=NO_TEST))
    return {"train": splits["train"], "validation": validation, "test": splits["test"] or validation}


def fit_supervised(
    job: TrainingJob,
    data: SupervisedData,
    network: nn.Module,
    batches: Batches,
    checkpoints: Checkpoints,
    send: SendMessage,
    stop: StopSignal,
    *,
    card: Card,
    final_step: FinalStep | None = None,
) -> None:
    """Trains the network, measures it on held-out data, and writes the result."""
    job.left_out.update(data.prepared.left_out)
    job.truncated.update(data.prepared.truncated)
    send_left_out(job, send)
    send_truncated(job, send)
    output = card.signature.outputs[0].name
    device, hparams = job.order.device, job.hparams

    def outputs_of(split: str) -> NDArray[np.float32]:
        return predict(network, output, data.prepared, data.splits[split], hparams.batch_size, stop, device=device)

    def validate() -> dict[str, float]:
        outputs, targets = outputs_of("validation"), data.targets.values["validation"]
        if job.multi_label:
            return multi_label_metrics(outputs, targets, weights)
        if data.targets.scale is None:
            return classification_metrics(outputs, targets, weights)
        return regression_metrics(outputs, targets, data.targets.scale)

    weights = None
    if job.classifies:
        weights = balanced_class_weights(hparams, data.targets.for_training("train"), len(job.labels))
    if job.multi_label:
        criterion = binary_cross_entropy(hparams, weights)
    else:
        criterion = squared_error if data.targets.scale else cross_entropy(hparams, weights)
    network.to(device)
    state = train(network, batches, criterion, validate, hparams, checkpoints, send, stop, output=output, device=device)

    send(Progress(phase="evaluation", ratio=0.9, step=state.step, epoch=state.epoch))
    stop.check()
    validation_outputs = outputs_of("validation") if final_step is None else final_step(outputs_of)
    test_outputs = outputs_of("test")
    held_out: NDArray[np.floating] = test_outputs
    scale = data.targets.scale
    if scale is not None:
        scale = with_interval(scale, in_units(validation_outputs, scale), data.targets.values["validation"])
        held_out = in_units(held_out, scale)
    predictions = Predictions(held_out, data.targets.for_evaluation("test"), data.splits["test"])
    model = TrainedModel(
        card=card.model_copy(update={"target": scale}),
        network=network.cpu(),
        held_out=predictions,
        incumbent=incumbent_predictions(job, predictions, stop),
        train_targets=data.targets.for_evaluation("train"),
        golden=golden_inputs(data.prepared, data.splits["test"]),
        state=state,
        splits=data.splits,
        reference=HeldOut(
            job.info.id, np.array(data.splits["test"], np.int64), data.targets.values["test"], test_outputs
        ),
        rows=held_out_rows(job, network, card, data.prepared, data.splits["test"], scale),
    )
    finish(job, model, send, stop)


def golden_inputs(prepared: PreparedExamples, indices: Sequence[int]) -> list[dict[str, NDArray[np.generic]]]:
    """Inputs of a few held-out examples, single rows without the rows axis."""
    return [dict(item.tensors) for item in prepared.items(indices[:3])]
