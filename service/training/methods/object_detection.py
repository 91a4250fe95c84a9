"""Method `full` on pictures with boxes: a detector learns classes of its own, and keeps all else that it knows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from model_zoo.architectures.image.nanodet import NanoDet
from model_zoo.architectures.wrappers import Network
from model_zoo.cards.card import Card
from model_zoo.network import build_network
from service.tasks.image.object_detection import DEFAULT_THRESHOLD
from service.tasks.table import read_labels, task_for
from service.training.artifacts.finalize import TrainedModel, finish, preparation_files
from service.training.artifacts.tuned_card import NO_DIGEST, tuned_card, with_arguments
from service.training.data.accounting import send_left_out
from service.training.data.prepared import PreparedBatches, PreparedExamples
from service.training.data.regions.boxes import box_targets, boxes_of
from service.training.data.regions.flipped import FlippedBatches, flipped_boxes
from service.training.evaluation.detection_metrics import best_threshold, detection, judged
from service.training.evaluation.incumbent import BATCH_ROWS, OTHER_INPUTS, OpenedIncumbent, open_incumbent
from service.training.evaluation.measurements import NotCompared, Predictions
from service.training.failures import CannotTrain
from service.training.job_spec import WorkOrder
from service.training.loop.checkpoint import Checkpoints
from service.training.loop.criteria import Criterion
from service.training.loop.detection_loss import detection_loss, places_of
from service.training.loop.train import train
from service.training.methods.full import pretrained_backbone
from service.training.methods.supervised import SPLITS, filled_splits, golden_inputs
from service.training.protocol import Progress, SendMessage
from service.training.stop_signal import StopSignal
from service.training.training_job import TrainingJob, open_job
from service.types import Detections, Options

LEAST_SCORE = 0.05
"""Boxes with a lower score are not measured: they would hardly change the average precision."""
JOINED = "joined"
UNTUNED, MEAN_BOX = "the base model, untuned", "always the mean box of the commonest class"

Boxes = list[NDArray[np.float64]]
"""By picture: (n, 6) of label, score and corners as shares, or (n, 5) without the score."""


@dataclass(frozen=True)
class _BoxData:
    """Usable pictures and their boxes."""

    prepared: PreparedExamples
    splits: dict[str, tuple[int, ...]]
    boxes: dict[int, NDArray[np.float64]]
    """By index of the example, (n, 5)."""

    def of(self, split: str) -> Boxes:
        """The boxes of a split's pictures, in order."""
        return [self.boxes[index] for index in self.splits[split]]


class JoinedOutputs(nn.Module):
    """A detector that gives logits and boxes as one tensor, (B, P, classes + 4), as the training loop takes them."""

    def __init__(self, detector: Network) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, pixel_values: Tensor) -> dict[str, Tensor]:
        """(B, 3, H, W) → `JOINED`."""
        found = self.detector(pixel_values=pixel_values)
        return {JOINED: torch.cat([found["logits"].float(), found["pred_boxes"].float()], dim=2)}


def train_detector(order: WorkOrder, folder: Path, send: SendMessage, stop: StopSignal) -> None:
    """Runs a whole job. Sends Finished, the final message. Raises CannotTrain if no training picture, or no held-out box, is
    usable."""
    job = open_job(order, folder)
    send(Progress(phase="training", ratio=0.0))
    base = pretrained_backbone(job)
    known = read_labels(job.base, _base_folder(job))
    card = tuned_card(
        with_arguments(job.base, {"classes": len(job.labels)}),
        order,
        task=job.task,
        labels=job.labels,
        parameters=job.base.parameters,
        base_digest=job.files.digest if job.files else NO_DIGEST,
    )
    network = _with_classes(base, card, [known.index(name) if name in known else None for name in job.labels], job)
    card = card.model_copy(update={"parameters": sum(parameter.numel() for parameter in network.parameters())})
    data = _prepare(job, card, send, stop)
    criterion = _criterion(network, card, order.device)
    checkpoints = Checkpoints(job.folder / "checkpoints")
    joined = JoinedOutputs(network).to(order.device)
    hparams = job.hparams

    def validate() -> dict[str, float]:
        return _validation(joined, criterion, data, job, stop)

    batches = PreparedBatches(
        data.prepared,
        data.splits["train"],
        box_targets(data.of("train")),
        hparams.batch_size,
        order.spec.seed,
        order.device,
    )
    state = train(
        joined,
        batches
        if hparams.augmentation == "none"
        else FlippedBatches(batches, order.spec.seed, card.signature.inputs[0].name, flipped_boxes),
        criterion,
        validate,
        hparams,
        checkpoints,
        send,
        stop,
        output=JOINED,
        device=order.device,
    )
    send(Progress(phase="evaluation", ratio=0.9, step=state.step, epoch=state.epoch))
    stop.check()
    network.cpu()
    _set_threshold(network, data, len(job.labels), hparams.batch_size, stop)
    found = _found(network, data.prepared, data.splits["test"], hparams.batch_size, stop)
    kind, baseline = _baseline(job, base, known, data, stop)
    finish(
        job,
        TrainedModel(
            card=card,
            network=network,
            held_out=_judged(job, found, data),
            incumbent=_incumbent(job, data, stop),
            train_targets=np.zeros(0),
            golden=golden_inputs(data.prepared, data.splits["test"]),
            state=state,
            splits=data.splits,
            baseline_outputs=_judged(job, baseline, data).outputs,
            baseline_kind=kind,
        ),
        send,
        stop,
    )


