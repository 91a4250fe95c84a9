"""The training loop. One for every network and every task; what differs comes in as arguments.

It reads top to bottom: forward, loss, backward, step; then, after each epoch, validation, early stopping and the checkpoint. What
training begins with is the first candidate: a start that no epoch improves on is what comes out.
Whatever it needs to go on after a crash is in `State` and in the checkpoint, and nothing else decides what comes next: a run
that is resumed gives, bit by bit, the weights of one that was never interrupted.
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
from service.training.loop.checkpoint import Checkpoints, State
from service.training.loop.optimizer import make_optimiser, schedule, set_rates
from service.training.protocol import CheckpointWritten, Log, Metric, Progress, WorkerMessage
from service.training.stop_signal import StopRequested, StopSignal

Say = Callable[[WorkerMessage], None]

SHARE = 0.9
"""Of the whole job's progress that training takes; evaluation and publishing are the rest."""
EXPLODED = 1000.0
"""So many times the loss that training began with is no learning any more."""
HUGE_WEIGHT = 1e6
"""Networks whose inputs are normalised have no use for such a weight."""
SPEAK_S = 0.5
"""Between two lines of progress."""
EPOCH_SAVE_S, MOST_SAVE_S = 2.0, 60.0
"""No checkpoint at an epoch's end if the last is younger; one in the middle of it if the last is older."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows that are learned from together: the network's inputs by name, and what it should have given, each (B, …)."""

    inputs: dict[str, Tensor]
    targets: Tensor


class Batches(Protocol):
    """Training data. The batches of an epoch follow from its number alone."""

    per_epoch: int

    def epoch(self, epoch: int, start: int) -> Iterator[Batch]:
        """Those of an epoch, in order, from number `start` on."""


Validate = Callable[[], dict[str, float]]
"""Measures the network, in evaluation mode, on validation data; `loss` is always among the figures."""


