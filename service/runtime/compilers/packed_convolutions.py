"""Convolution weights in the layout of the kernels, written into the compiled code once.

If the number of rows varies, Inductor leaves a convolution's weights as they are, and oneDNN reorders them in every batch: for
`efficientnet_lite0` in bf16 a quarter of the time of one row, and a twentieth of that of eight. Here the weights are reordered
when the network is compiled. oneDNN's layout depends a little on the number of rows. If the assumed number is wrong the answers
are the same; at worst the weights are reordered in every batch, as before.
"""

from __future__ import annotations

from operator import attrgetter

import torch
from torch._inductor.custom_graph_pass import CustomGraphPass
from torch._subclasses.fake_tensor import unset_fake_temporarily
from torch.fx import Graph, Node

ROWS = 16
"""The assumed number. Of 1, 2, 4, 8 and 16 it is the fastest for `efficientnet_lite0` at each number of rows from 1 to 16."""


class PackConvolutions(CustomGraphPass):
    """A pass for Inductor's option `post_grad_custom_pre_pass`, with frozen weights."""

    def __call__(self, graph: Graph) -> None:
        """Change the graph in place."""
        operation = torch.ops.mkldnn._convolution_pointwise.default
        for number, node in enumerate(graph.find_nodes(op="call_function", target=operation)):
            self._pack(graph, node, f"packed_convolution_{number}")

    def _pack(self, graph: Graph, node: Node, name: str) -> None:
        source, weight, _, padding, stride, dilation, groups = node.args[:7]
        if not isinstance(weight, Node) or weight.op != "get_attr" or not isinstance(source, Node):
            return
        values = attrgetter(str(weight.target))(graph.owning_module)
        size = source.meta["val"].shape
        if values.is_mkldnn or not all(isinstance(length, int) for length in size[1:]):
            return  # reordered already, or for images of varying size, for which no layout can be assumed
        with unset_fake_temporarily():
            packed = torch.ops.mkldnn._reorder_convolution_weight(
                values, padding, stride, dilation, groups, [ROWS, *size[1:]]
            )
        setattr(graph.owning_module, name, packed)
        with graph.inserting_before(node):
            constant = graph.create_node("get_attr", name)
        constant.meta.update(weight.meta)
        node.replace_input_with(weight, constant)

    def uuid(self) -> None:
        """None: Inductor's own cache is not used."""