def _base_folder(job: TrainingJob) -> Path:
    """The folder with the names of the base's classes."""
    assert job.files is not None
    return job.files.folder


def _with_classes(base: Network, card: Card, rows: Sequence[int | None], job: TrainingJob) -> Network:
    """The network of a card with the base's weights; its classes are those of the base with these numbers, or new ones."""
    detector = base.backbone
    assert isinstance(detector, NanoDet)
    torch.manual_seed(job.order.spec.seed)
    network = build_network(card)
    network.backbone.load_state_dict(detector.state_for_classes(rows))
    return network.requires_grad_(True).eval()


def _prepare(job: TrainingJob, card: Card, send: SendMessage, stop: StopSignal) -> _BoxData:
    prepared = PreparedExamples(job.examples, task_for(card, preparation_files(job, card)))
    splits = {name: prepared.usable(job.splits[name], stop) for name in SPLITS}
    job.left_out.update(prepared.left_out)
    send_left_out(job, send)
    splits = filled_splits(splits, prepared, send, "picture")
    boxes = {index: boxes_of(job.examples, index) for indices in splits.values() for index in indices}
    data = _BoxData(prepared, splits, boxes)
    for split, what in (("train", "learned"), ("test", "judged")):
        if not any(map(len, data.of(split))):
            which = "training" if split == "train" else "held-out"
            raise CannotTrain(f"no {which} picture has a box, so nothing could be {what}")
    return data


def _criterion(network: Network, card: Card, device: str) -> Criterion:
    detector = network.backbone
    assert isinstance(detector, NanoDet)
    height, width = card.signature.inputs[0].shape[-2:]
    return partial(detection_loss, places_of(detector.strides, height, width, device))


@torch.no_grad()
def _validation(
    network: nn.Module, criterion: Criterion, data: _BoxData, job: TrainingJob, stop: StopSignal
) -> dict[str, float]:
    """The mean loss of the batches, and map_50."""
    indices, size, device = data.splits["validation"], job.hparams.batch_size, job.order.device
    found: Boxes = []
    loss = 0.0
    for at in range(0, len(indices), size):
        stop.check_cancel()
        part = indices[at : at + size]
        outputs: Tensor = network(**data.prepared.collate(part, device))[JOINED]
        targets = box_targets([data.boxes[index] for index in part]).to(device)
        loss += criterion(outputs.float(), targets).item() * len(part)
        rows = outputs.float().cpu().numpy()
        found += [
            _objects(data.prepared, index, row[:, :-4], row[:, -4:]) for index, row in zip(part, rows, strict=True)
        ]
    statistics = detection(*judged(found, data.of("validation"), len(job.labels)))
    value = float(statistics["map_50"](np.ones((1, len(indices))))[0])
    return {"loss": loss / len(indices), **({"map_50": value} if np.isfinite(value) else {})}


