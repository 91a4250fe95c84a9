"""A language model over characters, trained on plain text to predict the next character at every step."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from model_zoo.cards.recipes import CharacterRecipe
from model_zoo.cards.weight_source import TunedSource
from model_zoo.network import load_network
from service.tasks.text.character_input import Alphabet
from service.training.artifacts.finalize import TrainedModel, finish
from service.training.artifacts.tuned_card import tuned_card
from service.training.data.accounting import send_left_out
from service.training.data.prepared import TensorBatches
from service.training.evaluation.incumbent import OpenedIncumbent, open_incumbent
from service.training.evaluation.measurements import NotCompared, Predictions
from service.training.failures import CannotTrain
from service.training.job_spec import WorkOrder
from service.training.loop.checkpoint import Checkpoints
from service.training.loop.train import train
from service.training.protocol import Progress, SendMessage
from service.training.stop_signal import StopSignal
from service.training.training_job import TrainingJob, open_job
from service.types import TextInstance

LOGITS = "logits"
BATCH_STRETCHES = 64
"""Stretches of text that are measured in one forward pass."""
Ids = NDArray[np.int64]


class EveryStep(nn.Module):
    """The network in training: it gives the logits of the next character at every step, not only after the last one."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, input_ids: Tensor) -> dict[str, Tensor]:
        """(B, T) → ``logits`` (B, T, symbols)."""
        backbone: Any = self.network.backbone
        return {LOGITS: backbone.every_step(input_ids)}


def train_language_model(order: WorkOrder, folder: Path, send: SendMessage, stop: StopSignal) -> None:
    """Runs a whole job on plain text."""
    job = open_job(order, folder)
    send(Progress(phase="training", ratio=0.0))
    device, hparams = order.device, job.hparams
    recipe = job.base.recipe
    assert isinstance(recipe, CharacterRecipe)
    assert job.files is not None
    alphabet = Alphabet(job.files.files[recipe.alphabet], recipe)
    window, pad = recipe.window, recipe.pad_id
    texts = {split: encode_texts(job, alphabet, recipe, split) for split in ("train", "validation", "test")}
    send_left_out(job, send)

    network = load_network(job.base, job.files).requires_grad_(True)
    card = tuned_card(
        job.base, order, task=job.task, labels=(), parameters=job.base.parameters, base_digest=job.files.digest
    )
    every_step = EveryStep(network).to(device)

    def criterion(logits: Tensor, targets: Tensor) -> Tensor:
        # In serving a whole window precedes the predicted character; characters with a shorter context do not count.
        logits, targets = logits[:, -window:], targets[:, -window:]
        return functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=pad)

    def validate() -> dict[str, float]:
        nats, counts = likelihoods(every_step, texts["validation"], window, pad, stop, device)
        loss = float((nats * counts).sum() / counts.sum())
        return {"loss": loss, "bits_per_character": loss / np.log(2)}

    stretches = cut_stretches(texts["train"], window, pad)
    inputs, targets = stretches[:, :-1].contiguous(), stretches[:, 1:].contiguous()
    batches = TensorBatches({"input_ids": inputs}, targets, hparams.batch_size, order.spec.seed, device)
    checkpoints = Checkpoints(folder / "checkpoints")
    state = train(
        every_step, batches, criterion, validate, hparams, checkpoints, send, stop, output=LOGITS, device=device
    )

    send(Progress(phase="evaluation", ratio=0.9, step=state.step, epoch=state.epoch))
    stop.check()
    nats, counts = likelihoods(every_step, texts["test"], window, pad, stop, device)
    untuned = EveryStep(load_network(job.base, job.files)).to(device)
    incumbent = incumbent_likelihoods(job, texts["test"], counts, stop)
    model = TrainedModel(
        card=card,
        network=network.cpu(),
        held_out=Predictions(nats, counts, tuple(range(len(counts)))),
        train_targets=np.concatenate(texts["train"]),
        golden=[last_window(text, window) for text in texts["test"][:3]],
        state=state,
        splits=job.splits,
        baseline_outputs=likelihoods(untuned, texts["test"], window, pad, stop, device)[0],
        incumbent=incumbent,
    )
    finish(job, model, send, stop)


def encode_texts(job: TrainingJob, alphabet: Alphabet, recipe: CharacterRecipe, split: str) -> list[Ids]:
    """Each text as ids, after the prefix that serving adds: padding and then the border, together as long as a window.

    Raises CannotTrain if no text of the split has a known character.
    """
    prefix = np.full(recipe.window, recipe.pad_id, np.int64)
    if alphabet.border is not None:
        prefix[-1] = alphabet.border
    texts = []
    for index in job.splits[split]:
        text = job.examples[index].instance
        assert isinstance(text, TextInstance)
        ids = alphabet.encode(text.data.decode())
        if len(ids):
            texts.append(np.concatenate([prefix, ids]))
        else:
            job.left_out[index] = f"holds no character that {job.base.name!r} knows"
    if not texts:
        raise CannotTrain(f"there is no text for {split} with characters that {job.base.name!r} knows; give more text")
    return texts


def cut_stretches(texts: Sequence[Ids], window: int, pad: int) -> Tensor:
    """(n, 2 · window) ids. The second halves contain every character once; the first halves are their contexts."""
    stretches = []
    for text in texts:
        for at in range(0, len(text) - window, window):
            stretch = np.full(2 * window, pad, np.int64)
            part = text[at : at + 2 * window]
            stretch[: len(part)] = part
            stretches.append(stretch)
    return torch.from_numpy(np.stack(stretches))


@torch.no_grad()
def likelihoods(
    network: nn.Module, texts: Sequence[Ids], window: int, pad: int, stop: StopSignal, device: str = "cpu"
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The mean negative log-likelihood (nats) of each stretch of `window` characters, and its number of characters."""
    stretches = cut_stretches(texts, window, pad)
    nats, counts = [], []
    for at in range(0, len(stretches), BATCH_STRETCHES):
        stop.check_cancel()
        ids = stretches[at : at + BATCH_STRETCHES].to(device)
        logits = network(ids[:, :-1])[LOGITS][:, -window:]  # (B, window, symbols)
        targets = ids[:, -window:]
        losses = functional.cross_entropy(logits.transpose(1, 2), targets, ignore_index=pad, reduction="none")
        known = (targets != pad).sum(dim=1)
        nats.append((losses.sum(dim=1) / known).double().cpu().numpy())
        counts.append(known.cpu().numpy())
    return np.concatenate(nats), np.concatenate(counts)


def incumbent_likelihoods(
    job: TrainingJob, texts: Sequence[Ids], counts: NDArray[np.int64], stop: StopSignal
) -> Predictions | NotCompared | None:
    """The incumbent's likelihoods of the same characters. One of another base has another alphabet and cannot be compared."""
    incumbent = open_incumbent(job)
    if not isinstance(incumbent, OpenedIncumbent):
        return incumbent
    recipe = incumbent.card.recipe
    source = incumbent.card.source
    if not isinstance(recipe, CharacterRecipe) or not isinstance(source, TunedSource) or source.base != job.base.name:
        return NotCompared("it was tuned from another base")
    nats, _ = likelihoods(EveryStep(incumbent.network), texts, recipe.window, recipe.pad_id, stop)
    return Predictions(nats, counts, tuple(range(len(counts))))


def last_window(text: Ids, window: int) -> dict[str, NDArray[np.generic]]:
    """The inputs with which serving would continue the text."""
    ids = text[-window:]
    return {"input_ids": ids, "attention_mask": np.ones_like(ids)}
