"""A language model over characters learns from plain text: at every character, what comes next."""

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
from service.training.artifacts.finalize import Result, finish
from service.training.artifacts.tuned_card import tuned_card
from service.training.data.accounting import tell_left_out
from service.training.data.prepared import TensorBatches
from service.training.evaluation.evaluate import NotCompared, Predictions
from service.training.evaluation.incumbent import Opened, open_incumbent
from service.training.failures import CannotTrain
from service.training.job_spec import WorkOrder
from service.training.loop.checkpoint import Checkpoints
from service.training.loop.train import train
from service.training.protocol import Progress
from service.training.stop_signal import StopSignal
from service.training.training_job import Job, Say, open_job
from service.types import TextInstance

LOGITS = "logits"
ROWS = 64
"""Windows that are measured together."""
Ids = NDArray[np.int64]


class EveryStep(nn.Module):
    """The network as it learns: at each of its steps it says what comes next, not only after the last one."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, input_ids: Tensor) -> dict[str, Tensor]:
        """(B, T) → ``logits`` (B, T, symbols)."""
        backbone: Any = self.network.backbone
        return {LOGITS: backbone.every_step(input_ids)}


def train_language_model(order: WorkOrder, folder: Path, say: Say, told: StopSignal) -> None:
    """The whole of a job on plain text."""
    job = open_job(order, folder)
    say(Progress(phase="training", ratio=0.0))
    device, knobs = order.device, job.knobs
    recipe = job.base.recipe
    assert isinstance(recipe, CharacterRecipe)
    assert job.files is not None
    alphabet = Alphabet(job.files.files[recipe.alphabet], recipe)
    window, pad = recipe.window, recipe.pad_id
    texts = {split: texts_of(job, alphabet, recipe, split) for split in ("train", "validation", "test")}
    tell_left_out(job, say)

    network = load_network(job.base, job.files).requires_grad_(True)
    card = tuned_card(
        job.base, order, task=job.task, labels=(), parameters=job.base.parameters, base_digest=job.files.digest
    )
    every_step = EveryStep(network).to(device)

    def criterion(logits: Tensor, wanted: Tensor) -> Tensor:
        # As in serving, where a whole window stands before the character in question: what less is behind does not count.
        logits, wanted = logits[:, -window:], wanted[:, -window:]
        return functional.cross_entropy(logits.flatten(0, 1), wanted.flatten(), ignore_index=pad)

    def validate() -> dict[str, float]:
        nats, counts = likelihoods(every_step, texts["validation"], window, pad, told, device)
        loss = float((nats * counts).sum() / counts.sum())
        return {"loss": loss, "bits_per_character": loss / np.log(2)}

    stretches = stretches_of(texts["train"], window, pad)
    batches = TensorBatches(
        {"input_ids": stretches[:, :-1].contiguous()},
        stretches[:, 1:].contiguous(),
        knobs.batch_size,
        order.spec.seed,
        device,
    )
    state = train(
        every_step,
        batches,
        criterion,
        validate,
        knobs,
        Checkpoints(folder / "checkpoints"),
        say,
        told,
        output=LOGITS,
        device=device,
    )

    say(Progress(phase="evaluation", ratio=0.9, step=state.step, epoch=state.epoch))
    told.check()
    nats, counts = likelihoods(every_step, texts["test"], window, pad, told, device)
    untuned = EveryStep(load_network(job.base, job.files)).to(device)
    theirs = rival_likelihoods(job, texts["test"], counts, told)
    result = Result(
        card=card,
        network=network.cpu(),
        held_out=Predictions(nats, counts, tuple(range(len(counts)))),
        train_targets=np.concatenate(texts["train"]),
        golden=[last_window(text, window) for text in texts["test"][:3]],
        state=state,
        splits=job.splits,
        baseline_outputs=likelihoods(untuned, texts["test"], window, pad, told, device)[0],
        rival=theirs,
    )
    finish(job, result, say, told)


def texts_of(job: Job, alphabet: Alphabet, recipe: CharacterRecipe, split: str) -> list[Ids]:
    """Each text as ids, behind what serving puts in front of one: zeros, then the border, as long as the window together."""
    front = np.full(recipe.window, recipe.pad_id, np.int64)
    if alphabet.border is not None:
        front[-1] = alphabet.border
    found = []
    for index in job.splits[split]:
        text = job.examples[index].instance
        assert isinstance(text, TextInstance)
        ids = alphabet.encode(text.data.decode())
        if len(ids):
            found.append(np.concatenate([front, ids]))
        else:
            job.left_out[index] = f"holds no character that {job.base.name!r} knows"
    if not found:
        raise CannotTrain(f"there is no text for {split} with characters that {job.base.name!r} knows; give more text")
    return found


def stretches_of(texts: Sequence[Ids], window: int, pad: int) -> Tensor:
    """(n, 2 · window) ids. The second halves hold every character once; the first ones what the network looks back on."""
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
    network: nn.Module, texts: Sequence[Ids], window: int, pad: int, told: StopSignal, device: str = "cpu"
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Mean negative log-likelihood (nats) of each stretch of `window` characters, and how many characters it has."""
    stretches = stretches_of(texts, window, pad)
    nats, counts = [], []
    for at in range(0, len(stretches), ROWS):
        if told.cancel.is_set():
            told.check()
        ids = stretches[at : at + ROWS].to(device)
        logits = network(ids[:, :-1])[LOGITS][:, -window:]  # (B, window, symbols)
        wanted = ids[:, -window:]
        losses = functional.cross_entropy(logits.transpose(1, 2), wanted, ignore_index=pad, reduction="none")
        known = (wanted != pad).sum(dim=1)
        nats.append((losses.sum(dim=1) / known).double().cpu().numpy())
        counts.append(known.cpu().numpy())
    return np.concatenate(nats), np.concatenate(counts)


def rival_likelihoods(
    job: Job, texts: Sequence[Ids], counts: NDArray[np.int64], told: StopSignal
) -> Predictions | NotCompared | None:
    """What is served now, on the same characters; one of another base knows other characters."""
    rival = open_incumbent(job)
    if not isinstance(rival, Opened):
        return rival
    recipe = rival.card.recipe
    source = rival.card.source
    if not isinstance(recipe, CharacterRecipe) or not isinstance(source, TunedSource) or source.base != job.base.name:
        return NotCompared("it was tuned from another base")
    nats, _ = likelihoods(EveryStep(rival.network), texts, recipe.window, recipe.pad_id, told)
    return Predictions(nats, counts, tuple(range(len(counts))))


def last_window(text: Ids, window: int) -> dict[str, NDArray[np.generic]]:
    """The inputs with which serving would continue it."""
    ids = text[-window:]
    return {"input_ids": ids, "attention_mask": np.ones_like(ids)}
