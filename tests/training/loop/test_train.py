"""The training loop: it learns, it goes on exactly where it stopped, and it ends when it should."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional

from service.training.data.prepared import TensorBatches
from service.training.data.seeds import (
    batch_order,
    generator_states,
    isolated_generators,
    restore_generators,
    seed_all,
)
from service.training.failures import Diverged
from service.training.heads.losses import balanced_class_weights
from service.training.hyperparameters import Hyperparameters
from service.training.loop.checkpoint import MODEL, Checkpoints, LoopState
from service.training.loop.criteria import classification_metrics
from service.training.loop.train import TrainingBatch, train
from service.training.protocol import CheckpointWritten, Metric, WorkerMessage
from service.training.stop_signal import StopRequested, StopSignal

SEED = 3
HPARAMS = Hyperparameters(
    epochs=3, batch_size=32, learning_rate=2e-2, patience=0, checkpoint_steps=4, batch_norm="trained"
)


class SmallCnn(nn.Module):
    """Everything that could spoil an exact resume: convolutions, batch norm with running means, dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 16, 3, stride=2), nn.ReLU()
        )
        self.head = nn.Linear(16 * 9, 10)

    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        x = functional.dropout(self.blocks(pixels).flatten(1), 0.2, self.training)
        return {"logits": self.head(x)}


def digits() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    images, labels = load_digits(return_X_y=True)
    x = torch.from_numpy((images / 8.0 - 1.0).astype(np.float32)).view(-1, 1, 8, 8)
    y = torch.from_numpy(labels.astype(np.int64))
    return x[:400], y[:400], x[400:600], y[400:600]


class After(TensorBatches):
    """Tells the worker something after so many batches."""

    then: Callable[[], object] = staticmethod(lambda: None)
    at = -1
    seen = 0

    def epoch(self, epoch: int, start: int) -> Iterator[TrainingBatch]:
        for batch in super().epoch(epoch, start):
            yield batch
            self.seen += 1
            if self.seen == self.at:
                self.then()


def run(
    folder: Path, hparams: Hyperparameters = HPARAMS, stop: StopSignal | None = None, at: int = -1, word: str = "pause"
) -> tuple[LoopState, SmallCnn, list[WorkerMessage]]:
    seed_all(SEED)
    stop = stop or StopSignal()
    network = SmallCnn()
    x, y, x_held, y_held = digits()
    said: list[WorkerMessage] = []
    batches = After({"pixels": x}, y, hparams.batch_size, SEED)
    batches.at, batches.then = at, getattr(stop, word).set

    def validate() -> dict[str, float]:
        with torch.no_grad():
            return classification_metrics(network(x_held)["logits"].numpy(), y_held.numpy().astype(np.float64))

    state = train(
        network,
        batches,
        lambda logits, wanted: functional.cross_entropy(logits, wanted),
        validate,
        hparams,
        Checkpoints(folder),
        said.append,
        stop,
        output="logits",
    )
    return state, network, said


