"""OpenVINO reads the graph of an ONNX file, and gives the answers of ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from onnx import TensorProto, helper

from model_zoo.store import Store
from service.registry.loading.loader import Loader
from service.runtime.compilers.compilation_spec import CompilationSpec, CompileRequest
from service.runtime.compilers.compile_worker import CompilationFailed, compile_network
from service.runtime.compilers.compiled_cache import CompiledPackage
from service.runtime.compilers.openvino import OpenVinoRuntime
from service.runtime.device import DevicePlan
from service.verification.probes import closeness_problem, compare, probe_items
from tests.support.references.onnx_files import (
    cnn_file,
    graph,
    product,
    saved,
    sequence_file,
    single_row_file,
    steps_file,
    token_file,
)
from tests.support.references.onnx_models import pulled_here

PLAN = DevicePlan("cpu", 1, 1)


@pytest.mark.parametrize("make", [cnn_file, single_row_file, token_file, sequence_file, steps_file])
def test_answers_are_those_of_onnx_runtime(make: Callable[[Path], Path], tmp_path: Path) -> None:
    settings = {} if make in (cnn_file, single_row_file) else {"max_length": "16"}
    found = pulled_here(make(tmp_path / "network.onnx"), tmp_path / "home", **settings)
    loaded = Loader(Store(tmp_path / "home"), "cpu", True, lambda _: lambda done, total, what: None).load(found.card)
    staging = tmp_path / "staging"
    staging.mkdir()
    document = found.card.model_dump(mode="json")
    request = CompileRequest(document, str(found.files.weights), "fp32", 1, str(staging), "openvino")
    made = compile_network(request)
    package = CompiledPackage(staging, {}, tuple(made["inputs"]), tuple(made["outputs"]), 0.0)
    runtime = OpenVinoRuntime(package, "fp32", PLAN)
    assert loaded.reference is not None
    seen = compare(loaded.task, runtime, loaded.reference, probe_items(loaded.task), 4)
    assert closeness_problem(found.card, "fp32", seen) is None


@pytest.mark.parametrize(("compiler", "precision"), [("aotinductor", "fp32"), ("openvino", "bf16")])
def test_other_compilers_and_precisions_refuse(compiler: str, precision: str, tmp_path: Path) -> None:
    found = pulled_here(saved(product(), tmp_path / "network.onnx"), tmp_path / "home")
    document = found.card.model_dump(mode="json")
    request = CompileRequest(document, str(found.files.weights), precision, 1, str(tmp_path), compiler)
    with pytest.raises(CompilationFailed, match="by OpenVINO and in fp32 only") as refused:
        compile_network(request)
    assert refused.value.lasting


def test_outputs_in_other_precisions_stay_with_onnx_runtime(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["z"]),
        helper.make_node("Cast", ["z"], ["y"], to=TensorProto.DOUBLE),
    ]
    outputs = [helper.make_tensor_value_info("y", TensorProto.DOUBLE, ["n", 3])]
    found = pulled_here(saved(graph(nodes, outputs=outputs), tmp_path / "network.onnx"), tmp_path / "home")
    document = found.card.model_dump(mode="json")
    request = CompileRequest(document, str(found.files.weights), "fp32", 1, str(tmp_path), "openvino")
    with pytest.raises(CompilationFailed, match="another precision than fp32"):
        compile_network(request)


def test_weights_beside_the_graph_decide_the_compiled_code(tmp_path: Path) -> None:
    keys = set()
    for i in range(2):
        model = product()
        folder = tmp_path / str(i)
        folder.mkdir()
        if i:
            values = bytearray(model.graph.initializer[0].raw_data)
            values[0] ^= 1
            model.graph.initializer[0].raw_data = bytes(values)
        options = {"save_as_external_data": True, "location": "w.bin", "size_threshold": 0}
        found = pulled_here(saved(model, folder / "network.onnx", **options), tmp_path / "home", f"tiny_{i}")
        keys.add(CompilationSpec.of(found.card, found.files.digest, "fp32", 1, "openvino").key())
    assert len(keys) == 2
