"""Methods `full` and `lora`: a pretrained backbone and a new head learn together, in all weights or in low-rank updates."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from model_zoo.architectures.torchvision_classifier import TorchvisionClassifier
from model_zoo.architectures.tuned import (
    Head,
    TunedNetwork,
)
from model_zoo.architectures.wrappers import (
    ImageClassifier,
    ImageEncoder,
    Network,
)
from model_zoo.cards.card import Card
from model_zoo.cards.recipes import (
    ImageRecipe,
    Recipe,
)
from model_zoo.cards.tuned_parts import (
    HeadSpec,
)
from model_zoo.formats.shared_tensors import with_tied
from model_zoo.network import (
    build_network,
)
from service.tasks.table import task_for
from service.tasks.tabular.row_input import columns_width
from service.training.artifacts.finalize import preparation_files
from service.training.artifacts.tuned_card import NO_DIGEST, tuned_card
from service.training.data.feature_inputs import check_pairs, pair_recipe
from service.training.data.prepared import PreparedBatches, PreparedExamples
from service.training.data.rows import known_table_recipe, record_recipe
from service.training.heads.linear_probe import start_from_probe
from service.training.job_spec import Method, WorkOrder
from service.training.loop.checkpoint import Checkpoints
from service.training.loop.train import Batches
from service.training.methods.lora import adapter_for, insert_adapter
from service.training.methods.supervised import SupervisedData, fit_supervised, prepare_data
from service.training.protocol import Progress, SendMessage
from service.training.stop_signal import StopSignal
from service.training.training_job import TrainingJob, open_job


def train_network(order: WorkOrder, folder: Path, send: SendMessage, stop: StopSignal) -> None:
    """Runs a whole job of method `full` or `lora` on a base with features."""
    job = open_job(order, folder)
    send(Progress(phase="training", ratio=0.0))
    hparams = job.hparams
    check_pairs(job.base, job.files, job.info)
    base = pretrained_backbone(job)
    recipe = record_recipe(job)
    width = feature_width(job, base)
    columns = 0 if recipe is None else columns_width(recipe.row)
    head = HeadSpec(
        kind=hparams.head,
        inputs=width + columns,
        outputs=len(job.labels) or 1,
        hidden=hparams.hidden if hparams.head == "mlp" else None,
        output="logits" if job.classifies else "value",
        columns=columns,
    )
    network, card, prepared = with_new_head(
        job, base, head, recipe or known_table_recipe(job) or pair_recipe(job.base, job.info)
    )
    data = prepare_data(job, prepared, send, stop)

    checkpoints = Checkpoints(job.folder / "checkpoints")
    if checkpoints.last() is None:  # otherwise the checkpoint holds the head
        start_from_probe(network, prepared, data.splits["train"], data.targets.for_training("train"), hparams, stop)
    add_feature_dropout(network.head, hparams.dropout)
    if isinstance(base, ImageClassifier | ImageEncoder | TorchvisionClassifier):
        network.to(memory_format=torch.channels_last)  # trains convolutions a third faster, on a CPU too
    fit_supervised(job, data, network, training_batches(job, data), checkpoints, send, stop, card=card)


def with_new_head(
    job: TrainingJob, base: Network, head: HeadSpec, recipe: Recipe | None = None
) -> tuple[TunedNetwork, Card, PreparedExamples]:
    """A base with a new head, and with updates of few ranks where the job is of method `lora`; the card of the result; and the
    examples as that card prepares them. `recipe`: if it differs from the base's."""
    order = job.order
    adapter = adapter_for(base, job.hparams) if order.spec.method is Method.LORA else None
    network = TunedNetwork(base, Head(head)).requires_grad_(True).eval()
    if adapter is not None:
        insert_adapter(network, adapter)
    card = tuned_card(
        job.base,
        order,
        task=job.task,
        labels=job.labels,
        multi_label=job.multi_label,
        head=head,
        adapter=adapter,
        recipe=recipe,
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        base_digest=job.files.digest if job.files else NO_DIGEST,
    )
    return network, card, PreparedExamples(job.examples, task_for(card, preparation_files(job, card)))


def pretrained_backbone(job: TrainingJob) -> Network:
    """The base with its weights, without the head that it was published with."""
    assert job.files is not None
    base = build_network(job.base)
    base.drop_own_head()
    stored = with_tied(load_file(job.files.weights), base.backbone)
    base.backbone.load_state_dict({name: stored[name] for name in base.backbone.state_dict()}, strict=True)
    return base.eval()


@torch.no_grad()
def feature_width(job: TrainingJob, base: Network) -> int:
    """The number of features that the backbone gives for an example."""
    assert job.files is not None
    task = task_for(job.base, job.files)
    arrays, _ = task.collate([task.warmup_item()])
    return base.features(**{name: torch.from_numpy(array) for name, array in arrays.items()}).shape[1]


def training_batches(job: TrainingJob, data: SupervisedData) -> Batches:
    """Training data: images are augmented differently in each epoch if the job asks for it; all other inputs are prepared as in
    serving."""
    hparams, seed, device = job.hparams, job.order.spec.seed, job.order.device
    indices, targets = data.splits["train"], data.targets.for_training("train")
    recipe = job.base.recipe
    if not isinstance(recipe, ImageRecipe) or hparams.augmentation == "none":
        return PreparedBatches(data.prepared, indices, targets, hparams.batch_size, seed, device)

    from service.training.data.images import AugmentedBatches, TrainingImages  # timm is slow to import

    columns = None
    if job.task == "image-tabular-regression":
        rows = [item.tensors["columns"] for item in data.prepared.each(indices)]
        columns = torch.from_numpy(np.stack(rows))
    return AugmentedBatches(
        TrainingImages(job.examples, indices, recipe),
        recipe,
        hparams.augmentation,
        targets,
        hparams.batch_size,
        seed,
        name=job.base.signature.inputs[0].name,
        columns=columns,
        device=device,
    )


def add_feature_dropout(head: nn.Module, share: float) -> None:
    """Dropout before the head, in training only: the served network has no such layer."""

    def drop(module: nn.Module, inputs: tuple[Tensor]) -> Tensor:
        return functional.dropout(inputs[0], share, module.training)

    if share:
        head.register_forward_pre_hook(drop)
