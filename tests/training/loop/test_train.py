"""The training loop: learning, exact resume, early stopping and divergence."""

from __future__ import annotations

from collections.abc import Callable, Iterator
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
    seed_all,
)
from service.training.failures import Diverged
from service.training.hyperparameters import Hyperparameters
from service.training.loop.checkpoint import MODEL, Checkpoints, LoopState
from service.training.loop.criteria import classification_metrics
from service.training.loop.train import TrainingBatch, train
from service.training.protocol import CheckpointWritten, Metric, WorkerMessage
from service.training.stop_signal import StopRequested, StopSignal
from tests.support.training.small_cnn import SmallCnn

SEED = 3
HPARAMS = Hyperparameters(
    epochs=3, batch_size=32, learning_rate=2e-2, patience=0, checkpoint_steps=4, batch_norm="trained"
)


def digits() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    images, labels = load_digits(return_X_y=True)
    x = torch.from_numpy((images / 8.0 - 1.0).astype(np.float32)).view(-1, 1, 8, 8)
    y = torch.from_numpy(labels.astype(np.int64))
    return x[:400], y[:400], x[400:600], y[400:600]


class InterruptedBatches(TensorBatches):
    """Batches that call `then` after `at` batches."""

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
    folder: Path, hparams: Hyperparameters = HPARAMS, stop: StopSignal | None = None, at: int = -1, event: str = "pause"
) -> tuple[LoopState, SmallCnn, list[WorkerMessage]]:
    seed_all(SEED)
    stop = stop or StopSignal()
    network = SmallCnn()
    x, y, x_held, y_held = digits()
    messages: list[WorkerMessage] = []
    batches = InterruptedBatches({"pixels": x}, y, hparams.batch_size, SEED)
    batches.at, batches.then = at, {"pause": stop.pause, "cancel": stop.cancel}[event].set

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
        messages.append,
        stop,
        output="logits",
    )
    return state, network, messages


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


def test_training_raises_accuracy(whole: tuple[LoopState, dict[str, Tensor]]) -> None:
    state, _ = whole
    accuracy = [m.value for m in state.curves if m.name == "accuracy"]
    assert accuracy[-1] > 0.8 > accuracy[0]


def test_weights_with_same_seed_are_equal(tmp_path: Path, whole: tuple[LoopState, dict[str, Tensor]]) -> None:
    assert_same(weights(run(tmp_path)[1]), whole[1])


@pytest.mark.parametrize("at", [1, 7, 13, 20])
def test_paused_run_gives_same_weights_as_uninterrupted_one(
    tmp_path: Path, whole: tuple[LoopState, dict[str, Tensor]], at: int
) -> None:
    """Paused in the first batch, within an epoch, after the last batch of an epoch, in the second epoch."""
    with pytest.raises(StopRequested):
        run(tmp_path, at=at)
    state, network, _ = run(tmp_path)
    assert_same(weights(network), whole[1])
    assert [(m.name, m.value, m.step) for m in state.curves] == [(m.name, m.value, m.step) for m in whole[0].curves]


class ScaledInput(nn.Module):
    """Multiplies its input by one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"value": x * self.weight}


def test_start_weights_are_kept_if_no_epoch_improves(tmp_path: Path) -> None:
    """Training on noise makes the network worse; the result is never worse on validation data than the start."""
    seed_all(SEED)
    network, x = ScaledInput(), torch.linspace(-1, 1, 64)
    state = train(
        network,
        TensorBatches({"x": x}, torch.randn(64), 16, SEED),
        functional.mse_loss,
        lambda: {"loss": functional.mse_loss(network.weight * x, x).item()},
        HPARAMS,
        Checkpoints(tmp_path),
        lambda message: None,
        StopSignal(),
        output="value",
    )
    assert (state.epoch, state.best, state.best_step) == (3, 0.0, 0)
    assert network.weight.item() == 1.0


def test_paused_run_with_accumulation_gives_same_weights(tmp_path: Path) -> None:
    hparams = HPARAMS.model_copy(update={"accumulation": 3, "epochs": 2})
    _, whole, _ = run(tmp_path / "whole", hparams)
    with pytest.raises(StopRequested):
        run(tmp_path / "parts", hparams, at=5)
    _, parts, _ = run(tmp_path / "parts", hparams)
    assert_same(weights(parts), weights(whole))


def test_accumulated_step_equals_step_of_large_batch(tmp_path: Path) -> None:
    """For a network without dropout and without batch norm."""
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
            lambda message: None,
            StopSignal(),
            output="logits",
        )
        found.append(network.weight.detach().clone())
    torch.testing.assert_close(found[0], found[1], atol=1e-5, rtol=1e-4)


def test_cancel_stops_before_next_step_without_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(StopRequested):
        run(tmp_path, HPARAMS.model_copy(update={"checkpoint_steps": 1000}), at=2, event="cancel")
    assert [path.name for path in tmp_path.iterdir()] == ["0"]


def test_diverged_run_keeps_last_good_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(Diverged, match=r"diverged.*checkpoint of step 0") as caught:
        run(tmp_path, HPARAMS.model_copy(update={"learning_rate": 1e9}))
    assert "learning_rate" in caught.value.reason
    kept = load_file(tmp_path / "0" / MODEL)
    assert all(torch.isfinite(tensor).all() for tensor in kept.values())
    assert max(tensor.abs().max() for tensor in kept.values()) < 10


def test_early_stopping_keeps_best_weights(tmp_path: Path) -> None:
    hparams = HPARAMS.model_copy(update={"epochs": 60, "patience": 2, "checkpoint_steps": 0, "learning_rate": 0.05})
    state, network, messages = run(tmp_path, hparams)
    assert state.epoch < 60
    losses = [
        (m.value, m.step) for m in messages if isinstance(m, Metric) and (m.name, m.split) == ("loss", "validation")
    ]
    epochs = [m.epoch for m in messages if isinstance(m, Metric) and (m.name, m.split) == ("loss", "validation")]
    assert epochs == list(range(len(losses))), "the start is 0, the first epoch is 1"
    assert (state.best, state.best_step) == min(losses)
    x, y = digits()[2:]
    with torch.no_grad():
        measured = classification_metrics(network(x)["logits"].numpy(), y.numpy().astype(np.float64))
    assert measured["loss"] == pytest.approx(state.best)


def test_only_last_and_best_checkpoints_are_kept(tmp_path: Path) -> None:
    state, _, messages = run(tmp_path)
    assert {int(path.name) for path in tmp_path.iterdir()} == {state.step, state.best_step}
    written = [m for m in messages if isinstance(m, CheckpointWritten)]
    assert [w.step for w in written[:3]] == [0, 4, 8]
    assert all(w.size_bytes > 0 for w in written)
