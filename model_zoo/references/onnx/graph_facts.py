"""Reads the facts of an ONNX file, and refuses what Zoo does not serve.

The file may be anything, and the parser is large: this runs in a process of its own, with limits on memory and time
(``service/references/onnx/``). Nothing is computed here.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import onnx
from onnx import TensorProto
from pydantic import ValidationError

from model_zoo.cards.signature import Datatype
from model_zoo.references.onnx.external_data import checked_external_files
from model_zoo.references.onnx.facts import MOST_AXES, MOST_BYTES, MOST_TENSORS, OnnxFacts, OnnxTensor, Unusable
from model_zoo.references.onnx.graph_sizes import size_from_values

__all__ = ["facts_of"]

DATATYPES: dict[int, Datatype] = {
    TensorProto.BOOL: "BOOL",
    TensorProto.UINT8: "UINT8",
    TensorProto.UINT16: "UINT16",
    TensorProto.UINT32: "UINT32",
    TensorProto.UINT64: "UINT64",
    TensorProto.INT8: "INT8",
    TensorProto.INT16: "INT16",
    TensorProto.INT32: "INT32",
    TensorProto.INT64: "INT64",
    TensorProto.FLOAT16: "FP16",
    TensorProto.FLOAT: "FP32",
    TensorProto.DOUBLE: "FP64",
}
"""Types of inputs and outputs; others, such as texts, are refused."""
STANDARD = ("", "ai.onnx")
"""Names of the domain of the standard operators."""
_PASSES_POSITIONS = ("Cast", "Identity", "Reshape", "Squeeze", "Unsqueeze")
_PASSES_WEIGHTS = ("Cast", "Dropout", "Identity", "Where")
"""Operators between the softmax of attention and the product."""
_PROBABILITIES = ("Softmax", "LogSoftmax", "Sigmoid", "Hardmax")


def facts_of(path: Path) -> OnnxFacts:
    """The facts of a file.

    Raises:
        Unusable: it is no ONNX file, is damaged, or has what Zoo does not serve.
    """
    if path.stat().st_size > MOST_BYTES:
        raise Unusable(f"it has more than {MOST_BYTES:,} bytes, the limit of the format")
    model = _parsed(path)
    graph: Any = model.graph
    opset = _opset(model)
    _check_operators(model)
    external = checked_external_files(_external_tensors(graph), path)
    for tensor in _tensors(graph):
        _check_size(tensor)
    _check_structure(model, path, external)
    if operator := size_from_values(graph):
        raise Unusable(f"the values of an input decide the size of a tensor (in {operator}), which would have no bound")
    weights = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in weights]
    if not inputs or not graph.output:
        raise Unusable("it has no input or no output")
    if len(inputs) + len(graph.output) > MOST_TENSORS:
        raise Unusable(f"it has more than {MOST_TENSORS} inputs and outputs")
    try:
        return OnnxFacts(
            inputs=tuple(_tensor(value, "input") for value in inputs),
            outputs=tuple(_tensor(value, "output") for value in graph.output),
            parameters=_parameters(graph),
            family=_family(graph),
            opset=opset,
            producer=f"{model.producer_name} {model.producer_version}".strip()[:200],
            external=external,
            positions=_positions(graph, {value.name for value in inputs}),
            ends_in_probabilities=_probabilities(graph),
        )
    except ValidationError as error:
        raise Unusable("an input or output has a name or an axis that is empty or very long") from error


def _parsed(path: Path) -> Any:
    try:
        model: Any = onnx.load(str(path), load_external_data=False)
    except Exception as error:  # protobuf raises errors of several kinds
        raise Unusable("it is no ONNX file, or it is damaged") from error
    if not model.HasField("graph") or not model.graph.node:
        raise Unusable("it is no ONNX file, or it is damaged: it has no graph")
    return model


def _opset(model: Any) -> int:
    versions = {entry.domain: int(entry.version) for entry in model.opset_import}
    found = versions.get("", versions.get("ai.onnx", 0))
    newest = int(onnx.defs.onnx_opset_version())
    if found > newest:
        raise Unusable(f"it has operators of opset {found}; the newest that is known here is {newest}")
    if found < 1:
        raise Unusable("it does not say which version of the standard operators it has (opset)")
    return found


def _check_operators(model: Any) -> None:
    if model.functions:
        raise Unusable("it has functions of its own; export it with its functions inlined")
    for node in model.graph.node:
        if node.domain not in STANDARD:
            domain = f"{node.op_type[:80]} of {node.domain[:80]}"
            raise Unusable(f"it has the custom operator {domain}; only standard operators are served")
        if any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute):
            why = "might never end" if node.op_type == "Loop" else "has a graph of its own inside"
            raise Unusable(f"it has the operator {node.op_type[:80]}, which {why}")
    if model.graph.sparse_initializer:
        raise Unusable("it has sparse weights")


# ── weights ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _tensors(graph: Any) -> Iterator[Any]:
    """All tensors that are stored in the graph."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors


def _external_tensors(graph: Any) -> Iterator[tuple[Any, int]]:
    for tensor in _tensors(graph):
        if tensor.data_location == TensorProto.EXTERNAL:
            yield tensor, _bytes_needed(tensor)


