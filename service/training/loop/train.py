"""The training loop: one for every network and every task. Arguments hold everything that differs.

The loop reads top to bottom: forward, loss, backward, step; after each epoch validation, early stopping and a checkpoint. The
weights at the start are the first candidate: if no epoch improves on them, they are the result.

A resumed run gives, bit by bit, the weights of a run that was never interrupted: `LoopState` and the checkpoint hold everything
that decides what comes next.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from service.rounding import format_apart
from service.runtime.precision import has_instructions
from service.training.failures import Diverged
from service.training.hyperparameters import Hyperparameters
from service.training.loop.checkpoint import Checkpoints, LoopState
from service.training.loop.criteria import Criterion
from service.training.loop.optimizer import make_optimizer, schedule, set_rates
from service.training.protocol import CheckpointWritten, Log, Metric, Progress, SendMessage
from service.training.stop_signal import StopRequested, StopSignal

TRAINING_SHARE = 0.9
"""Of the whole job's progress; evaluation and publishing are the rest."""
MAX_LOSS_RATIO = 1000.0
"""A loss that is higher than this multiple of the first loss has diverged."""
MAX_WEIGHT = 1e6
"""A weight above this has diverged: the networks' inputs are normalised."""
PROGRESS_S = 0.5
"""Between two progress messages."""
EPOCH_CHECKPOINT_S, MAX_CHECKPOINT_S = 2.0, 60.0
"""Ages of the last checkpoint: at the end of an epoch a new one is written at the first age, within an epoch at the second."""


@dataclass(frozen=True, slots=True)
class TrainingBatch:
    """The network's inputs by name, and its targets, each (B, …)."""

    inputs: dict[str, Tensor]
    targets: Tensor


class Batches(Protocol):
    """Training data. The number of an epoch alone decides its batches."""

    per_epoch: int

    def epoch(self, epoch: int, start: int) -> Iterator[TrainingBatch]:
        """The batches of an epoch in order, from number `start` on."""


Validate = Callable[[], dict[str, float]]
"""Measures the network, in evaluation mode, on validation data. `loss` is always among the metrics."""


def train(
    network: nn.Module,
    batches: Batches,
    criterion: Criterion,
    validate: Validate,
    hparams: Hyperparameters,
    checkpoints: Checkpoints,
    send: SendMessage,
    stop: StopSignal,
    *,
    output: str,
    device: str = "cpu",
) -> LoopState:
    """Trains the parameters that require a gradient, and leaves `network` with the weights of the lowest validation loss.

    Args:
        network: takes a batch's inputs by name and returns a dict of outputs, of which `output` is trained.

    Raises:
        StopRequested: the worker must stop. On `pause` there is a checkpoint of this very step; on `cancel` nothing is written.
        Diverged: the loss, a gradient or a weight is out of bounds; no checkpoint holds such a value.
    """
    per_epoch = math.ceil(batches.per_epoch / hparams.accumulation)  # steps
    steps = per_epoch * hparams.epochs
    optimizer = make_optimizer(network, hparams)
    state = checkpoints.restore(network, optimizer)
    for step in checkpoints.damaged:
        send(Log(level="warning", text=f"the checkpoint of step {step} is damaged and was left out"))
    if state is None:
        state = LoopState()
        network.eval()
        record_start(state, validate(), send)
        send(checkpoints.save(network, optimizer, state))
    timer = LoopTimer(send, state, steps)

    while not state.finished:
        switch_to_training(network, hparams)
        for batch in batches.epoch(state.epoch, state.batch):
            stop.check_cancel()
            set_rates(optimizer, schedule(state.step, steps, hparams.warmup_ratio))

            with torch.autocast(device.partition(":")[0], torch.bfloat16, enabled=uses_bf16(hparams, device)):
                outputs = network(**batch.inputs)[output]  # forward
                loss = criterion(outputs.float(), batch.targets)
            group = min(
                hparams.accumulation, batches.per_epoch - state.batch // hparams.accumulation * hparams.accumulation
            )
            (loss / group).backward()  # type: ignore[no-untyped-call]  # backward

            count_batch(state, loss.item(), len(batch.targets))
            if state.batch % hparams.accumulation and state.batch < batches.per_epoch:
                continue  # the gradients of more batches are added before the step

            norm = clip_grad_norm_(network.parameters(), hparams.gradient_clip or math.inf)
            check_divergence(checkpoints, state, loss.item(), gradient=norm.item())
            optimizer.step()  # step
            optimizer.zero_grad()
            state.step += 1

            timer.count_step()
            within_epoch = state.batch < batches.per_epoch
            if stop.pause.is_set() or (within_epoch and timer.checkpoint_is_due(hparams)):
                send(timer.reset_checkpoint(checkpoints.save(network, optimizer, state)))
            if stop.requested:
                raise StopRequested

        network.eval()
        metrics = validate()
        check_divergence(checkpoints, state, metrics["loss"], weight=largest_weight(network))
        record_epoch(state, metrics, hparams, optimizer.param_groups[-1]["lr"], send)
        if state.best_step == state.step:
            checkpoints.note_best(network, state)
        if state.finished or stop.pause.is_set() or timer.checkpoint_is_due(hparams, epoch_ended=True):
            send(timer.reset_checkpoint(checkpoints.save(network, optimizer, state)))
        if stop.requested:
            raise StopRequested

    checkpoints.load_best(network, state)
    network.eval()
    return state


