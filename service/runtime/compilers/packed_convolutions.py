"""Weights of convolutions in the order that the kernels want, written so into compiled code once and for all.

Where the number of rows varies, Inductor leaves a convolution's weights as they are, and oneDNN puts them into its own order
at every batch: for `efficientnet_lite0` in bf16 a quarter of what one row takes, and a twentieth at eight. Here they get that
order when the network is compiled. oneDNN's choice depends a little on the number of rows. Where another was guessed the answers
are the same: at worst the weights are put into order at every batch, as before.
"""

from __future__ import annotations

from operator import attrgetter

import torch
from torch._inductor.custom_graph_pass import CustomGraphPass
from torch._subclasses.fake_tensor import unset_fake_temporarily
from torch.fx import Graph, Node

ROWS = 16
"""Guessed. Of 1, 2, 4, 8 and 16 the quickest for `efficientnet_lite0` at each number of rows from 1 to 16."""


class PackConvolutions(CustomGraphPass):
    """For Inductor's option `post_grad_custom_pre_pass`, with frozen weights."""

    def __call__(self, graph: Graph) -> None:
        """Changes the graph in place."""
        operation = torch.ops.mkldnn._convolution_pointwise.default
        for number, node in enumerate(graph.find_nodes(op="call_function", target=operation)):
            self._pack(graph, node, f"packed_convolution_{number}")

    def _pack(self, graph: Graph, node: Node, name: str) -> None:
        rows_in, weight, _, padding, stride, dilation, groups = node.args[:7]
        if not isinstance(weight, Node) or weight.op != "get_attr" or not isinstance(rows_in, Node):
            return
        values = attrgetter(str(weight.target))(graph.owning_module)
        size = rows_in.meta["val"].shape
        if values.is_mkldnn or not all(isinstance(length, int) for length in size[1:]):
            return  # in order already, or for pictures of varying size, of which no guess is good
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
        """Nothing: Inductor's own cache is not used."""
