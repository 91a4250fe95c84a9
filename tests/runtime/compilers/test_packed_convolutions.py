"""Convolutions with reordered weights give equal answers for any number of rows."""

import copy
from operator import attrgetter
from typing import Any, ClassVar

import pytest
import torch
from torch import nn
from torch.fx import Graph, GraphModule, Node

from service.runtime.compilers.inductor_compilation import OPTIONS
from service.runtime.compilers.packed_convolutions import ROWS, PackConvolutions

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
def test_packed_weights_give_equal_answers(name: str) -> None:
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


def test_images_of_varying_size_keep_weights_unpacked() -> None:
    module = as_inductor_has_it(nn.Conv2d(8, 16, 3), ("rows", 8, "height", "width"))
    before = str(module.graph)
    PackConvolutions()(module.graph)
    assert str(module.graph) == before


class Enough(Exception):
    """Raised to end the compilation after the pass; the rest takes the C++ compiler a minute."""


class Watched(PackConvolutions):
    """Records which weights are packed before and after the pass, then ends the compilation."""

    seen: ClassVar[list[tuple[list[bool], list[bool]]]] = []  # a class attribute, since Inductor copies the object

    def __call__(self, graph: Graph) -> None:
        before = self._in_order(graph)
        super().__call__(graph)
        if before:  # Inductor calls the pass for graphs of constants, too
            self.seen.append((before, self._in_order(graph)))
            raise Enough

    @staticmethod
    def _in_order(graph: Graph) -> list[bool]:
        found = []
        for node in graph.nodes:
            if node.op == "call_function" and "convolution" in str(node.target):
                weight = node.args[1]
                assert isinstance(weight, Node)
                assert weight.op == "get_attr", "a constant by now"
                found.append(attrgetter(str(weight.target))(graph.owning_module).is_mkldnn)
        return found


@torch.inference_mode()
def test_inductor_calls_the_pass_after_freezing_and_before_code_generation() -> None:
    """Another release of torch may call the hook at another stage."""
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 1)).eval()
    network = network.to(memory_format=torch.channels_last)
    rows = torch.export.Dim("rows", min=1, max=ROWS)
    pictures = torch.zeros(4, 3, 16, 16).to(memory_format=torch.channels_last)
    program = torch.export.export(network, (pictures,), dynamic_shapes=({0: rows},))
    assert any(isinstance(value, PackConvolutions) for value in OPTIONS.values())
    options = {key: Watched() if isinstance(value, PackConvolutions) else value for key, value in OPTIONS.items()}
    with pytest.raises(Exception, match=Enough.__name__):
        torch._inductor.aoti_compile_and_package(program, inductor_configs=options)
    assert Watched.seen == [([False, False], [True, True])]
