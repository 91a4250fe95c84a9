"""Whether callers could choose the size of a tensor by the values that they send.

The sizes of what callers send are bounded, and so is all whose size follows from them. A graph may also make a tensor of a size
that it computes: from shapes, which are bounded, or from values, which are not. One small request could then fill the memory.
"""

from typing import Any

__all__ = ["size_from_values"]

_SIZES_IN: dict[str, tuple[int, ...]] = {
    "AffineGrid": (1,),
    "BlackmanWindow": (0,),
    "CenterCropPad": (1,),
    "Col2Im": (1, 2),
    "ConstantOfShape": (0,),
    "DFT": (1,),
    "Expand": (1,),
    "HammingWindow": (0,),
    "HannWindow": (0,),
    "MaxUnpool": (2,),
    "MelWeightMatrix": (0, 1, 2, 3, 4),
    "OneHot": (1,),
    "Pad": (1,),
    "Range": (0, 1, 2),
    "Resize": (2, 3),
    "STFT": (1, 3),
    "Tile": (1,),
    "Upsample": (1,),
}
"""Inputs of operators, by position, whose values decide how large the result is."""
_OF_SHAPE = ("Shape", "Size")
"""Operators whose results depend on the size of their input alone."""


def size_from_values(graph: Any) -> str:
    """The first operator whose result has a size that the values of an input of the graph decide; empty if there is none.

    ``graph``: a ``GraphProto`` without graphs inside. Its nodes are in the order in which they run.
    """
    weights = {tensor.name for tensor in graph.initializer}
    from_values = {tensor.name for tensor in graph.input} - weights
    for node in graph.node:
        sizes = _SIZES_IN.get(node.op_type, ())
        if any(position < len(node.input) and node.input[position] in from_values for position in sizes):
            return str(node.op_type)
        if node.op_type not in _OF_SHAPE and not from_values.isdisjoint(node.input):
            from_values.update(node.output)
    return ""
