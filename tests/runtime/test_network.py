"""One network on one device: arrays in, arrays out."""

import threading
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from service.runtime.network import NetworkRuntime
from tests.support.model_zoo.real_models import names_with_tests


class Small(nn.Module):
    """A convolution, a counter and an echo."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)
        self.register_buffer("steps", torch.zeros(5, dtype=torch.int64))

    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        return {
            "features": self.conv(pixels),
            "half": pixels.half().mean(dim=(1, 2, 3)),
            "rows": torch.arange(len(pixels)),
            "last": pixels[:, :, -1, -1],
        }


@pytest.fixture
def small() -> Small:
    torch.manual_seed(0)
    return Small().eval().requires_grad_(False)


def pixels(rows: int, seed: int = 0) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).standard_normal((rows, 3, 8, 8)).astype(np.float32)


def test_memory_bytes_counts_weights_and_buffers_until_freed(small: Small) -> None:
    runtime = NetworkRuntime(small, "cpu")
    assert runtime.memory_bytes == (3 * 8 * 9 + 8) * 4 + 5 * 8
    runtime.free()
    assert runtime.memory_bytes == 0
    with pytest.raises(RuntimeError, match="freed"):
        runtime.run({"pixels": pixels(1)})
    runtime.free()


def test_free_lets_a_running_batch_finish() -> None:
    inside, gate = threading.Event(), threading.Event()

    class Slow(nn.Module):
        def forward(self, x: Tensor) -> dict[str, Tensor]:
            inside.set()
            assert gate.wait(20)
            return {"y": x + 1}

    runtime = NetworkRuntime(Slow(), "cpu")
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(runtime.run({"x": np.zeros((1, 2), np.float32)})))
    thread.start()
    assert inside.wait(20)
    runtime.free()
    gate.set()
    thread.join(20)
    assert results[0]["y"].tolist() == [[1, 1]]


def test_memory_format_does_not_change_the_answer(small: Small) -> None:
    batch = pixels(5)
    with torch.inference_mode():
        plain = Small()
        plain.load_state_dict(small.state_dict())
        expected = plain.eval()(torch.from_numpy(batch))["features"].numpy()
    runtime = NetworkRuntime(small, "cpu")
    assert small.conv.weight.is_contiguous(memory_format=torch.channels_last)
    np.testing.assert_allclose(runtime.run({"pixels": batch})["features"], expected, atol=1e-5)


def test_outputs_own_their_memory_with_rows_first(small: Small) -> None:
    batch = pixels(4)
    kept = batch.copy()
    out = NetworkRuntime(small, "cpu").run({"pixels": batch})
    assert {name: (value.dtype.name, value.shape) for name, value in out.items()} == {
        "features": ("float32", (4, 8, 6, 6)),
        "half": ("float32", (4,)),
        "rows": ("int64", (4,)),
        "last": ("float32", (4, 3)),
    }
    out["features"][:] = 0
    np.testing.assert_array_equal(batch, kept)


def test_run_records_no_gradients(small: Small) -> None:
    seen: list[bool] = []
    small.register_forward_hook(lambda *_: seen.append(torch.is_inference_mode_enabled()))
    NetworkRuntime(small, "cpu").run({"pixels": pixels(1)})
    assert seen == [True]


def test_nan_and_infinity_do_not_leave_their_row(small: Small) -> None:
    batch = pixels(4)
    clean = NetworkRuntime(small, "cpu").run({"pixels": batch})["features"]
    batch[1], batch[2] = np.nan, np.inf
    out = NetworkRuntime(small, "cpu").run({"pixels": batch})["features"]
    np.testing.assert_allclose(out[[0, 3]], clean[[0, 3]], atol=1e-6)
    assert np.isnan(out[1]).all()
    assert not np.isfinite(out[2]).any()


@pytest.mark.weights
@pytest.mark.parametrize("name", names_with_tests())
def test_collated_batch_converts_to_torch_without_warning(name: str, served: Any) -> None:
    """torch warns about read-only arrays, such as views of a gRPC message; collate must copy them."""
    real = served(name)
    item = real.task.warmup_item()
    for array in item.tensors.values():
        array.setflags(write=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tensors, _ = real.task.collate([item, item])
        real.runtime.run(tensors)


@pytest.mark.weights
def test_real_image_network_gives_equal_answers_in_both_memory_formats(served: Any) -> None:
    real = served("efficientnet_lite0")
    batch = np.random.default_rng(1).standard_normal((3, 3, 224, 224)).astype(np.float32)
    with torch.inference_mode():
        plain = real.network(torch.from_numpy(batch))["logits"].numpy()
    served_logits = real.runtime.run({"pixel_values": batch})["logits"]
    np.testing.assert_allclose(served_logits, plain, atol=real.card.tolerance.max_abs_error)
