"""Methods `full` and `lora`: a pretrained backbone and a new head learn together, all weights or low-rank updates of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from model_zoo.architectures.tuned import Head, TunedNetwork
from model_zoo.architectures.wrappers import ImageClassifier, ImageEncoder, Network
from model_zoo.cards.recipes import ImageRecipe, Recipe, RecordRecipe
from model_zoo.cards.tuned_parts import HeadSpec
from model_zoo.network import build_network
from service.tasks.table import task_for
from service.tasks.tabular.row_input import columns_width
from service.training.artifacts.finalize import draft_files
from service.training.artifacts.tuned_card import tuned_card
from service.training.data.columns import row_recipe
from service.training.data.prepared import Prepared, PreparedBatches
from service.training.heads.linear_probe import start_from_probe
from service.training.job_spec import Method, WorkOrder
from service.training.loop.checkpoint import Checkpoints
from service.training.loop.train import Batches
from service.training.methods.lora import add_updates, updates_for
from service.training.methods.supervised import SupervisedData, fit_supervised, prepare
from service.training.protocol import Progress
from service.training.stop_signal import StopSignal
from service.training.training_job import Job, Say, open_job
from service.types import RecordInstance, RowInstance


def train_network(order: WorkOrder, folder: Path, say: Say, told: StopSignal) -> None:
    """The whole of a job of method `full` or `lora` on a base with features."""
    tune(open_job(order, folder), say, told)


def tune(job: Job, say: Say, told: StopSignal) -> None:
    """From an opened job to its result."""
    say(Progress(phase="training", ratio=0.0))
    knobs = job.knobs
    base = pretrained(job)
    recipe = records(job)
    width = feature_width(job, base)
    columns = 0 if recipe is None else columns_width(recipe.row)
    head = HeadSpec(
        kind=knobs.head,
        inputs=width + columns,
        outputs=len(job.labels) or 1,
        hidden=knobs.hidden if knobs.head == "mlp" else None,
        output="logits" if job.classifies else "value",
        columns=columns,
    )
    adapter = updates_for(base, knobs) if job.order.spec.method is Method.LORA else None
    network = TunedNetwork(base, Head(head)).requires_grad_(True).eval()
    if adapter is not None:
        add_updates(network, adapter)
    card = tuned_card(
        job.base,
        job.order,
        task=job.task,
        labels=job.labels,
        head=head,
        adapter=adapter,
        recipe=recipe,
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        base_digest=job.files.digest if job.files else "0" * 64,
    )
    prepared = Prepared(job.examples, task_for(card, draft_files(job, card)))
    lesson = prepare(job, prepared, say, told)

    checkpoints = Checkpoints(job.folder / "checkpoints")
    if checkpoints.last() is None:  # else a checkpoint holds it
        train = lesson.splits["train"]
        start_from_probe(network, prepared, train, lesson.wanted("train"), knobs, told)
    drop_features(network.head, knobs.dropout)
    if isinstance(base, ImageClassifier | ImageEncoder):
        network.to(memory_format=torch.channels_last)  # convolutions learn a third faster so, on a CPU as well
    fit_supervised(job, lesson, network, batches_of(job, lesson), checkpoints, say, told, card=card)


def pretrained(job: Job) -> Network:
    """The base with its weights, without the head that it was published with."""
    assert job.files is not None
    base = build_network(job.base)
    base.drop_own_head()
    stored = load_file(job.files.weights)
    base.backbone.load_state_dict({name: stored[name] for name in base.backbone.state_dict()}, strict=True)
    return base.eval()


@torch.no_grad()
def feature_width(job: Job, base: Network) -> int:
    """How many numbers the backbone sums up an example in."""
    assert job.files is not None
    task = task_for(job.base, job.files)
    arrays, _ = task.collate([task.warmup_item()])
    return base.features(**{name: torch.from_numpy(array) for name, array in arrays.items()}).shape[1]


def records(job: Job) -> RecordRecipe | None:
    """How pictures and rows are read together, with the columns as the training rows have them; None without rows."""
    recipe: Recipe = job.base.recipe
    if job.task != "image-tabular-regression":
        return None
    assert isinstance(recipe, ImageRecipe)
    rows = []
    for index in job.splits["train"]:
        record = job.examples[index].instance
        assert isinstance(record, RecordInstance)
        row = record.parts["row"]
        assert isinstance(row, RowInstance)
        rows.append(row.cells)
    return RecordRecipe(kind="record", image=recipe, row=row_recipe(job.info.inputs, rows, job.info.columns))


def batches_of(job: Job, lesson: SupervisedData) -> Batches:
    """Training data: pictures varied anew in each epoch where that is wanted, everything else as it is served."""
    knobs, seed, device = job.knobs, job.order.spec.seed, job.order.device
    indices = lesson.splits["train"]
    recipe: Recipe = job.base.recipe
    if not isinstance(recipe, ImageRecipe) or knobs.augmentation == "none":
        return PreparedBatches(lesson.prepared, indices, lesson.wanted("train"), knobs.batch_size, seed, device)

    from service.training.data.images import PhotoBatches, Pictures  # timm is slow to import

    columns = None
    if job.task == "image-tabular-regression":
        rows = [item.tensors["columns"] for item in lesson.prepared.each(indices)]
        columns = torch.from_numpy(np.stack(rows))
    return PhotoBatches(
        Pictures(job.examples, indices, recipe),
        recipe,
        knobs.augmentation,
        lesson.wanted("train"),
        knobs.batch_size,
        seed,
        name=job.base.signature.inputs[0].name,
        columns=columns,
        device=device,
    )


def drop_features(head: nn.Module, share: float) -> None:
    """Dropout in front of the head, while training only: the network as it is served has no such layer."""

    def drop(module: nn.Module, given: tuple[Tensor]) -> Tensor:
        return functional.dropout(given[0], share, module.training)

    if share:
        head.register_forward_pre_hook(drop)
