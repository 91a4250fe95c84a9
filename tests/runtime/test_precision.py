"""A network runs in the requested number format, and its outputs are float32 in every format."""

import copy
from typing import Any

import numpy as np
import pytest
import torch

from model_zoo.architectures.wrappers import Network
from service.runtime.network import NetworkRuntime
from service.runtime.precision import InPrecision, fold_batch_norms, has_instructions
from service.verification.probes import alone, compare, probe_items


class Affine(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.linear = torch.nn.Linear(16, 4)
        self.seen: list[torch.dtype] = []

    def forward(self, x: torch.Tensor, ids: torch.Tensor) -> dict[str, torch.Tensor]:
        self.seen += [x.dtype, ids.dtype]
        return {"y": self.linear(x), "ids": ids}


@pytest.mark.parametrize(
    ("precision", "dtype", "off"), [("bf16", torch.bfloat16, 0.05), ("fp16", torch.float16, 0.005)]
)
def test_in_precision_casts_weights_and_inputs_and_returns_float32(
    precision: str, dtype: torch.dtype, off: float
) -> None:
    batch = {
        "x": np.random.default_rng(0).standard_normal((3, 16)).astype(np.float32),
        "ids": np.arange(3, dtype=np.int64)[:, None],
    }
    exact = NetworkRuntime(Affine(), "cpu")
    network = Affine()
    reduced = NetworkRuntime(network, "cpu", precision)
    assert (exact.precision, reduced.precision) == ("fp32", precision)
    assert reduced.memory_bytes * 2 == exact.memory_bytes
    expected, got = exact.run(batch), reduced.run(batch)
    assert network.seen == [dtype, torch.int64]
    assert {name: array.dtype.name for name, array in got.items()} == {"y": "float32", "ids": "int64"}
    assert 0.0 < np.abs(got["y"] - expected["y"]).max() < off
    np.testing.assert_array_equal(got["ids"], batch["ids"])


def test_has_instructions_reads_the_processor_flags(monkeypatch: pytest.MonkeyPatch) -> None:
    assert has_instructions("fp32", "cpu")
    monkeypatch.setattr("torch.cpu.get_capabilities", lambda: {"avx512_f": True, "amx_bf16": True})
    assert has_instructions("bf16", "cpu")
    assert not has_instructions("fp16", "cpu")
    monkeypatch.setattr("torch.cpu.get_capabilities", lambda: {"avx512_f": True, "avx512_bf16": False})
    assert not has_instructions("bf16", "cpu")


class Convolutions(Network):
    """A norm after its convolution, one after an activation, and one that two convolutions share."""

    keep_in_fp32 = ("stem",)

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8), torch.nn.ReLU())
        self.far = torch.nn.Conv2d(8, 8, 1)
        self.far_norm = torch.nn.BatchNorm2d(8)
        self.one, self.two = torch.nn.Conv2d(8, 8, 1), torch.nn.Conv2d(8, 8, 1)
        self.shared_norm = torch.nn.BatchNorm2d(8)
        for norm in (self.stem[1], self.far_norm, self.shared_norm):
            torch.nn.init.uniform_(norm.running_mean, -1, 1)
            torch.nn.init.uniform_(norm.running_var, 0.5, 2)
            torch.nn.init.uniform_(norm.weight, 0.5, 2)
            torch.nn.init.uniform_(norm.bias, -1, 1)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        x = self.stem(x)
        x = self.far_norm(torch.relu(self.far(x)))
        return {"y": self.shared_norm(self.one(x)) + self.shared_norm(self.two(x))}


def test_batch_norms_fold_only_into_the_convolutions_before_them() -> None:
    network = Convolutions().eval()
    x = torch.from_numpy(np.random.default_rng(0).standard_normal((2, 3, 9, 9)).astype(np.float32))
    with torch.inference_mode():
        before = network(x)["y"]
        fold_batch_norms(network, {"x": x})
        after = network(x)["y"]
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-5)
    assert not isinstance(network.stem[1], torch.nn.BatchNorm2d)
    assert isinstance(network.far_norm, torch.nn.BatchNorm2d), "an activation stands between"
    assert isinstance(network.shared_norm, torch.nn.BatchNorm2d), "two convolutions share it"


@pytest.mark.weights
def test_real_image_network_folds_all_norms_and_gives_equal_answers(served: Any) -> None:
    real = served("efficientnet_lite0")
    network = copy.deepcopy(real.network)
    batch = {"pixel_values": torch.randn((2, 3, 224, 224), generator=torch.Generator().manual_seed(0))}
    with torch.inference_mode():
        before = network(**batch)["logits"]
        fold_batch_norms(network, batch)
        torch.testing.assert_close(network(**batch)["logits"], before, rtol=0, atol=1e-4)
    assert not [m for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d)]


def test_modules_kept_in_fp32_are_not_cast() -> None:
    network = Convolutions().eval()
    expected = copy.deepcopy(network.stem.state_dict())
    reduced = InPrecision(network, "bf16")
    kept = {name: t for name, t in reduced.state_dict().items() if "stem" in name}
    assert len(kept) == len(expected)
    for (name, tensor), before in zip(kept.items(), expected.values(), strict=True):
        assert tensor.dtype == before.dtype, name
        assert torch.equal(tensor, before), "not rounded on the way"
    assert network.one.weight.dtype == torch.bfloat16
    x = torch.from_numpy(np.random.default_rng(0).standard_normal((2, 3, 9, 9)).astype(np.float32))
    with torch.inference_mode():
        torch.testing.assert_close(reduced(x=x)["y"], Convolutions().eval()(x)["y"], rtol=0.05, atol=0.1)


@pytest.mark.weights
def test_first_modules_in_fp32_bring_the_real_image_network_nearer_to_fp32(served: Any) -> None:
    real = served("efficientnet_lite0")
    assert real.network.keep_in_fp32 == ("backbone.conv_stem", "backbone.blocks.0")
    items = probe_items(real.task)
    reference = alone(real.task, real.runtime, items)

    def cosine(keep: bool) -> float:
        network = copy.deepcopy(real.network)
        network.keep_in_fp32 = network.keep_in_fp32 if keep else ()
        return compare(real.task, NetworkRuntime(network, "cpu", "bf16"), reference, items, 2).cosine

    assert 1.0 - cosine(keep=True) < 0.7 * (1.0 - cosine(keep=False))
