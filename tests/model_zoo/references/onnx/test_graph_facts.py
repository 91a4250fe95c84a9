"""What an ONNX file says is read from its graph."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from onnx import TensorProto, helper

from model_zoo.references.onnx.facts import Unusable
from model_zoo.references.onnx.graph_facts import facts_of
from tests.support.references.onnx_files import cnn_file, floats, graph, saved, token_file, weights


def of(model: Any, tmp_path: Path) -> Any:
    return facts_of(saved(model, tmp_path / "network.onnx"))


def test_export_of_torch_is_read(tmp_path: Path) -> None:
    facts = facts_of(cnn_file(tmp_path / "network.onnx"))
    assert [(tensor.name, tensor.datatype, tensor.axes) for tensor in facts.inputs] == [
        ("image", "FP32", ("rows", 3, 16, 16))
    ]
    assert [(tensor.name, tensor.axes) for tensor in facts.outputs] == [("logits", ("rows", 5))]
    assert facts.family == "cnn"
    assert facts.parameters == 8 * 27 + 8 + 8 * 5 + 5
    assert facts.producer.startswith("pytorch ")
    assert facts.external == ()


def test_length_of_a_table_bounds_the_positions_in_it(tmp_path: Path) -> None:
    assert facts_of(token_file(tmp_path / "network.onnx")).positions == {"input_ids": 50}


def test_attention_makes_a_transformer_and_a_final_softmax_does_not(tmp_path: Path) -> None:
    final = [helper.make_node("MatMul", ["x", "w"], ["z"]), helper.make_node("Softmax", ["z"], ["y"])]
    facts = of(graph(final), tmp_path)
    assert (facts.family, facts.ends_in_probabilities) == ("mlp", ("y",))
    inner = [
        helper.make_node("Softmax", ["x"], ["a"]),
        helper.make_node("Cast", ["a"], ["b"], to=TensorProto.FLOAT),
        helper.make_node("MatMul", ["b", "w"], ["y"]),
    ]
    facts = of(graph(inner), tmp_path)
    assert (facts.family, facts.ends_in_probabilities) == ("transformer", ())


def test_axes_without_a_name_get_one(tmp_path: Path) -> None:
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 4])
    facts = of(graph([helper.make_node("MatMul", ["x", "w"], ["y"])], inputs=[value]), tmp_path)
    assert facts.inputs[0].axes == ("x.0", 4)


def test_weights_that_are_inputs_as_well_are_no_inputs(tmp_path: Path) -> None:
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    facts = of(graph(nodes, inputs=[floats("x", "n", 4), floats("w", 4, 3)]), tmp_path)
    assert [tensor.name for tensor in facts.inputs] == ["x"]


def test_size_from_a_shape_is_taken_and_size_from_a_value_is_refused(tmp_path: Path) -> None:
    product = helper.make_node("MatMul", ["x", "w"], ["z"])
    by_shape = [product, helper.make_node("Shape", ["z"], ["s"]), helper.make_node("Expand", ["z", "s"], ["y"])]
    assert of(graph(by_shape), tmp_path).family == "mlp"
    whole = helper.make_node("Cast", ["z"], ["s"], to=TensorProto.INT64)
    flat = helper.make_node("Reshape", ["s", "flat"], ["t"])
    last = helper.make_node("Expand", ["z", "t"], ["y"])
    constant = helper.make_tensor("flat", TensorProto.INT64, [1], [-1])
    with pytest.raises(Unusable, match="in Expand"):
        of(graph([product, whole, flat, last], initializers=[weights("w", 4, 3), constant]), tmp_path)


def test_very_many_inputs_are_refused(tmp_path: Path) -> None:
    inputs = [floats(f"x{i}", "n", 4) for i in range(80)]
    nodes = [
        helper.make_node("Sum", [value.name for value in inputs], ["x"]),
        helper.make_node("MatMul", ["x", "w"], ["y"]),
    ]
    with pytest.raises(Unusable, match="more than 64"):
        of(graph(nodes, inputs=inputs), tmp_path)
