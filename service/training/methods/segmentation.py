"""Method `full` on pictures with masks: the encoder of a classifier of pictures, and a new head for the class of each pixel."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from model_zoo.architectures.image.segmenter import FINEST
from model_zoo.architectures.wrappers import Network
from model_zoo.cards.card import Card
from model_zoo.cards.recipes import ImageRecipe
from model_zoo.cards.signature import TensorSpec
from model_zoo.network import build_network
from service.tasks.image.image_segmentation import class_map
from service.tasks.table import task_for
from service.training.artifacts.finalize import TrainedModel, finish, preparation_files
from service.training.artifacts.tuned_card import NO_DIGEST, tuned_card
from service.training.data.accounting import send_left_out
from service.training.data.prepared import PreparedBatches, PreparedExamples, predict
from service.training.data.regions.flipped import FlippedBatches, flipped_masks
from service.training.data.regions.masks import NO_CLASS, confusion, mask_of, mask_targets
from service.training.evaluation.incumbent import BATCH_ROWS, OTHER_INPUTS, OpenedIncumbent, open_incumbent
from service.training.evaluation.measurements import NotCompared, Predictions
from service.training.evaluation.mistakes import MAX_MISTAKES, Mistake
from service.training.evaluation.segmentation_metrics import segmentation
from service.training.evaluation.segmentation_pictures import pictured
from service.training.failures import CannotTrain
from service.training.job_spec import WorkOrder
from service.training.loop.checkpoint import Checkpoints
from service.training.loop.train import train
from service.training.methods.supervised import SPLITS, filled_splits, golden_inputs
from service.training.protocol import Progress, SendMessage
from service.training.stop_signal import StopSignal
from service.training.training_job import TrainingJob, open_job

LOGITS = "logits"


@dataclass(frozen=True)
class _MaskData:
    """Usable pictures, by split."""

    job: TrainingJob
    prepared: PreparedExamples
    splits: dict[str, tuple[int, ...]]
    size: tuple[int, int]
    """Height and width of the network's output, in places."""

    def targets(self, split: str) -> Tensor:
        """(n, height, width), see `mask_targets`."""
        return mask_targets(self.job.examples, self.splits[split], self.size)


def train_segmenter(order: WorkOrder, folder: Path, send: SendMessage, stop: StopSignal) -> None:
    """Runs a whole job. Sends Finished, the final message. Raises CannotTrain if no training picture is usable."""
    job = open_job(order, folder)
    send(Progress(phase="training", ratio=0.0))
    card = _card(job)
    network = _with_encoder(job, card)
    card = card.model_copy(update={"parameters": sum(parameter.numel() for parameter in network.parameters())})
    data = _prepare(job, card, send, stop)
    hparams, device = job.hparams, order.device
    train_targets, validation_targets = data.targets("train"), data.targets("validation")
    if not (train_targets != NO_CLASS).any():
        raise CannotTrain("no training picture has a pixel with a class")
    batches = PreparedBatches(
        data.prepared, data.splits["train"], train_targets, hparams.batch_size, order.spec.seed, device
    )
    flips = FlippedBatches(batches, order.spec.seed, card.signature.inputs[0].name, flipped_masks)
    network.to(device)
    state = train(
        network,
        batches if hparams.augmentation == "none" else flips,
        pixel_cross_entropy,
        partial(_validation, network, data, validation_targets, stop),
        hparams,
        Checkpoints(job.folder / "checkpoints"),
        send,
        stop,
        output=LOGITS,
        device=device,
    )
    send(Progress(phase="evaluation", ratio=0.9, step=state.step, epoch=state.epoch))
    stop.check()
    network.cpu()
    held_out = _measured(network, data.prepared, data, stop)
    finish(
        job,
        TrainedModel(
            card=card,
            network=network,
            held_out=held_out,
            incumbent=_incumbent(job, data, stop),
            train_targets=np.zeros(0),
            golden=golden_inputs(data.prepared, data.splits["test"]),
            state=state,
            splits=data.splits,
            baseline_outputs=_commonest(held_out, train_targets, len(job.labels)),
            mistakes=_worst(network, held_out, data, stop),
        ),
        send,
        stop,
    )


def pixel_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """The mean over places with a class, of logits (B, classes, h, w) and classes (B, h, w); 0 where no place has one."""
    wanted = targets.long()
    total = functional.cross_entropy(logits, wanted, ignore_index=NO_CLASS, reduction="sum")
    return total / (wanted != NO_CLASS).sum().clamp(min=1)


