"""Tables: a network that begins untrained, on columns standardised by the training rows."""

from __future__ import annotations

from pathlib import Path

import torch

from model_zoo.card import Card, RowRecipe
from model_zoo.network import build_network
from service.tasks.rows import row_arguments
from service.tasks.table import task_for
from service.training.checkpoint import Checkpoints
from service.training.columns import row_recipe
from service.training.data import Prepared, TensorBatches
from service.training.finish import draft_files
from service.training.job import Job, Say, open_job
from service.training.spec import Progress, WorkOrder
from service.training.supervised import prepare, teach
from service.training.told import Told
from service.training.tuned_card import tuned_card
from service.types import RowInstance


def train_table(order: WorkOrder, folder: Path, say: Say, told: Told) -> None:
    """The whole of a job on a table."""
    job = open_job(order, folder)
    say(Progress(phase="training", ratio=0.0))
    torch.set_num_threads(1)  # of so small a network threads would only wait for each other
    recipe = recipe_of(job)
    card = tuned_card(
        shaped(job, recipe), order, task=job.task, labels=job.labels, recipe=recipe, parameters=job.base.parameters
    )
    network = build_network(card)
    card = card.model_copy(update={"parameters": sum(parameter.numel() for parameter in network.parameters())})
    lesson = prepare(job, Prepared(job.examples, task_for(card, draft_files(job, card))), say, told)
    inputs: dict[str, torch.Tensor] = lesson.prepared.collate(lesson.splits["train"])
    batches = TensorBatches(inputs, lesson.wanted, job.knobs.batch_size, order.spec.seed, order.device)
    teach(job, lesson, network, batches, Checkpoints(folder / "checkpoints"), say, told, card=card)


def recipe_of(job: Job) -> RowRecipe:
    """Columns as the training rows have them."""
    rows = []
    for index in job.splits["train"]:
        row = job.examples[index].instance
        assert isinstance(row, RowInstance)
        rows.append(row.cells)
    return row_recipe(job.info.inputs, rows)


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
