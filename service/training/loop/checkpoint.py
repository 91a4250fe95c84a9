"""Points from which training goes on as if nothing had happened.

    checkpoints/<step>/
        model.safetensors       what is trained, and the buffers
        optimiser.safetensors   its moments, as `<parameter>.<name>`
        chance.safetensors      states of the random generators
        state.json              where the loop stands

A folder appears by rename, complete; what a dead process left half-written is removed by the next. Kept are the last one
and the best one. Only tensors and JSON: nothing in here can run.
"""

from __future__ import annotations

import logging
import math
import os
import shutil
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from model_zoo import strict_json
from service.training.data.seeds import chance, restore_chance
from service.training.protocol import CheckpointWritten, Metric

MODEL, OPTIMISER, CHANCE, STATE = "model.safetensors", "optimiser.safetensors", "chance.safetensors", "state.json"


log = logging.getLogger(__name__)


class State(BaseModel):
    """Where the loop stands, beside the tensors."""

    model_config = ConfigDict(extra="forbid", validate_assignment=False)

    step: int = 0
    """Optimiser steps taken."""
    epoch: int = 0
    """The one under way; the first is 0."""
    batch: int = 0
    """Batches of it that are done."""
    loss_sum: float = 0.0
    """Of this epoch's batches, each by its rows."""
    rows: int = 0
    first_loss: float | None = None
    """What training began with: the measure of divergence."""
    best: float | None = None
    """Lowest validation loss."""
    best_step: int = 0
    stale: int = 0
    """Epochs since the best one."""
    finished: bool = False
    seconds: float = 0.0
    """Spent in training, over all processes that had a part in it."""
    curves: list[Metric] = Field(default_factory=list)