def weights(network: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def assert_same(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        assert torch.equal(tensor, other[name]), name


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[LoopState, dict[str, Tensor]]:
    state, network, _ = run(tmp_path_factory.mktemp("whole"))
    return state, weights(network)


def test_it_learns(whole: tuple[LoopState, dict[str, Tensor]]) -> None:
    state, _ = whole
    accuracy = [m.value for m in state.curves if m.name == "accuracy"]
    assert accuracy[-1] > 0.8 > accuracy[0]


def test_the_same_seed_gives_the_same_weights(tmp_path: Path, whole: tuple[LoopState, dict[str, Tensor]]) -> None:
    assert_same(weights(run(tmp_path)[1]), whole[1])


@pytest.mark.parametrize("at", [1, 7, 13, 20])
def test_a_paused_job_goes_on_as_if_it_had_not_been(
    tmp_path: Path, whole: tuple[LoopState, dict[str, Tensor]], at: int
) -> None:
    """In the first batch, in the middle, after the last batch of an epoch, in the second."""
    with pytest.raises(StopRequested):
        run(tmp_path, at=at)
    state, network, _ = run(tmp_path)
    assert_same(weights(network), whole[1])
    assert [(m.name, m.value, m.step) for m in state.curves] == [(m.name, m.value, m.step) for m in whole[0].curves]


class Line(nn.Module):
    """Says how much its input is worth."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"value": x * self.weight}


def test_a_start_that_no_epoch_improves_on_is_what_comes_out(tmp_path: Path) -> None:
    """Training on noise takes a network away from what it knew; the result is never worse on validation data than the start."""
    seed_all(SEED)
    network, x = Line(), torch.linspace(-1, 1, 64)
    state = train(
        network,
        TensorBatches({"x": x}, torch.randn(64), 16, SEED),
        functional.mse_loss,
        lambda: {"loss": functional.mse_loss(network.weight * x, x).item()},
        HPARAMS,
        Checkpoints(tmp_path),
        lambda said: None,
        StopSignal(),
        output="value",
    )
    assert (state.epoch, state.best, state.best_step) == (3, 0.0, 0)
    assert network.weight.item() == 1.0


def test_where_classes_count_alike_validation_does_not_prefer_who_gives_up_the_rare_one() -> None:
    """Nine of ten are common: giving up the rare one costs little, unless it counts as much as the others."""
    targets = np.array([0.0] * 9 + [1.0])
    gives_up = np.tile(np.array([[2.5, 0.0]], np.float32), (10, 1))
    finds_it = np.tile(np.array([[0.5, 0.0]], np.float32), (10, 1))
    finds_it[9] = [0.0, 2.0]
    learned = torch.from_numpy(targets.astype(np.int64))
    alike = balanced_class_weights(HPARAMS.model_copy(update={"class_weights": "balanced"}), learned, 2)
    plain, balanced = (
        [classification_metrics(logits, targets, weights)["loss"] for logits in (gives_up, finds_it)]
        for weights in (None, alike)
    )
    assert plain[0] < plain[1]
    assert balanced[0] > balanced[1]


def test_gradients_that_are_added_up_survive_a_pause_as_well(tmp_path: Path) -> None:
    hparams = HPARAMS.model_copy(update={"accumulation": 3, "epochs": 2})
    _, whole, _ = run(tmp_path / "whole", hparams)
    with pytest.raises(StopRequested):
        run(tmp_path / "parts", hparams, at=5)
    _, parts, _ = run(tmp_path / "parts", hparams)
    assert_same(weights(parts), weights(whole))


def test_adding_up_gives_the_step_of_one_large_batch(tmp_path: Path) -> None:
    """Of a network without chance and without batch statistics."""
    large = HPARAMS.model_copy(update={"batch_size": 100, "epochs": 1, "gradient_clip": 0.0})
    small = large.model_copy(update={"batch_size": 50, "accumulation": 2})
    found = []
    for name, hparams in (("large", large), ("small", small)):
        torch.manual_seed(0)
        network = nn.Linear(64, 10)
        x, y, _, _ = digits()

        class Outputs(nn.Module):
            def __init__(self, inner: nn.Module) -> None:
                super().__init__()
                self.inner = inner

            def forward(self, pixels: Tensor) -> dict[str, Tensor]:
                return {"logits": self.inner(pixels.flatten(1))}

        batches = TensorBatches({"pixels": x}, y, hparams.batch_size, SEED)
        wrapped = Outputs(network)
        train(
            wrapped,
            batches,
            lambda logits, wanted: functional.cross_entropy(logits, wanted),
            lambda: {"loss": 0.0},
            hparams,
            Checkpoints(tmp_path / name),
            lambda said: None,
            StopSignal(),
            output="logits",
        )
        found.append(network.weight.detach().clone())
    torch.testing.assert_close(found[0], found[1], atol=1e-5, rtol=1e-4)


def test_cancel_ends_before_the_next_step_and_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(StopRequested):
        run(tmp_path, HPARAMS.model_copy(update={"checkpoint_steps": 1000}), at=2, word="cancel")
    assert [path.name for path in tmp_path.iterdir()] == ["0"]


def test_a_rate_that_is_far_too_high_diverges_and_keeps_the_last_good_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(Diverged, match=r"diverged.*checkpoint of step 0") as caught:
        run(tmp_path, HPARAMS.model_copy(update={"learning_rate": 1e9}))
    assert "learning_rate" in caught.value.reason
    kept = load_file(tmp_path / "0" / MODEL)
    assert all(torch.isfinite(tensor).all() for tensor in kept.values())
    assert max(tensor.abs().max() for tensor in kept.values()) < 10


def test_it_stops_when_nothing_gets_better_and_leaves_the_best_weights(tmp_path: Path) -> None:
    hparams = HPARAMS.model_copy(update={"epochs": 60, "patience": 2, "checkpoint_steps": 0, "learning_rate": 0.05})
    state, network, said = run(tmp_path, hparams)
    assert state.epoch < 60
    losses = [(m.value, m.step) for m in said if isinstance(m, Metric) and (m.name, m.split) == ("loss", "validation")]
    epochs = [m.epoch for m in said if isinstance(m, Metric) and (m.name, m.split) == ("loss", "validation")]
    assert epochs == list(range(len(losses))), "the start is 0, the first epoch is 1"
    assert (state.best, state.best_step) == min(losses)
    x, y = digits()[2:]
    with torch.no_grad():
        measured = classification_metrics(network(x)["logits"].numpy(), y.numpy().astype(np.float64))
    assert measured["loss"] == pytest.approx(state.best)


def test_the_last_and_the_best_checkpoint_are_kept_and_no_other(tmp_path: Path) -> None:
    state, _, said = run(tmp_path)
    assert {int(path.name) for path in tmp_path.iterdir()} == {state.step, state.best_step}
    written = [s for s in said if isinstance(s, CheckpointWritten)]
    assert [w.step for w in written[:3]] == [0, 4, 8]
    assert all(w.size_bytes > 0 for w in written)


def test_a_checkpoint_that_was_left_half_written_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".staging-1").mkdir()
    (tmp_path / ".staging-1" / MODEL).write_bytes(b"half")
    assert Checkpoints(tmp_path).last() is None
    assert not list(tmp_path.iterdir())


def test_chance_is_restored_in_every_generator() -> None:
    import random

    seed_all(1)
    random.gauss(0, 1)  # leaves its second number for the next call
    np.random.standard_normal()
    states = generator_states()
    first = random.gauss(0, 1), np.random.standard_normal(), torch.rand(1).item(), random.random()
    seed_all(2)
    restore_generators(states)
    assert (random.gauss(0, 1), np.random.standard_normal(), torch.rand(1).item(), random.random()) == first


def test_isolated_chance_leaves_no_trace() -> None:
    seed_all(1)
    expected = torch.rand(3)
    seed_all(1)
    with isolated_generators(7):
        inside = torch.rand(2)
    assert torch.equal(torch.rand(3), expected)
    with isolated_generators(7):
        assert torch.equal(torch.rand(2), inside)


def test_an_epoch_takes_every_example_once_and_the_next_in_another_order() -> None:
    first, second = batch_order(33, 8, SEED, 0), batch_order(33, 8, SEED, 1)
    assert sorted(chain(*first)) == sorted(chain(*second)) == list(range(33))
    assert first != second
    assert batch_order(33, 8, SEED, 0) == first
    assert [len(batch) for batch in first] == [8, 8, 8, 9], "nothing can be normalised over a batch of one"


def test_rows_of_like_length_ride_together() -> None:
    lengths = np.random.default_rng(0).integers(5, 200, 256).tolist()
    batches = batch_order(256, 8, SEED, 0, lengths)
    padded = sum(max(lengths[i] for i in batch) * len(batch) for batch in batches)
    plain = sum(max(lengths[i] for i in batch) * len(batch) for batch in batch_order(256, 8, SEED, 0))
    assert padded < 0.75 * plain


def test_a_point_of_a_curve_without_a_value_does_not_spoil_a_checkpoint(tmp_path: Path) -> None:
    network = SmallCnn()
    optimizer = torch.optim.AdamW(network.parameters())
    nothing = Metric(name="r2", split="validation", value=float("nan"), step=1)
    Checkpoints(tmp_path).save(network, optimizer, LoopState(step=1, best=0.5, best_step=1, curves=[nothing]))
    state = Checkpoints(tmp_path).restore(network, optimizer)
    assert state is not None
    assert (state.best, state.curves) == (0.5, [])


@pytest.mark.parametrize("name", ["model.safetensors", "optimiser.safetensors", "chance.safetensors", "state.json"])
@pytest.mark.parametrize("damage", ["cut", "empty", "missing", "a folder"])
def test_a_damaged_checkpoint_is_left_out_and_training_begins_anew(tmp_path: Path, name: str, damage: str) -> None:
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


def test_a_checkpoint_whose_best_weights_are_damaged_finds_the_best_anew(tmp_path: Path) -> None:
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