def _bytes_needed(tensor: Any) -> int:
    if any(size < 0 for size in tensor.dims):
        raise Unusable(f"the weights {tensor.name[:80]!r} have an axis of negative size")
    try:
        width = 1 / 2 if "INT4" in TensorProto.DataType.Name(tensor.data_type) else _width(tensor.data_type)
    except (ValueError, KeyError, TypeError) as error:
        raise Unusable(f"the weights {tensor.name[:80]!r} have an unknown type") from error
    needed: int = math.ceil(math.prod(tensor.dims) * width)
    return needed


def _width(data_type: int) -> int:
    return int(onnx.helper.tensor_dtype_to_np_dtype(data_type).itemsize)


def _check_size(tensor: Any) -> None:
    """Raises Unusable for a tensor with more or fewer bytes than its shape needs."""
    if tensor.data_location == TensorProto.EXTERNAL or tensor.data_type == TensorProto.STRING:
        return
    needed = _bytes_needed(tensor)
    if tensor.HasField("raw_data") and len(tensor.raw_data) != needed:
        raise Unusable(
            f"the weights {tensor.name[:80]!r} have {len(tensor.raw_data):,} bytes; their shape needs {needed:,}"
        )


def _check_structure(model: Any, path: Path, external: tuple[str, ...]) -> None:
    try:
        onnx.checker.check_model(str(path) if external else model)
    except Exception as error:  # its own errors, and those of the parser
        raise Unusable("its graph is not valid by the rules of ONNX") from error


def _parameters(graph: Any) -> int:
    """Numbers of the weights: of the tensors that are stored in the graph, without single ones and lists of positions."""
    whole = (TensorProto.INT64, TensorProto.INT32, TensorProto.BOOL, TensorProto.STRING)
    count = sum(math.prod(tensor.dims) for tensor in _tensors(graph) if tensor.data_type not in whole and tensor.dims)
    if count < 1:
        raise Unusable("it has no weights")
    return int(count)


# ── what the graph computes ───────────────────────────────────────────────────────────────────────────────────────────


def _tensor(value: Any, what: str) -> OnnxTensor:
    kind = value.type.WhichOneof("value")
    if kind != "tensor_type":
        shown = (kind or "nothing").removesuffix("_type").replace("_", " ")
        raise Unusable(f"the {what} {value.name[:80]!r} is no tensor ({shown})")
    described = value.type.tensor_type
    datatype = DATATYPES.get(described.elem_type)
    if datatype is None:
        names = TensorProto.DataType.keys()
        shown = names[described.elem_type] if 0 <= described.elem_type < len(names) else "unknown"
        raise Unusable(f"the {what} {value.name[:80]!r} has elements of the type {shown}, which is not served")
    if not described.HasField("shape"):
        return OnnxTensor(name=value.name, datatype=datatype, axes=None)
    dimensions = described.shape.dim
    if len(dimensions) > MOST_AXES:
        raise Unusable(f"the {what} {value.name[:80]!r} has more than {MOST_AXES} axes")
    axes: list[int | str] = []
    for i, dimension in enumerate(dimensions):
        size = dimension.dim_value if dimension.HasField("dim_value") else 0
        if size < 0 or (dimension.HasField("dim_value") and size == 0):
            raise Unusable(f"the {what} {value.name[:80]!r} has an axis of size {size}")
        axes.append(size or dimension.dim_param or f"{value.name[:80]}.{i}")
    return OnnxTensor(name=value.name, datatype=datatype, axes=tuple(axes))


def _positions(graph: Any, inputs: set[str]) -> dict[str, int]:
    """Inputs whose numbers are positions in a table of the weights, and the length of the shortest such table."""
    tables = {tensor.name: tensor.dims for tensor in graph.initializer}
    source = {name: name for name in inputs}
    found: dict[str, int] = {}
    for node in graph.node:
        if node.op_type in _PASSES_POSITIONS and node.input and node.input[0] in source:
            source[node.output[0]] = source[node.input[0]]
        if node.op_type != "Gather" or len(node.input) < 2 or node.input[1] not in source:
            continue
        axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 0)
        dims = tables.get(node.input[0], ())
        if -len(dims) <= axis < len(dims) and dims[axis] > 0:
            name = source[node.input[1]]
            found[name] = min(found.get(name, dims[axis]), dims[axis])
    return found


def _probabilities(graph: Any) -> tuple[str, ...]:
    outputs = {value.name for value in graph.output}
    return tuple(
        name for node in graph.node if node.op_type in _PROBABILITIES for name in node.output if name in outputs
    )


def _family(graph: Any) -> Literal["cnn", "rnn", "transformer", "mlp"]:
    """By the kinds of its operators. A softmax whose result is multiplied by a matrix is attention."""
    kinds = {node.op_type for node in graph.node}
    softmax: set[str] = set()
    for node in graph.node:
        if node.op_type == "Softmax" or (node.op_type in _PASSES_WEIGHTS and not softmax.isdisjoint(node.input)):
            softmax.update(node.output)
    if "Attention" in kinds or any(
        node.op_type == "MatMul" and not softmax.isdisjoint(node.input) for node in graph.node
    ):
        return "transformer"
    if kinds & {"LSTM", "GRU", "RNN"}:
        return "rnn"
    return "cnn" if kinds & {"Conv", "ConvInteger", "QLinearConv", "ConvTranspose"} else "mlp"
