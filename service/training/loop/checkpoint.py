"""Checkpoints, from which training continues as if it had never been interrupted.

    checkpoints/<step>/
        model.safetensors       trained parameters, and buffers
        optimiser.safetensors   the optimizer's moments, as `<parameter>.<name>`
        chance.safetensors      states of the random generators
        state.json              a LoopState

A folder appears by rename, complete. The next process removes what a dead one left half-written. Only the last checkpoint and the
best one are kept. They hold tensors and JSON alone, so loading one never runs code.
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
from model_zoo.system_errors import system_errors
from service.training.data.seeds import generator_states, restore_generators
from service.training.protocol import CheckpointWritten, Metric

MODEL, OPTIMIZER, GENERATORS, STATE = "model.safetensors", "optimiser.safetensors", "chance.safetensors", "state.json"

log = logging.getLogger(__name__)


class LoopState(BaseModel):
    """The state of the training loop, beside the tensors. The field names are keys of `state.json`."""

    model_config = ConfigDict(extra="forbid", validate_assignment=False)

    step: int = 0
    """Optimizer steps taken."""
    epoch: int = 0
    """The current epoch, from 0 on."""
    batch: int = 0
    """Finished batches of the current epoch."""
    loss_sum: float = 0.0
    """Of the finished batches, each weighted by its rows."""
    rows: int = 0
    """Of the finished batches."""
    first_loss: float | None = None
    """Of the very first batch: divergence is measured by it."""
    best: float | None = None
    """Lowest validation loss."""
    best_step: int = 0
    stale: int = 0
    """Epochs since the best one."""
    finished: bool = False
    """Whether training has ended, by its last epoch or by early stopping."""
    seconds: float = 0.0
    """Spent in training, over all worker processes of the job."""
    curves: list[Metric] = Field(default_factory=list)


class Checkpoints:
    """The checkpoints of one job."""

    def __init__(self, folder: Path) -> None:
        """`folder` is the job's `checkpoints/`. Removes half-written checkpoints from it."""
        self._folder = folder
        self.damaged: list[int] = []
        """Steps of checkpoints that cannot be read."""
        self._best: tuple[LoopState, dict[str, Tensor]] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        self._sweep()

    def last(self) -> int | None:
        """Step of the latest checkpoint that can be resumed; None if there is none. Damaged ones are removed and noted in
        `damaged`."""
        for step in sorted(self._steps(), reverse=True):
            if not (self._folder / str(step) / OPTIMIZER).exists():
                continue  # the best checkpoint may hold weights alone
            if self._is_complete(step, (MODEL, OPTIMIZER, GENERATORS)) and self._state(step) is not None:
                return step
            self._remove_damaged(step)
        return None

    def note_best(self, network: nn.Module, state: LoopState) -> None:
        """Copies the weights to memory; the next `save` writes them. Epochs may be faster than the disk."""
        self._best = state.model_copy(deep=True), {name: t.clone() for name, t in trained_state(network).items()}

    def write_best(self) -> None:
        """Writes the weights that `note_best` copied, unless they are on disk."""
        if self._best is not None and self._best[0].step not in self._steps():
            self._write(self._best[0], {MODEL: self._best[1]})

    def save(self, network: nn.Module, optimizer: torch.optim.Optimizer, state: LoopState) -> CheckpointWritten:
        """Writes a checkpoint at `state.step`, and the best one if it is not on disk; removes all others. Raises OSError."""
        if state.best_step != state.step:
            self.write_best()
        tensors = {MODEL: trained_state(network), OPTIMIZER: _moments(optimizer), GENERATORS: generator_states()}
        target = self._write(state, tensors)
        for step in set(self._steps()) - {state.step, state.best_step}:
            # Renamed before it is deleted: a process that dies here must not leave half a checkpoint under a step's name.
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

    def restore(self, network: nn.Module, optimizer: torch.optim.Optimizer) -> LoopState | None:
        """Restores network, optimizer and generators from the last checkpoint; None, with nothing changed, if there is none."""
        step = self.last()
        state = None if step is None else self._state(step)
        if step is None or state is None:
            return None
        folder = self._folder / str(step)
        load_trained(network, load_file(folder / MODEL))
        _restore_moments(optimizer, load_file(folder / OPTIMIZER))
        restore_generators(load_file(folder / GENERATORS))
        if state.best_step != step and not self._is_complete(state.best_step, (MODEL,)):
            # The best weights are lost: the best is chosen again among the epochs to come.
            self._remove_damaged(state.best_step)
            state.best, state.best_step, state.stale = None, step, 0
        return state

    def _is_complete(self, step: int, names: Sequence[str]) -> bool:
        """Whether these files of tensors exist, with the lengths that their headers give."""
        try:
            for name in names:
                with safe_open(self._folder / str(step) / name, "pt"):
                    pass
        except (OSError, SafetensorError):
            return False
        return True

    def _state(self, step: int) -> LoopState | None:
        try:
            return LoopState.model_validate_json((self._folder / str(step) / STATE).read_bytes())
        except (OSError, ValueError):
            return None

    def _remove_damaged(self, step: int) -> None:
        log.warning("the checkpoint of step %d is damaged", step)
        self.damaged.append(step)
        with suppress(FileNotFoundError):
            (self._folder / str(step)).rename(self._staging())

    def load_best(self, network: nn.Module, state: LoopState) -> None:
        """Loads the weights that were best on validation data. Call it only after the last `save`."""
        load_trained(network, load_file(self._folder / str(state.best_step) / MODEL))

    def _write(self, state: LoopState, tensors: Mapping[str, Mapping[str, Tensor]]) -> Path:
        staging = self._staging()
        staging.mkdir()
        for name, contents in tensors.items():
            with system_errors(staging / name):
                save_file(dict(contents), staging / name)
        finite = state.model_copy(update={"curves": finite_curves(state)})
        (staging / STATE).write_text(strict_json.text(finite), encoding="utf-8")
        for path in staging.iterdir():
            _sync_path(path)
        target = self._folder / str(state.step)
        if target.exists():  # an older one of the same step, written before the epoch was validated
            target.rename(self._staging())
        staging.rename(target)
        _sync_path(self._folder)
        return target

    def _staging(self) -> Path:
        return self._folder / f".staging-{uuid.uuid4().hex}"

    def _sweep(self) -> None:
        for abandoned in self._folder.glob(".staging-*"):
            shutil.rmtree(abandoned, ignore_errors=True)

    def _steps(self) -> list[int]:
        return [int(path.name) for path in self._folder.iterdir() if path.name.isdigit()]