class Checkpoints:
    """Those of one job."""

    def __init__(self, folder: Path) -> None:
        """`folder` is the job's `checkpoints/`. Removes what was left half-written there."""
        self._folder = folder
        self.damaged: list[int] = []
        """Steps of checkpoints that could not be read."""
        self._best: tuple[State, dict[str, Tensor]] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        self._sweep()

    def last(self) -> int | None:
        """Step of the latest one to go on from; None where there is none. Damaged ones are put aside, and noted in `damaged`."""
        for step in sorted(self._steps(), reverse=True):
            if not (self._folder / str(step) / OPTIMISER).exists():
                continue  # of the best one, the weights alone are kept
            if self._is_whole(step, (MODEL, OPTIMISER, CHANCE)) and self._state(step) is not None:
                return step
            self._put_aside(step)
        return None

    def note_best(self, network: nn.Module, state: State) -> None:
        """Keeps the weights in memory; the next `save` writes them. Epochs may pass faster than a disk takes them."""
        self._best = state.model_copy(deep=True), {name: t.clone() for name, t in trained(network).items()}

    def keep_best(self) -> None:
        """Writes what was noted, unless it is there."""
        if self._best is not None and self._best[0].step not in self._steps():
            self._write(self._best[0], {MODEL: self._best[1]})

    def save(self, network: nn.Module, optimiser: torch.optim.Optimizer, state: State) -> CheckpointWritten:
        """Writes one at `state.step`, and the best where it is not there yet; removes all others. Raises OSError."""
        if state.best_step != state.step:
            self.keep_best()
        tensors = {MODEL: trained(network), OPTIMISER: _moments(optimiser), CHANCE: chance()}
        target = self._write(state, tensors)
        for step in set(self._steps()) - {state.step, state.best_step}:
            # Out of sight first: who dies here must not leave half a checkpoint under a step's name.
            (self._folder / str(step)).rename(self._staging())
        self._sweep()
        size = sum(path.stat().st_size for path in target.iterdir())
        metrics = {m.name: m.value for m in finite_curves(state) if m.step == state.step and m.split == "validation"}
        return CheckpointWritten(
            step=state.step,
            epoch=state.epoch + bool(state.batch),
            metrics=metrics,
            best=state.step == state.best_step,
            size_bytes=size,
        )

    def restore(self, network: nn.Module, optimiser: torch.optim.Optimizer) -> State | None:
        """Puts everything where the last checkpoint found it; None, and nothing changed, where there is none."""
        step = self.last()
        state = None if step is None else self._state(step)
        if step is None or state is None:
            return None
        folder = self._folder / str(step)
        load_trained(network, load_file(folder / MODEL))
        _restore_moments(optimiser, load_file(folder / OPTIMISER))
        restore_chance(load_file(folder / CHANCE))
        if state.best_step != step and not self._is_whole(state.best_step, (MODEL,)):
            # What was best is lost; the best of what comes is found anew.
            self._put_aside(state.best_step)
            state.best, state.best_step, state.stale = None, step, 0
        return state

    def _is_whole(self, step: int, names: Sequence[str]) -> bool:
        """Whether files of tensors are there with the lengths that their headers tell."""
        try:
            for name in names:
                with safe_open(self._folder / str(step) / name, "pt"):
                    pass
        except (OSError, SafetensorError):
            return False
        return True

    def _state(self, step: int) -> State | None:
        try:
            return State.model_validate_json((self._folder / str(step) / STATE).read_bytes())
        except (OSError, ValueError):
            return None

    def _put_aside(self, step: int) -> None:
        log.warning("the checkpoint of step %d is damaged", step)
        self.damaged.append(step)
        with suppress(FileNotFoundError):
            (self._folder / str(step)).rename(self._staging())

    def load_best(self, network: nn.Module, state: State) -> None:
        """The weights that were best on validation data. After the last `save` only."""
        load_trained(network, load_file(self._folder / str(state.best_step) / MODEL))

    def _write(self, state: State, tensors: Mapping[str, Mapping[str, Tensor]]) -> Path:
        staging = self._staging()
        staging.mkdir()
        for name, held in tensors.items():
            save_file(dict(held), staging / name)
        kept = state.model_copy(update={"curves": finite_curves(state)})
        (staging / STATE).write_text(strict_json.text(kept), encoding="utf-8")
        for path in staging.iterdir():
            _flush(path)
        target = self._folder / str(state.step)
        if target.exists():  # of the same step, before it was measured: the new one knows more
            target.rename(self._staging())
        staging.rename(target)
        _flush(self._folder)
        return target

    def _staging(self) -> Path:
        return self._folder / f".staging-{uuid.uuid4().hex}"

    def _sweep(self) -> None:
        for abandoned in self._folder.glob(".staging-*"):
            shutil.rmtree(abandoned, ignore_errors=True)

    def _steps(self) -> list[int]:
        return [int(path.name) for path in self._folder.iterdir() if path.name.isdigit()]


def finite_curves(state: State) -> list[Metric]:
    """The points of the curves that have a value."""
    return [metric for metric in state.curves if math.isfinite(metric.value)]


def trained(network: nn.Module) -> dict[str, Tensor]:
    """What training changes: parameters with a gradient, and buffers such as running means. Contiguous, on the CPU."""
    fixed = {name for name, parameter in network.named_parameters() if not parameter.requires_grad}
    state: Mapping[str, Tensor] = network.state_dict()
    return {name: tensor.detach().cpu().contiguous() for name, tensor in state.items() if name not in fixed}


def load_trained(network: nn.Module, own: Mapping[str, Tensor]) -> None:
    """Puts back what `trained` gave."""
    found = network.load_state_dict(own, strict=False)
    lacking = set(found.missing_keys) & trained(network).keys()
    if lacking or found.unexpected_keys:
        raise RuntimeError("the checkpoint does not fit the network")


def _moments(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    state: dict[int, dict[str, Any]] = optimiser.state_dict()["state"]
    return {
        f"{index}.{name}": torch.as_tensor(value).detach().cpu().contiguous()
        for index, own in state.items()
        for name, value in own.items()
    }


def _restore_moments(optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        index, _, name = key.partition(".")
        state.setdefault(int(index), {})[name] = tensor
    # The groups follow from the job and the network, and their rates from the step: nothing of them needs to be kept.
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