def _set_threshold(network: Network, data: _BoxData, labels: int, batch_size: int, stop: StopSignal) -> None:
    """Shifts the scores, so that the best threshold on validation data becomes the usual one. The order of boxes stays."""
    detector = network.backbone
    assert isinstance(detector, NanoDet)
    found = _found(network, data.prepared, data.splits["validation"], batch_size, stop)
    best = best_threshold(*judged(found, data.of("validation"), labels))
    if best is not None:
        best = min(max(best, LEAST_SCORE), 1.0 - LEAST_SCORE)
        detector.shift_logits(logit(DEFAULT_THRESHOLD) - logit(best))


def logit(score: float) -> float:
    """The logit of a score between 0 and 1."""
    return math.log(score / (1.0 - score))


# ── evaluation ────────────────────────────────────────────────────────────────────────────────────────────────────────


@torch.no_grad()
def _found(
    network: nn.Module, prepared: PreparedExamples, indices: Sequence[int], batch_size: int, stop: StopSignal
) -> Boxes:
    """The boxes that a served version would give for pictures. The network must be in evaluation mode, on the CPU."""
    found: Boxes = []
    for at in range(0, len(indices), batch_size):
        stop.check_cancel()
        part = indices[at : at + batch_size]
        outputs = network(**prepared.collate(part))
        logits, boxes = (outputs[spec.name].float().numpy() for spec in prepared.task.card.signature.outputs[:2])
        if not (np.isfinite(logits).all() and np.isfinite(boxes).all()):
            raise CannotTrain("the trained model gives no finite numbers for the held-out pictures")
        found += [_objects(prepared, i, *rows) for i, *rows in zip(part, logits, boxes, strict=True)]
    return found


def _objects(
    prepared: PreparedExamples, index: int, logits: NDArray[np.float32], boxes: NDArray[np.float32]
) -> NDArray[np.float64]:
    """The objects of one picture, (n, 6), by the rule of the card."""
    (item,) = prepared.items([index])
    names = [spec.name for spec in prepared.task.card.signature.outputs[:2]]
    row = dict(zip(names, (logits, boxes), strict=True))
    answer = prepared.task.postprocess(row, item, Options(threshold=LEAST_SCORE))
    assert isinstance(answer, Detections)
    size = np.array([answer.width, answer.height, answer.width, answer.height], np.float64)
    rows = [(o.index, o.score, o.box.xmin, o.box.ymin, o.box.xmax, o.box.ymax) for o in answer.objects]
    objects = np.array(rows, np.float64).reshape(-1, 6)
    objects[:, 2:] /= size
    return objects


def _judged(job: TrainingJob, found: Boxes, data: _BoxData) -> Predictions:
    return Predictions(*judged(found, data.of("test"), len(job.labels)), data.splits["test"])


def _baseline(
    job: TrainingJob, base: Network, known: Sequence[str], data: _BoxData, stop: StopSignal
) -> tuple[str, Boxes]:
    """The untuned base where it knows all classes; else the mean box of the commonest class, in every picture."""
    indices = data.splits["test"]
    if set(job.labels) <= set(known):
        assert job.files is not None
        prepared = PreparedExamples(job.examples, task_for(job.base, job.files))
        numbers = {known.index(name): i for i, name in enumerate(job.labels)}
        found = []
        for rows in _found(base, prepared, indices, BATCH_ROWS, stop):
            ours = rows[np.isin(rows[:, 0], list(numbers))]
            ours[:, 0] = [numbers[int(number)] for number in ours[:, 0]]
            found.append(ours)
        return UNTUNED, found
    learned = np.concatenate(data.of("train"))
    commonest = int(np.bincount(learned[:, 0].astype(np.int64)).argmax())
    mean = learned[learned[:, 0] == commonest, 1:].mean(axis=0)
    return MEAN_BOX, [np.array([[commonest, 1.0, *mean]])] * len(indices)


def _incumbent(job: TrainingJob, data: _BoxData, stop: StopSignal) -> Predictions | NotCompared | None:
    incumbent = open_incumbent(job)
    if not isinstance(incumbent, OpenedIncumbent):
        return incumbent
    prepared = PreparedExamples(job.examples, task_for(incumbent.card, incumbent.files))
    try:
        found = _found(incumbent.network, prepared, data.splits["test"], BATCH_ROWS, stop)
    except (CannotTrain, KeyError):
        return OTHER_INPUTS
    return _judged(job, found, data)
