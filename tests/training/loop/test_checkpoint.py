"""Checkpoints that are incomplete or damaged never break a job."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from service.training.loop.checkpoint import MODEL, Checkpoints, LoopState
from service.training.protocol import Metric
from tests.support.training.small_cnn import SmallCnn


def test_half_written_checkpoint_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".staging-1").mkdir()
    (tmp_path / ".staging-1" / MODEL).write_bytes(b"half")
    assert Checkpoints(tmp_path).last() is None
    assert not list(tmp_path.iterdir())


def test_curve_point_that_is_not_finite_is_left_out_of_checkpoint(tmp_path: Path) -> None:
    network = SmallCnn()
    optimizer = torch.optim.AdamW(network.parameters())
    nothing = Metric(name="r2", split="validation", value=float("nan"), step=1)
    Checkpoints(tmp_path).save(network, optimizer, LoopState(step=1, best=0.5, best_step=1, curves=[nothing]))
    state = Checkpoints(tmp_path).restore(network, optimizer)
    assert state is not None
    assert (state.best, state.curves) == (0.5, [])


@pytest.mark.parametrize("name", ["model.safetensors", "optimiser.safetensors", "chance.safetensors", "state.json"])
@pytest.mark.parametrize("damage", ["cut", "empty", "missing", "a folder"])
def test_damaged_checkpoint_is_not_restored(tmp_path: Path, name: str, damage: str) -> None:
    network = SmallCnn()
    optimizer = torch.optim.AdamW(network.parameters())
    Checkpoints(tmp_path).save(network, optimizer, LoopState(step=4, best_step=4, best=0.5))
    file = tmp_path / "4" / name
    data = file.read_bytes()
    file.unlink()
    if damage == "a folder":
        file.mkdir()
    elif damage != "missing":
        file.write_bytes(data[: len(data) // 2] if damage == "cut" else b"")
    checkpoints = Checkpoints(tmp_path)
    assert checkpoints.restore(network, optimizer) is None
    assert checkpoints.damaged == ([] if (name, damage) == ("optimiser.safetensors", "missing") else [4])
    checkpoints.save(network, optimizer, LoopState(step=4))
    assert Checkpoints(tmp_path).last() == 4


def test_damaged_best_weights_reset_the_best_loss(tmp_path: Path) -> None:
    network = SmallCnn()
    optimizer = torch.optim.AdamW(network.parameters())
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(network, optimizer, LoopState(step=2, best_step=2, best=0.5))
    checkpoints.save(network, optimizer, LoopState(step=4, best_step=2, best=0.5))
    (tmp_path / "2" / "model.safetensors").write_bytes(b"x")
    checkpoints = Checkpoints(tmp_path)
    state = checkpoints.restore(network, optimizer)
    assert state is not None
    assert (state.step, state.best, state.best_step, checkpoints.damaged) == (4, None, 4, [2])
    checkpoints.load_best(network, state)
