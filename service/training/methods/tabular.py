"""Tables: a linear part on columns standardised by the training rows, and a network that starts untrained and corrects it."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from model_zoo.cards.card import Card
from model_zoo.cards.recipes import RowRecipe
from model_zoo.network import build_network
from service.tasks.table import task_for
from service.tasks.tabular.row_input import row_arguments
from service.training.artifacts.finalize import preparation_files
from service.training.artifacts.tuned_card import tuned_card, with_arguments
from service.training.data.prepared import PreparedExamples, TensorBatches
from service.training.data.rows import table_recipe
from service.training.heads.losses import balanced_class_weights, clearly_better, example_losses
from service.training.heads.tabular_linear import (
    choose_penalty,
    fit_linear,
    linear_inputs,
    set_linear,
)
from service.training.job_spec import WorkOrder
from service.training.loop.checkpoint import Checkpoints
from service.training.methods.supervised import OutputsOf, fit_supervised, prepare_data
from service.training.protocol import Log, Progress, SendMessage
from service.training.stop_signal import StopSignal
from service.training.training_job import TrainingJob, open_job


def train_table(order: WorkOrder, folder: Path, send: SendMessage, stop: StopSignal) -> None:
    """Runs a whole job on a table."""
    job = open_job(order, folder)
    if job.files is not None:
        from service.training.methods.full import train_network

        train_network(order, folder, send, stop)  # a network that has learned these columns before
        return
    send(Progress(phase="training", ratio=0.0))
    torch.set_num_threads(1)  # threads of so small a network would only wait for each other
    recipe = table_recipe(job)
    card = tuned_card(
        _card_for_table(job, recipe),
        order,
        task=job.task,
        labels=job.labels,
        recipe=recipe,
        parameters=job.base.parameters,
    )
    network = build_network(card)
    mlp: Any = network.backbone
    card = card.model_copy(update={"parameters": sum(parameter.numel() for parameter in network.parameters())})
    prepared = PreparedExamples(job.examples, task_for(card, preparation_files(job, card)))
    data = prepare_data(job, prepared, send, stop)
    inputs: dict[str, torch.Tensor] = data.prepared.collate(data.splits["train"])
    x, y = linear_inputs(mlp.line, inputs, data.targets.for_training("train"))
    classes = len(job.labels) or None
    weights = None if classes is None else balanced_class_weights(job.hparams, y, classes)
    penalty = choose_penalty(x, y, classes, job.hparams, order.spec.seed, stop)
    set_linear(mlp.line, fit_linear(x, y, classes, job.hparams, penalty))
    mlp.line.requires_grad_(False)  # the rest of the network learns what the linear part leaves over

    def drop_useless_correction(outputs_of: OutputsOf) -> NDArray[np.float32]:
        """Keeps the linear part alone unless the network corrects it by more than noise on validation data. The linear part is
        then fitted again, on the validation data too: nothing is left to choose on them."""
        corrected, correction = outputs_of("validation"), copy.deepcopy(mlp.out)
        mlp.zero_blocks()
        linear, targets = outputs_of("validation"), data.targets.for_training("validation")
        if clearly_better(*(_losses(outputs, targets, weights) for outputs in (corrected, linear))):
            mlp.out = correction
            return corrected
        send(Log(level="info", text="a line through the columns does as well as the network; it is taken alone"))
        if data.splits["test"] == data.splits["validation"]:
            return linear  # the result is measured on the validation data
        validation_inputs = data.prepared.collate(data.splits["validation"])
        xs, ys = zip((x, y), linear_inputs(mlp.line, validation_inputs, targets), strict=True)
        set_linear(mlp.line, fit_linear(torch.cat(xs), torch.cat(ys), classes, job.hparams, penalty))
        return linear

    batches = TensorBatches(
        inputs, data.targets.for_training("train"), job.hparams.batch_size, order.spec.seed, order.device
    )
    checkpoints = Checkpoints(folder / "checkpoints")
    fit_supervised(job, data, network, batches, checkpoints, send, stop, card=card, final_step=drop_useless_correction)


def _losses(outputs: NDArray[np.float32], targets: torch.Tensor, class_weights: torch.Tensor | None) -> torch.Tensor:
    return example_losses(torch.from_numpy(outputs).double(), targets, class_weights)


def _card_for_table(job: TrainingJob, recipe: RowRecipe) -> Card:
    """The base's card with a network that fits these columns and targets."""
    hparams = job.hparams
    outputs = {"outputs": len(job.labels) or 1}
    size = {"width": hparams.hidden, "depth": hparams.layers, "dropout": hparams.dropout}
    return with_arguments(job.base, row_arguments(recipe) | outputs | size)