def switch_to_training(network: nn.Module, hparams: Hyperparameters) -> None:
    """Training mode, with dropout. Frozen batch norms keep their running means."""
    network.train()
    if hparams.batch_norm == "frozen":
        for module in network.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()


def uses_bf16(hparams: Hyperparameters, device: str) -> bool:
    """Whether the forward pass computes in bf16: if the user asked for it, or by default if the device has instructions for
    it."""
    return hparams.precision == "bf16" or (hparams.precision == "auto" and has_instructions("bf16", device))


def count_batch(state: LoopState, loss: float, rows: int) -> None:
    """Adds a finished batch to the state."""
    state.batch += 1
    state.loss_sum += loss * rows
    state.rows += rows
    if state.first_loss is None:
        state.first_loss = loss


def check_divergence(
    checkpoints: Checkpoints, state: LoopState, loss: float, gradient: float = 0.0, weight: float = 0.0
) -> None:
    """Raises Diverged if a value is not finite or far out of bounds, after the best weights so far are on disk."""
    if not all(map(math.isfinite, (loss, state.loss_sum, gradient, weight))):
        observed = "the loss or a gradient is no finite number any more"
    elif weight > MAX_WEIGHT:
        observed = f"a weight has become {weight:.3g}"
    elif loss > MAX_LOSS_RATIO * max(state.first_loss or 0.0, 1.0):
        before, now = format_apart(state.first_loss or 0.0, loss, digits=3)
        observed = f"the loss rose from {before} to {now}"
    else:
        return
    checkpoints.write_best()
    raise Diverged(state.step, observed, state.best_step)


def largest_weight(network: nn.Module) -> float:
    """The largest absolute value among the trained weights."""
    return max((p.detach().abs().max().item() for p in network.parameters() if p.requires_grad), default=0.0)


def record_start(state: LoopState, metrics: dict[str, float], send: SendMessage) -> None:
    """Records the metrics before the first step: every epoch must improve on them."""
    state.curves += [Metric(name=name, split="validation", value=value, step=0) for name, value in metrics.items()]
    for metric in state.curves:
        send(metric)
    if math.isfinite(metrics["loss"]):
        state.best = metrics["loss"]


def record_epoch(
    state: LoopState, metrics: dict[str, float], hparams: Hyperparameters, rate: float, send: SendMessage
) -> None:
    """Records an epoch's metrics, updates the best loss, and decides whether training ends."""
    epoch = state.epoch + 1  # users count from 1
    curves = [Metric(name="loss", split="train", value=state.loss_sum / state.rows, step=state.step, epoch=epoch)]
    curves += [
        Metric(name=name, split="validation", value=value, step=state.step, epoch=epoch)
        for name, value in metrics.items()
    ]
    curves.append(Metric(name="learning_rate", split="train", value=rate, step=state.step, epoch=epoch))
    for metric in curves:
        send(metric)
    state.curves += curves
    if state.best is None or metrics["loss"] < state.best:
        state.best, state.best_step, state.stale = metrics["loss"], state.step, 0
    else:
        state.stale += 1
    state.epoch, state.batch, state.loss_sum, state.rows = state.epoch + 1, 0, 0.0, 0
    state.finished = state.epoch >= hparams.epochs or (hparams.patience > 0 and state.stale >= hparams.patience)


class LoopTimer:
    """Measures the time of the loop: sends progress with the remaining time, and says when the next checkpoint is due."""

    def __init__(self, send: SendMessage, state: LoopState, steps: int) -> None:
        self._send = send
        self._state = state
        self._steps = steps
        self._began = self._last_step = self._last_progress = self._last_checkpoint = time.monotonic()
        self._first_step = state.step

    def count_step(self) -> None:
        """One more step is done."""
        now = time.monotonic()
        self._state.seconds += now - self._last_step
        self._last_step = now
        if now - self._last_progress < PROGRESS_S:
            return
        self._last_progress = now
        done, left = self._state.step - self._first_step, self._steps - self._state.step
        self._send(
            Progress(
                phase="training",
                ratio=TRAINING_SHARE * self._state.step / self._steps,
                step=self._state.step,
                steps=self._steps,
                epoch=self._state.epoch + 1,
                remaining_s=round((now - self._began) / done * left, 1),
            )
        )

    def checkpoint_is_due(self, hparams: Hyperparameters, epoch_ended: bool = False) -> bool:
        """Whether a checkpoint is worth its time."""
        if hparams.checkpoint_steps:
            return self._state.step % hparams.checkpoint_steps == 0
        return time.monotonic() - self._last_checkpoint >= (EPOCH_CHECKPOINT_S if epoch_ended else MAX_CHECKPOINT_S)

    def reset_checkpoint(self, written: CheckpointWritten) -> CheckpointWritten:
        """Notes the time of a checkpoint that has been written, and returns its message."""
        self._last_checkpoint = time.monotonic()
        return written