def _card(job: TrainingJob) -> Card:
    """The card of the result: the whole picture is stretched to the size that the encoder reads."""
    base, recipe = job.base, job.base.recipe
    assert isinstance(recipe, ImageRecipe)
    height, width = recipe.size
    whole = recipe.model_copy(update={"stretch": True, "stretch_to": None, "resize_shorter": max(height, width)})
    architecture = base.architecture.model_copy(
        update={
            "builder": "segmenter",
            "arguments": {"encoder": dict(base.architecture.arguments), "classes": len(job.labels)},
        }
    )
    return tuned_card(
        base.model_copy(update={"architecture": architecture}),
        job.order,
        task=job.task,
        labels=job.labels,
        recipe=whole,
        parameters=base.parameters,
        base_digest=job.files.digest if job.files else NO_DIGEST,
        output=TensorSpec(name=LOGITS, datatype="FP32", shape=(-1, len(job.labels), height // FINEST, width // FINEST)),
    )


def _with_encoder(job: TrainingJob, card: Card) -> Network:
    """The network of the card with the base's weights, and a new head."""
    assert job.files is not None
    torch.manual_seed(job.order.spec.seed)
    network = build_network(card)
    stored = load_file(job.files.weights)
    state = network.backbone.state_dict()
    known = {name: stored[name] for name in state if not name.startswith("mask_head.")}
    network.backbone.load_state_dict(state | known)
    return network.requires_grad_(True).eval()


def _prepare(job: TrainingJob, card: Card, send: SendMessage, stop: StopSignal) -> _MaskData:
    prepared = PreparedExamples(job.examples, task_for(card, preparation_files(job, card)))
    splits = {name: prepared.usable(job.splits[name], stop) for name in SPLITS}
    job.left_out.update(prepared.left_out)
    send_left_out(job, send)
    height, width = card.signature.outputs[0].shape[-2:]
    return _MaskData(job, prepared, filled_splits(splits, prepared, send, "picture"), (height, width))


@torch.no_grad()
def _validation(network: nn.Module, data: _MaskData, targets: Tensor, stop: StopSignal) -> dict[str, float]:
    """Mean cross entropy of the places in nats, and the mean intersection over union at the network's places."""
    indices, size, classes = data.splits["validation"], data.job.hparams.batch_size, len(data.job.labels)
    loss, counts = 0.0, np.zeros((1, classes, classes), np.int64)
    for at in range(0, len(indices), size):
        part = indices[at : at + size]
        logits = predict(network, LOGITS, data.prepared, part, size, stop, device=data.job.order.device)
        wanted = targets[at : at + size]
        loss += pixel_cross_entropy(torch.from_numpy(logits), wanted).item() * len(part)
        counts[0] += confusion(logits.argmax(axis=1), wanted.numpy(), classes)
    return {"loss": loss / len(indices), "mean_iou": float(segmentation(counts)["mean_iou"](np.ones((1, 1)))[0])}


# ── evaluation ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _masks(
    network: nn.Module, prepared: PreparedExamples, data: _MaskData, indices: Sequence[int], stop: StopSignal
) -> Iterator[tuple[NDArray[np.uint16], NDArray[np.int16]]]:
    """(found, true) masks of pictures in their own size, as a served version answers. The network must be in evaluation mode, on
    the CPU."""
    for at in range(0, len(indices), BATCH_ROWS):
        part = indices[at : at + BATCH_ROWS]
        logits = predict(network, LOGITS, prepared, part, BATCH_ROWS, stop)
        if not np.isfinite(logits).all():
            raise CannotTrain("the trained model gives no finite numbers for the held-out pictures")
        for index, row in zip(part, logits, strict=True):
            true = mask_of(data.job.examples, index)
            yield class_map(row, (true.shape[0], true.shape[1])), true


def _measured(network: nn.Module, prepared: PreparedExamples, data: _MaskData, stop: StopSignal) -> Predictions:
    indices, classes = data.splits["test"], len(data.job.labels)
    counts = [confusion(found, true, classes) for found, true in _masks(network, prepared, data, indices, stop)]
    return counted_pixels(np.stack(counts), indices)


def counted_pixels(confusions: NDArray[np.int64], indices: tuple[int, ...]) -> Predictions:
    """Counts of pixels by picture, as `Predictions` has them. Raises CannotTrain where no pixel has a class."""
    if not confusions.any():
        raise CannotTrain("no held-out picture has a pixel with a class, so the result could not be judged")
    return Predictions(confusions, confusions.sum(axis=2), indices)


def _commonest(held_out: Predictions, train_targets: Tensor, classes: int) -> NDArray[np.int64]:
    """The counts of a network that finds the commonest class of the training pixels everywhere."""
    known = train_targets[train_targets != NO_CLASS].numpy().astype(np.int64)
    outputs = np.zeros_like(held_out.outputs)
    outputs[:, :, int(np.bincount(known, minlength=classes).argmax())] = held_out.targets
    return outputs


def _worst(network: nn.Module, held_out: Predictions, data: _MaskData, stop: StopSignal) -> list[Mistake]:
    """The pictures with the lowest mean intersection over union."""
    scores = [float(segmentation(counts[None])["mean_iou"](np.ones((1, 1)))[0]) for counts in held_out.outputs]
    order = np.argsort(scores, kind="stable")[:MAX_MISTAKES].tolist()
    indices = [held_out.indices[i] for i in order]
    masks = _masks(network, data.prepared, data, indices, stop)
    return [
        pictured(data.job.examples[index], index, found, true, data.job.labels, scores[i])
        for i, index, (found, true) in zip(order, indices, masks, strict=True)
    ]


def _incumbent(job: TrainingJob, data: _MaskData, stop: StopSignal) -> Predictions | NotCompared | None:
    incumbent = open_incumbent(job)
    if not isinstance(incumbent, OpenedIncumbent):
        return incumbent
    prepared = PreparedExamples(job.examples, task_for(incumbent.card, incumbent.files))
    try:
        return _measured(incumbent.network, prepared, data, stop)
    except (CannotTrain, KeyError):
        return OTHER_INPUTS
