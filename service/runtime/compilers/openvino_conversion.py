"""Conversion of a network to OpenVINO's format, in the compile worker.

Modules that a card keeps in fp32 are marked in the written graph: OpenVINO does not reduce the precision of an operation that has
the runtime attribute `precise`.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.export.decomp_utils import CustomDecompTable

from service.runtime.compilers.compiled_manifest import GRAPH, WEIGHTS
from service.runtime.compilers.openvino import openvino

NOT_MARKED = frozenset({"Const", "Parameter", "Result"})
"""Types of layers that compute nothing."""
_STAND_INS = torch.library.Library("zoo_conversion", "DEF")  # type: ignore[no-untyped-call]
_STAND_INS.define("hardtanh(Tensor x, float low=-1, float high=1) -> Tensor")  # type: ignore[no-untyped-call]


@torch.library.register_fake("zoo_conversion::hardtanh", lib=_STAND_INS)  # type: ignore[untyped-decorator]
def _(x: Tensor, low: float = -1.0, high: float = 1.0) -> Tensor:
    return torch.empty_like(x)


def convert(
    program: ExportedProgram,
    staging: Path,
    axes: Sequence[Sequence[tuple[int, int]]],
    keep_in_fp32: Collection[str],
    quantise: Callable[[Any, Collection[str]], Any] | None = None,
) -> None:
    """Write a traced network into the staging folder.

    `axes` are the least and greatest sizes of the inputs' axes, `keep_in_fp32` dotted names of modules of the traced network.
    `quantise`, if any, gets the converted network and the names of the operations of those modules, and returns another network.

    Raises RuntimeError where OpenVINO lacks an operation.
    """
    library = openvino()
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.fx_decoder import TorchFXPythonDecoder

    decoder = TorchFXPythonDecoder(_decomposed(program).module(), dynamic_shapes=True)
    frontend = FrontEndManager().load_by_framework("pytorch")
    network = frontend.convert(frontend.load(decoder))
    sizes = [library.PartialShape([library.Dimension(*bounds) for bounds in shape]) for shape in axes]
    network.reshape(dict(enumerate(sizes)))
    modules = {node.name: _modules(node.meta.get("nn_module_stack")) for node in decoder._nodes}
    if quantise is not None:
        names = (operation.get_friendly_name() for operation in network.get_ops())
        network = quantise(network, [name for name in names if _inside(name, modules, keep_in_fp32)])
    library.save_model(network, staging / GRAPH, compress_to_fp16=False)
    if not (staging / WEIGHTS).exists():
        raise RuntimeError("the converted network has no weights")
    if keep_in_fp32:
        mark_precise(staging / GRAPH, modules, keep_in_fp32)


def convert_onnx(
    graph: Path,
    staging: Path,
    inputs: Sequence[str],
    outputs: Sequence[str],
    axes: Sequence[Sequence[tuple[int, int]]],
) -> None:
    """Write the network of an ONNX file into the staging folder.

    `inputs` and `outputs`: names in the order of the file. `axes` are the least and greatest sizes of the inputs' axes.

    Raises RuntimeError where OpenVINO lacks an operator, or reads other inputs or outputs.
    """
    library = openvino()
    network = library.Core().read_model(str(graph))
    ports, names = [*network.inputs, *network.outputs], [*inputs, *outputs]
    if len(ports) != len(names) or any(name not in port.names for name, port in zip(names, ports, strict=True)):
        raise RuntimeError("OpenVINO reads other inputs or outputs than the card has")
    sizes = [library.PartialShape([library.Dimension(*bounds) for bounds in shape]) for shape in axes]
    network.reshape(dict(enumerate(sizes)))
    library.save_model(network, staging / GRAPH, compress_to_fp16=False)
    if not (staging / WEIGHTS).exists():
        raise RuntimeError("the converted network has no weights")


def mark_precise(graph: Path, modules: Mapping[str, Sequence[str]], keep_in_fp32: Collection[str]) -> int:
    """Mark the layers of a graph that belong to modules which stay in fp32. Returns their number.

    `modules` has the modules around each node of the traced network. The name of a layer begins with that of its node. Raises
    RuntimeError where a module has no layer.
    """
    tree = ET.parse(graph)  # noqa: S314  # this process has just written it
    found: set[str] = set()
    count = 0
    for layer in tree.getroot().iterfind("layers/layer"):
        inside = _inside(layer.get("name", ""), modules, keep_in_fp32)
        if not inside or layer.get("type") in NOT_MARKED:
            continue
        info = layer.find("rt_info")
        if info is None:
            info = ET.Element("rt_info")
            layer.insert(1 if layer.find("data") is not None else 0, info)
        ET.SubElement(info, "attribute", name="precise", version="0")
        found |= inside
        count += 1
    if missing := {*keep_in_fp32} - found:
        raise RuntimeError(f"no layer of {', '.join(sorted(missing))} was found to be kept in fp32")
    tree.write(graph)
    return count


def _inside(name: str, modules: Mapping[str, Sequence[str]], wanted: Collection[str]) -> set[str]:
    """Those of the wanted modules that a layer belongs to. Its name begins with that of its node."""
    return {*modules.get(name.partition("/")[0], ())} & {*wanted}


def _modules(stack: Any) -> tuple[str, ...]:
    """Dotted names of the modules around a node, the outermost first."""
    return tuple(path for path, _ in (stack or {}).values())


def _decomposed(program: ExportedProgram) -> ExportedProgram:
    """The program in operations that OpenVINO's frontend converts.

    torch decomposes `hardtanh` (ReLU6) slowly, and OpenVINO needs no decomposition of it: a stand-in takes its place meanwhile.
    For `efficientnet_lite0` this takes 1.2 s instead of 5.
    """
    from openvino.frontend.pytorch.torchdynamo.export_decompositions import ops_to_not_decompose

    operations = torch.ops.aten
    stand_in = torch.ops.zoo_conversion.hardtanh.default
    for node in program.graph.nodes:
        if node.target in (operations.hardtanh.default, operations.hardtanh_.default):
            node.target = stand_in
    table = CustomDecompTable()  # type: ignore[no-untyped-call]
    for operation in ops_to_not_decompose():
        if operation in table.decomp_table:
            table.pop(operation)  # type: ignore[no-untyped-call]
    decomposed: ExportedProgram = program.run_decompositions(table)
    for node in decomposed.graph.nodes:
        if node.target is stand_in:
            node.target = operations.hardtanh.default
    return decomposed
