"""Convolutions whose weights were put into the kernels' order give the same answers, for any number of rows."""

import copy
from typing import Any

import pytest
import torch
from torch import nn
from torch.fx import Graph, GraphModule

from service.runtime.packed_convolutions import ROWS, PackConvolutions

pytestmark = pytest.mark.skipif(not torch._C._has_mkldnn, reason="torch has no oneDNN here")

CONVOLUTIONS = {
    "3 × 3": nn.Conv2d(8, 16, 3, padding=1),
    "1 × 1": nn.Conv2d(16, 32, 1),
    "depthwise, of every second pixel": nn.Conv2d(32, 32, 3, stride=2, groups=32),
    "without a bias, dilated": nn.Conv2d(4, 8, 3, dilation=2, bias=False),
}


def as_inductor_has_it(convolution: nn.Conv2d, shape: tuple[object, ...]) -> GraphModule:
    """A graph of one convolution, at the point where the pass is called."""
    graph = Graph()
    x, weight = graph.placeholder("x"), graph.get_attr("convolution.weight")
    x.meta["val"] = type("Value", (), {"shape": shape})
    weight.meta["val"] = convolution.weight
    bias = graph.get_attr("convolution.bias") if convolution.bias is not None else None
    about: tuple[Any, ...] = (convolution.padding, convolution.stride, convolution.dilation)
    about = (*(list(pair) for pair in about), convolution.groups)
    operation = torch.ops.mkldnn._convolution_pointwise.default
    graph.output(graph.call_function(operation, (x, weight, bias, *about, "none", [], "")))
    return GraphModule(nn.ModuleDict({"convolution": convolution}), graph)


@pytest.mark.parametrize("name", CONVOLUTIONS)
@torch.inference_mode()
def test_answers_are_those_of_the_weights_as_they_were(name: str) -> None:
    torch.manual_seed(3)
    convolution = copy.deepcopy(CONVOLUTIONS[name]).eval().to(memory_format=torch.channels_last)
    module = as_inductor_has_it(convolution, ("rows", convolution.in_channels, 20, 20))
    PackConvolutions()(module.graph)
    module.recompile()
    (constant,) = [node for node in module.graph.nodes if str(node.target).startswith("packed")]
    assert getattr(module, constant.target).is_mkldnn
    for rows in (1, 3, ROWS, ROWS + 5):
        pictures = torch.randn(rows, convolution.in_channels, 20, 20).to(memory_format=torch.channels_last)
        torch.testing.assert_close(module(pictures), convolution(pictures), rtol=1e-5, atol=1e-5)


def test_pictures_of_varying_size_leave_weights_as_they_are() -> None:
    module = as_inductor_has_it(nn.Conv2d(8, 16, 3), ("rows", 8, "height", "width"))
    before = str(module.graph)
    PackConvolutions()(module.graph)
    assert str(module.graph) == before