def train(
    network: nn.Module,
    batches: Batches,
    criterion: Callable[[Tensor, Tensor], Tensor],
    validate: Validate,
    knobs: Hyperparameters,
    checkpoints: Checkpoints,
    say: Say,
    told: StopSignal,
    *,
    output: str,
    device: str = "cpu",
) -> State:
    """Trains what has a gradient, and leaves `network` with the weights that did best on validation data.

    Args:
        network: takes a batch's inputs by name, gives a dict of outputs, of which `output` is trained.
        criterion: (output, targets) → mean loss of the batch.

    Raises:
        Rested: told to. On `pause` there is a checkpoint of this very step; on `cancel` nothing is written.
        Diverged: the loss, a gradient or a weight has left all bounds; the checkpoints hold none of it.
    """
    per_epoch = math.ceil(batches.per_epoch / knobs.accumulation)  # steps
    steps = per_epoch * knobs.epochs
    optimiser = make_optimiser(network, knobs)
    state = checkpoints.restore(network, optimiser)
    for step in checkpoints.damaged:
        say(Log(level="warning", text=f"the checkpoint of step {step} is damaged and was left out"))
    if state is None:
        state = State()
        network.eval()
        conclude_start(state, validate(), say)
        say(checkpoints.save(network, optimiser, state))
    pace = Pace(say, state, steps)

    while not state.finished:
        switch_to_training(network, knobs)
        for batch in batches.epoch(state.epoch, state.batch):
            if told.cancel.is_set():
                raise StopRequested
            set_rates(optimiser, schedule(state.step, steps, knobs.warmup_ratio))

            with torch.autocast(device.partition(":")[0], torch.bfloat16, enabled=reduced(knobs, device)):
                outputs = network(**batch.inputs)[output]  # forward
                loss = criterion(outputs.float(), batch.targets)
            group = min(knobs.accumulation, batches.per_epoch - state.batch // knobs.accumulation * knobs.accumulation)
            (loss / group).backward()  # type: ignore[no-untyped-call]  # backward

            note(state, loss.item(), len(batch.targets))
            if state.batch % knobs.accumulation and state.batch < batches.per_epoch:
                continue  # more gradients are to be added up

            norm = clip_grad_norm_(network.parameters(), knobs.gradient_clip or math.inf)
            check(checkpoints, state, loss.item(), gradient=norm.item())
            optimiser.step()  # step
            optimiser.zero_grad()
            state.step += 1

            pace.step()
            in_the_middle = state.batch < batches.per_epoch
            if told.pause.is_set() or (in_the_middle and pace.save_is_due(knobs)):
                say(pace.saved(checkpoints.save(network, optimiser, state)))
            if told.resting:
                raise StopRequested

        network.eval()
        measured = validate()
        check(checkpoints, state, measured["loss"], weight=largest_weight(network))
        conclude_epoch(state, measured, knobs, optimiser.param_groups[-1]["lr"], say)
        if state.best_step == state.step:
            checkpoints.note_best(network, state)
        if state.finished or told.pause.is_set() or pace.save_is_due(knobs, epoch_ended=True):
            say(pace.saved(checkpoints.save(network, optimiser, state)))
        if told.resting:
            raise StopRequested

    checkpoints.load_best(network, state)
    network.eval()
    return state


def switch_to_training(network: nn.Module, knobs: Hyperparameters) -> None:
    """Dropout on; running means of batch norms stay as they are unless they are to be trained."""
    network.train()
    if knobs.batch_norm == "frozen":
        for module in network.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()


def reduced(knobs: Hyperparameters, device: str) -> bool:
    """Whether the forward pass computes in bf16: where it was asked for, or where the device has instructions for it."""
    return knobs.precision == "bf16" or (knobs.precision == "auto" and has_instructions("bf16", device))


def note(state: State, loss: float, rows: int) -> None:
    """One more batch is done."""
    state.batch += 1
    state.loss_sum += loss * rows
    state.rows += rows
    if state.first_loss is None:
        state.first_loss = loss


def check(checkpoints: Checkpoints, state: State, loss: float, gradient: float = 0.0, weight: float = 0.0) -> None:
    """Raises Diverged where something is not finite or far beyond sense, once the best weights so far are on disk."""
    if not all(map(math.isfinite, (loss, state.loss_sum, gradient, weight))):
        seen = "the loss or a gradient is no finite number any more"
    elif weight > HUGE_WEIGHT:
        seen = f"a weight has become {weight:.3g}"
    elif loss > EXPLODED * max(state.first_loss or 0.0, 1.0):
        before, now = format_apart(state.first_loss or 0.0, loss, digits=3)
        seen = f"the loss rose from {before} to {now}"
    else:
        return
    checkpoints.keep_best()
    raise Diverged(state.step, seen, state.best_step)


def largest_weight(network: nn.Module) -> float:
    """The largest absolute value among the weights that are trained."""
    return max((p.detach().abs().max().item() for p in network.parameters() if p.requires_grad), default=0.0)


def conclude_start(state: State, measured: dict[str, float], say: Say) -> None:
    """The figures before the first step: what every epoch must improve on."""
    state.curves += [Metric(name=name, split="validation", value=value, step=0) for name, value in measured.items()]
    for metric in state.curves:
        say(metric)
    if math.isfinite(measured["loss"]):
        state.best = measured["loss"]


def conclude_epoch(state: State, measured: dict[str, float], knobs: Hyperparameters, rate: float, say: Say) -> None:
    """Curves, the best so far, and whether it is enough."""
    epoch = state.epoch + 1  # people count from 1
    curves = [Metric(name="loss", split="train", value=state.loss_sum / state.rows, step=state.step, epoch=epoch)]
    curves += [
        Metric(name=name, split="validation", value=value, step=state.step, epoch=epoch)
        for name, value in measured.items()
    ]
    curves.append(Metric(name="learning_rate", split="train", value=rate, step=state.step, epoch=epoch))
    for metric in curves:
        say(metric)
    state.curves += curves
    if state.best is None or measured["loss"] < state.best:
        state.best, state.best_step, state.stale = measured["loss"], state.step, 0
    else:
        state.stale += 1
    state.epoch, state.batch, state.loss_sum, state.rows = state.epoch + 1, 0, 0.0, 0
    state.finished = state.epoch >= knobs.epochs or (knobs.patience > 0 and state.stale >= knobs.patience)


class Pace:
    """How fast it goes: lines of progress with the time that is left, and when the next checkpoint is due."""

    def __init__(self, say: Say, state: State, steps: int) -> None:
        self._say = say
        self._state = state
        self._steps = steps
        self._began = self._last = self._spoke = self._saved = time.monotonic()
        self._first_step = state.step

    def step(self) -> None:
        """One more is done."""
        now = time.monotonic()
        self._state.seconds += now - self._last
        self._last = now
        if now - self._spoke < SPEAK_S:
            return
        self._spoke = now
        done, left = self._state.step - self._first_step, self._steps - self._state.step
        self._say(
            Progress(
                phase="training",
                ratio=SHARE * self._state.step / self._steps,
                step=self._state.step,
                steps=self._steps,
                epoch=self._state.epoch + 1,
                remaining_s=round((now - self._began) / done * left, 1),
            )
        )

    def save_is_due(self, knobs: Hyperparameters, epoch_ended: bool = False) -> bool:
        """Whether a checkpoint would be worth its time."""
        if knobs.checkpoint_steps:
            return self._state.step % knobs.checkpoint_steps == 0
        return time.monotonic() - self._saved >= (EPOCH_SAVE_S if epoch_ended else MOST_SAVE_S)

    def saved(self, written: CheckpointWritten) -> CheckpointWritten:
        """A checkpoint was written."""
        self._saved = time.monotonic()
        return written
