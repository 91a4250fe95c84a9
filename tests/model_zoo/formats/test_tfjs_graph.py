"""Weights of a graph get torch's layout by the nodes that read them; constants of the graph itself are left out."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from model_zoo import strict_json
from model_zoo.formats.tfjs_graph import graph_state_of
from tests.support.model_zoo.tfjs_files import tfjs_graph

Arrays = dict[str, NDArray[Any]]


def state_of(arrays: Arrays, nodes: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
    manifest, numbers = tfjs_graph(arrays, nodes)
    return graph_state_of(manifest, {"numbers.bin": numbers})


def node(operation: str, *inputs: str) -> dict[str, Any]:
    return {"name": f"{operation}_{len(inputs)}", "op": operation, "input": [*inputs]}


def test_kernel_of_a_convolution_gets_the_layout_of_torch() -> None:
    kernel = np.random.default_rng(0).random((3, 2, 5, 4)).astype(np.float32)  # height, width, in, out
    state = state_of(
        {"part/split_1": kernel, "unknown_2": np.ones(4, np.float32)}, [node("Conv2D", "x", "part/split_1")]
    )
    assert [*state] == ["part/split_1", "unknown_2"]
    np.testing.assert_array_equal(state["part/split_1"].numpy(), kernel.transpose(3, 2, 0, 1))


def test_convolution_with_the_kernel_gives_what_the_graph_computes() -> None:
    generator = np.random.default_rng(1)
    kernel = generator.random((3, 3, 2, 4)).astype(np.float32)
    image = generator.random((5, 6, 2)).astype(np.float32)
    found = torch.nn.functional.conv2d(
        torch.from_numpy(image).permute(2, 0, 1)[None], state_of({"k": kernel}, [node("Conv2D", "x", "k")])["k"]
    )[0]
    expected = sum(
        np.einsum("hwi,io->ohw", image[y : y + 3, x : x + 4], kernel[y, x]) for y in range(3) for x in range(3)
    )
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-5)


def test_kernel_of_each_channel_by_itself_gets_the_layout_of_torch() -> None:
    kernel = np.arange(2 * 3 * 4 * 2, dtype=np.float32).reshape(2, 3, 4, 2)  # height, width, in, multiplier
    found = state_of({"k": kernel}, [node("DepthwiseConv2dNative", "x", "k")])["k"]
    assert found.shape == (8, 1, 2, 3)
    for channel in range(4):
        for multiple in range(2):
            np.testing.assert_array_equal(found[2 * channel + multiple, 0].numpy(), kernel[:, :, channel, multiple])


@pytest.mark.parametrize(
    ("operation", "plain"), [("_FusedConv2D", "Conv2D"), ("FusedDepthwiseConv2dNative", "DepthwiseConv2dNative")]
)
def test_kernel_of_a_node_that_does_more_gets_the_same_layout(operation: str, plain: str) -> None:
    kernel = np.random.default_rng(3).random((3, 2, 5, 1)).astype(np.float32)
    found, expected = (state_of({"k": kernel}, [node(one, "x", "k")])["k"] for one in (operation, plain))
    assert torch.equal(found, expected)


def test_kernel_of_a_transposed_convolution_gives_what_the_graph_computes() -> None:
    generator = np.random.default_rng(4)
    kernel = generator.random((2, 2, 4, 3)).astype(np.float32)  # height, width, out, in
    image = generator.random((3, 5, 6)).astype(np.float32)  # in, height, width
    state = state_of({"k": kernel}, [node("Conv2DBackpropInput", "size", "k", "x")])
    found = torch.nn.functional.conv_transpose2d(torch.from_numpy(image)[None], state["k"], stride=2)[0]
    expected = np.einsum("ihw,yxoi->ohywx", image, kernel).reshape(4, 10, 12)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-5)


def test_constants_of_the_graph_are_no_weights() -> None:
    arrays: Arrays = {
        "paddings": np.zeros((4, 2), np.int32),
        "filling": np.array(-np.inf, np.float32),
        "bias": np.ones(3, np.float32),
    }
    assert [*state_of(arrays, [])] == ["bias"]


def test_weight_that_no_convolution_reads_keeps_its_layout() -> None:
    table = np.random.default_rng(2).random((1, 2, 3, 4)).astype(np.float32)
    np.testing.assert_array_equal(state_of({"table": table}, [node("Add", "x", "table")])["table"].numpy(), table)


def test_kernel_without_four_axes_is_refused() -> None:
    with pytest.raises(ValueError, match="the kernel 'k' has 2 axes, not 4"):
        state_of({"k": np.ones((3, 3), np.float32)}, [node("Conv2D", "x", "k")])


@pytest.mark.parametrize(
    "document", [{}, {"modelTopology": None}, {"modelTopology": {"node": 3}}, {"modelTopology": []}, []]
)
def test_document_without_a_graph_is_refused(document: Any) -> None:
    with pytest.raises(ValueError, match="no graph model"):
        graph_state_of(strict_json.text(document).encode(), {})


def test_damaged_nodes_are_passed_over() -> None:
    nodes: list[Any] = [None, {"op": "Conv2D"}, {"op": "Conv2D", "input": ["x"]}, {"op": ["Conv2D"], "input": "xk"}]
    assert [*state_of({"k": np.ones(2, np.float32)}, nodes)] == ["k"]
