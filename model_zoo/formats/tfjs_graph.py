"""Weights of a graph of TensorFlow.js → a state dict in torch's layout.

A graph model has no layers: its weights are the constants of its nodes, with names that a converter made. The nodes tell which
constants are kernels of convolutions, and so their layout. Constants of whole numbers, and those without an axis, are no weights
but parts of the graph: paddings, shapes, the order of axes. The graph is not run.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from model_zoo import strict_json
from model_zoo.formats.tfjs import arrays_of

__all__ = ["graph_state_of"]

_CONVOLUTIONS = ("Conv2D", "_FusedConv2D", "Conv2DBackpropInput")
"""The last one is the transposed convolution; its kernel is (height, width, out, in), as torch reads it from the other end."""
_DEPTHWISE = ("DepthwiseConv2dNative", "FusedDepthwiseConv2dNative")
_KERNEL = 1
"""Place of the kernel among the inputs of a node."""


def graph_state_of(manifest: bytes, files: Mapping[str, bytes]) -> dict[str, torch.Tensor]:
    """The weights by their names in the graph.

    Args:
        manifest: content of the ``model.json``, which holds the graph as well.
        files: contents of the files of numbers by their names.

    Raises:
        ValueError: as ``arrays_of``; it is no graph model; a kernel has another number of axes than four.
    """
    kernels = dict(_kernels(manifest))
    state: dict[str, torch.Tensor] = {}
    for name, array in arrays_of(manifest, files).items():
        if array.ndim and np.issubdtype(array.dtype, np.floating):
            state[name] = torch.from_numpy(np.ascontiguousarray(_as_torch(name, array, kernels.get(name, ""))))
    return state


def _kernels(manifest: bytes) -> Iterator[tuple[str, str]]:
    """The constants that are kernels, with the operation that reads them."""
    document = strict_json.read(manifest)
    topology = document.get("modelTopology") if isinstance(document, dict) else None
    nodes = topology.get("node") if isinstance(topology, dict) else None
    if not isinstance(nodes, list):
        raise ValueError("the document has no list modelTopology.node; it is no graph model")
    for node in nodes:
        operation, inputs = (node.get("op"), node.get("input")) if isinstance(node, dict) else (None, None)
        if operation in (*_CONVOLUTIONS, *_DEPTHWISE) and isinstance(inputs, list) and len(inputs) > _KERNEL:
            yield str(inputs[_KERNEL]), operation


def _as_torch(name: str, array: NDArray[Any], operation: str) -> NDArray[Any]:
    if not operation:
        return array
    if array.ndim != 4:
        raise ValueError(f"the kernel {name[:100]!r} has {array.ndim} axes, not 4")
    if operation in _CONVOLUTIONS:  # (height, width, in, out)
        return array.transpose(3, 2, 0, 1)
    height, width, inputs, times = array.shape  # of a convolution of each channel by itself
    return array.transpose(2, 3, 0, 1).reshape(inputs * times, 1, height, width)