def finite_curves(state: LoopState) -> list[Metric]:
    """The points of the curves that are finite."""
    return [metric for metric in state.curves if math.isfinite(metric.value)]


def trained_state(network: nn.Module) -> dict[str, Tensor]:
    """What training changes: parameters that require a gradient, and buffers such as running means. Contiguous, on the CPU."""
    fixed = {name for name, parameter in network.named_parameters() if not parameter.requires_grad}
    state: Mapping[str, Tensor] = network.state_dict()
    return {name: tensor.detach().cpu().contiguous() for name, tensor in state.items() if name not in fixed}


def load_trained(network: nn.Module, own: Mapping[str, Tensor]) -> None:
    """Loads what `trained_state` returned."""
    found = network.load_state_dict(own, strict=False)
    missing = set(found.missing_keys) & trained_state(network).keys()
    if missing or found.unexpected_keys:
        raise RuntimeError("the checkpoint does not fit the network")


def _moments(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    state: dict[int, dict[str, Any]] = optimizer.state_dict()["state"]
    return {
        f"{index}.{name}": torch.as_tensor(value).detach().cpu().contiguous()
        for index, own in state.items()
        for name, value in own.items()
    }


def _restore_moments(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        index, _, name = key.partition(".")
        state.setdefault(int(index), {})[name] = tensor
    # The job and the network give the groups, and the step gives their rates: no checkpoint needs to hold them.
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _sync_path(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
