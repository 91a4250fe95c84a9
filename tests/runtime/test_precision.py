"""A network runs in the number format that was asked for, and callers see float32 whatever that is."""

import numpy as np
import pytest
import torch

from service.runtime.network import NetworkRuntime
from service.runtime.precision import has_instructions


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
def test_weights_and_inputs_are_cast_and_outputs_are_not(precision: str, dtype: torch.dtype, off: float) -> None:
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


def test_instructions_are_read_from_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    assert has_instructions("fp32", "cpu")
    monkeypatch.setattr("torch.cpu.get_capabilities", lambda: {"avx512_f": True, "amx_bf16": True})
    assert has_instructions("bf16", "cpu")
    assert not has_instructions("fp16", "cpu")
    monkeypatch.setattr("torch.cpu.get_capabilities", lambda: {"avx512_f": True, "avx512_bf16": False})
    assert not has_instructions("bf16", "cpu")
