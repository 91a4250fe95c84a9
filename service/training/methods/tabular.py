"""Tables: a line through columns standardised by the training rows, and a network that begins untrained and corrects it."""

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
from service.training.artifacts.finalize import draft_files
from service.training.artifacts.tuned_card import tuned_card
from service.training.data.columns import row_recipe
from service.training.data.prepared import Prepared, TensorBatches
from service.training.heads.fit import clearly_better
from service.training.heads.tabular_linear import (
    choose_penalty,
    fit_line,
    rows_for,
    set_line,
)
from service.training.job_spec import WorkOrder
from service.training.loop.checkpoint import Checkpoints
from service.training.loop.criteria import class_weights, losses_of
from service.training.methods.supervised import OutputsOf, fit_supervised, prepare
from service.training.protocol import Log, Progress
from service.training.stop_signal import StopSignal
from service.training.training_job import Job, Say, open_job
from service.types import RowInstance


def train_table(order: WorkOrder, folder: Path, say: Say, told: StopSignal) -> None:
    """The whole of a job on a table."""
    job = open_job(order, folder)
    say(Progress(phase="training", ratio=0.0))
    torch.set_num_threads(1)  # of so small a network threads would only wait for each other
    recipe = recipe_of(job)
    card = tuned_card(
        shaped(job, recipe), order, task=job.task, labels=job.labels, recipe=recipe, parameters=job.base.parameters
    )
    network = build_network(card)
    mlp: Any = network.backbone
    card = card.model_copy(update={"parameters": sum(parameter.numel() for parameter in network.parameters())})
    lesson = prepare(job, Prepared(job.examples, task_for(card, draft_files(job, card))), say, told)
    inputs: dict[str, torch.Tensor] = lesson.prepared.collate(lesson.splits["train"])
    x, y = rows_for(mlp.line, inputs, lesson.wanted("train"))
    classes = len(job.labels) or None
    weights = None if classes is None else class_weights(job.knobs, y, classes)
    penalty = choose_penalty(x, y, classes, job.knobs, order.spec.seed, told)
    set_line(mlp.line, fit_line(x, y, classes, job.knobs, penalty))
    mlp.line.requires_grad_(False)  # the rest learns what it leaves over

    def settle(outputs_of: OutputsOf) -> NDArray[np.float32]:
        """Takes the line alone unless the network corrects it, on validation data, by more than noise. The line then learns from
        the validation data as well: there is nothing left to choose on them."""
        corrected, learned = outputs_of("validation"), copy.deepcopy(mlp.out)
        mlp.zero_blocks()
        alone, wanted = outputs_of("validation"), lesson.wanted("validation")
        if clearly_better(losses_of(corrected, wanted, weights), losses_of(alone, wanted, weights)):
            mlp.out = learned
            return corrected
        say(Log(level="info", text="a line through the columns does as well as the network; it is taken alone"))
        if lesson.splits["test"] == lesson.splits["validation"]:
            return alone  # there is nothing else to measure it on
        held = lesson.prepared.collate(lesson.splits["validation"])
        xs, ys = zip((x, y), rows_for(mlp.line, held, wanted), strict=True)
        set_line(mlp.line, fit_line(torch.cat(xs), torch.cat(ys), classes, job.knobs, penalty))
        return alone

    batches = TensorBatches(inputs, lesson.wanted("train"), job.knobs.batch_size, order.spec.seed, order.device)
    fit_supervised(
        job, lesson, network, batches, Checkpoints(folder / "checkpoints"), say, told, card=card, settle=settle
    )


def recipe_of(job: Job) -> RowRecipe:
    """Columns as the training rows have them."""
    rows = []
    for index in job.splits["train"]:
        row = job.examples[index].instance
        assert isinstance(row, RowInstance)
        rows.append(row.cells)
    return row_recipe(job.info.inputs, rows, job.info.columns)


def shaped(job: Job, recipe: RowRecipe) -> Card:
    """The base's card with a network that fits these columns and targets."""
    knobs = job.knobs
    arguments = {
        **job.base.architecture.arguments,
        **row_arguments(recipe),
        "outputs": len(job.labels) or 1,
        "width": knobs.hidden,
        "depth": knobs.layers,
        "dropout": knobs.dropout,
    }
    return job.base.model_copy(
        update={"architecture": job.base.architecture.model_copy(update={"arguments": arguments})}
    )
