"""Requests become instances, and an error names the field that is wrong."""

import time
from typing import Any

import numpy as np
import pytest

from model_zoo.cards.recipes import TextRecipe
from service.errors import InvalidInput
from service.pb import open_inference_pb2 as pb
from service.types import AudioInstance, ImageInstance, TensorInstance, TextInstance, TextPairInstance
from service.wire.open_inference.requests import infer_request, wanted_outputs
from service.wire.open_inference.tensors import encode
from tests.support.wire.fakes import (
    PICTURES,
    SENTENCES,
    SOUNDS,
    card,
    spec,
)

Input = pb.ModelInferRequest.InferInputTensor
Output = pb.ModelInferRequest.InferRequestedOutputTensor
Parameter = pb.InferParameter


def request(*tensors: tuple[str, str, list[int]], **fields: Any) -> pb.ModelInferRequest:
    """A raw request whose elements are all zeros, as many as each shape says."""
    made = pb.ModelInferRequest(model_name="pictures", id="7", **fields)
    sizes = {"FP32": 4, "FP64": 8, "INT64": 8, "BYTES": 4}
    for name, datatype, shape in tensors:
        made.inputs.add(name=name, datatype=datatype, shape=shape)
        made.raw_input_contents.append(bytes(max(0, int(np.prod(shape))) * sizes[datatype]))
    return made


def image(*elements: bytes, shape: list[int] | None = None, name: str = "image") -> pb.ModelInferRequest:
    made = pb.ModelInferRequest(model_name="pictures", id="7")
    made.inputs.add(name=name, datatype="BYTES", shape=shape or [len(elements), 1])
    made.raw_input_contents.append(encode(np.array(elements, object), "BYTES"))
    return made


def refusal(made: pb.ModelInferRequest, of: Any = PICTURES) -> str:
    with pytest.raises(InvalidInput) as caught:
        (wanted_outputs(made, of), infer_request(made, of, None))
    return caught.value.message


PIXELS = ("pixels", "FP32", [1, 3, 2])
PAIRS = SENTENCES.model_copy(
    update={"recipe": TextRecipe(kind="text", max_tokens=8, pad_id=0, pairs=True, max_characters=100)}
)
OUTPUT = [spec("y", "FP32", -1, 1)]


# ── request ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_each_row_of_the_tensors_becomes_an_instance_that_views_the_message() -> None:
    values = np.arange(12, dtype=np.float32).reshape(2, 3, 2)
    made = pb.ModelInferRequest(
        model_name="pictures", model_version="stable", id="7", raw_input_contents=[values.tobytes()]
    )
    made.inputs.add(name="pixels", datatype="FP32", shape=[2, 3, 2])
    converted = infer_request(made, PICTURES, None)
    assert (converted.model, converted.version, converted.request_id) == ("pictures", "stable", "7")
    assert converted.deadline is None
    rows = [instance.tensors["pixels"] for instance in converted.instances if isinstance(instance, TensorInstance)]
    np.testing.assert_array_equal(np.stack(rows), values)
    assert np.shares_memory(rows[0].base, rows[1].base)
    assert [converted.path(0), converted.path(1)] == ["inputs[0][0]", "inputs[0][1]"]


@pytest.mark.parametrize(
    ("of", "name", "kind"),
    [(PICTURES, "image", ImageInstance), (SENTENCES, "text", TextInstance), (SOUNDS, "audio", AudioInstance)],
)
@pytest.mark.parametrize("shape", [[2], [2, 1]])
def test_each_element_of_the_raw_input_becomes_an_instance(of: Any, name: str, kind: Any, shape: list[int]) -> None:
    converted = infer_request(image(b"one", b"two", shape=shape, name=name), of, None)
    assert list(converted.instances) == [kind(b"one"), kind(b"two")]


def test_inputs_come_in_any_order() -> None:
    either = [("mask", "INT64", [2, 3]), ("ids", "INT64", [2, 3])]
    row = infer_request(request(*either), SENTENCES, None).instances[0]
    assert isinstance(row, TensorInstance)
    assert set(row.tensors) == {"ids", "mask"}


def test_a_row_without_axes_stays_an_array() -> None:
    flat = card("c", "image", "tensors", [spec("x", "FP32", -1)], OUTPUT)
    row = infer_request(request(("x", "FP32", [2])), flat, None).instances[0]
    assert isinstance(row, TensorInstance)
    assert row.tensors["x"].shape == ()
    assert isinstance(row.tensors["x"], np.ndarray)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ([], "inputs: expected 'pixels' FP32 [-1, 3, 2], or 'image' BYTES [-1, 1] alone, got none"),
        (
            [("pixel", "FP32", [1, 3, 2])],
            "inputs[0].name: expected 'pixels' FP32 [-1, 3, 2], or 'image' BYTES [-1, 1] alone",
        ),
        ([PIXELS, ("image", "BYTES", [1, 1])], "inputs[1].name: expected 'pixels' FP32"),
        ([PIXELS, PIXELS], "inputs[1].name: expected each input once, got 'pixels' again"),
        ([("image", "FP32", [1, 1])], "inputs[0].datatype: 'image' takes BYTES, got FP32"),
        ([("image", "BYTES", [1, 2])], "inputs[0].shape: 'image' takes [n] or [n, 1], got [1, 2]"),
        ([("image", "BYTES", [1, 1, 1])], "inputs[0].shape: 'image' takes [n] or [n, 1], got [1, 1, 1]"),
        ([("image", "BYTES", [])], "inputs[0].shape: 'image' takes [n] or [n, 1], got []"),
        ([("image", "BYTES", [-1, 1])], "inputs[0].shape: 'image' takes [n] or [n, 1], got [-1, 1]"),
        ([("image", "BYTES", [0, 1])], "inputs[0].shape: expected at least one row, got [0, 1]"),
        ([("image", "BYTES", [4097, 1])], "inputs[0].shape: expected at most 4096 rows in one request, got 4097"),
        ([("pixels", "FP64", [1, 3, 2])], "inputs[0].datatype: model takes FP32, got FP64"),
        ([("pixels", "FP32", [3, 2])], "inputs[0].shape: model takes [-1, 3, 2], got [3, 2]"),
        ([("pixels", "FP32", [1, 3, 3])], "inputs[0].shape: model takes [-1, 3, 2], got [1, 3, 3]"),
        ([("pixels", "FP32", [-1, 3, 2])], "inputs[0].shape: model takes [-1, 3, 2], got [-1, 3, 2]"),
        ([("pixels", "FP32", [0, 3, 2])], "inputs[0].shape: expected at least one row, got [0, 3, 2]"),
        ([("pixels", "FP32", [])], "inputs[0].shape: model takes [-1, 3, 2], got []"),
    ],
)
def test_inputs_that_the_model_does_not_take_are_named(tensors: list[Any], message: str) -> None:
    assert refusal(request(*tensors)).startswith(message)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        (
            [("ids", "INT64", [2, 3])],
            "inputs: expected 'ids' INT64 [-1, -1] and 'mask' INT64 [-1, -1], or 'text' BYTES",
        ),
        (
            [("ids", "INT64", [2, 3]), ("mask", "INT64", [1, 3])],
            "inputs[1].shape: expected 2 rows as in inputs[0], got 1",
        ),
        ([("ids", "INT64", [2, 0]), ("mask", "INT64", [2, 0])], "inputs[0].shape: model takes [-1, -1], got [2, 0]"),
    ],
)
def test_inputs_that_do_not_belong_together_are_named(tensors: list[Any], message: str) -> None:
    assert refusal(request(*tensors), SENTENCES).startswith(message)


def test_bytes_that_do_not_fit_are_named() -> None:
    made = request(PIXELS)
    made.raw_input_contents[0] = b"123"
    assert refusal(made) == "raw_input_contents[0]: expected 24 bytes for FP32 [1, 3, 2], got 3"


# ── parameters ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("timeout", Parameter(string_param="5"), "parameters[timeout]: expected int64_param, got string_param"),
        ("timeout", Parameter(int64_param=-1), "parameters[timeout]: expected microseconds, 0 for none, got -1"),
        ("priority", Parameter(bool_param=True), "parameters[priority]: expected int64_param, got bool_param"),
        (
            "priority",
            Parameter(int64_param=-1),
            "parameters[priority]: expected 1 (first) or more, or 0 for the default, got -1",
        ),
        ("sequence_id", Parameter(int64_param=4), "parameters[sequence_id]: sequences are not supported by this model"),
        ("sequence_id", Parameter(uint64_param=4), "parameters[sequence_id]: sequences are not supported"),
        ("sequence_id", Parameter(string_param="a"), "parameters[sequence_id]: sequences are not supported"),
        (
            "triton_grpc_error",
            Parameter(bool_param=True),
            "parameters[triton_grpc_error]: names that begin with triton_",
        ),
    ],
)
def test_parameters_that_would_change_the_meaning_are_refused(key: str, value: Any, message: str) -> None:
    assert refusal(request(PIXELS, parameters={key: value})).startswith(message)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("sequence_id", Parameter(int64_param=0)),
        ("sequence_id", Parameter(string_param="")),
        ("triton_enable_empty_final_response", Parameter(bool_param=True)),
        ("timeout", Parameter(int64_param=0)),
        ("binary_data_output", Parameter(bool_param=True)),
    ],
)
def test_parameters_that_change_nothing_are_accepted(key: str, value: Any) -> None:
    assert infer_request(request(PIXELS, parameters={key: value}), PICTURES, None).deadline is None


@pytest.mark.parametrize(
    ("given", "priority"), [(None, 0), (Parameter(uint64_param=2), 2), (Parameter(int64_param=1), 1)]
)
def test_priority_travels_with_the_request(given: Any, priority: int) -> None:
    made = request(PIXELS, parameters={} if given is None else {"priority": given})
    assert infer_request(made, PICTURES, None).priority == priority


def test_the_earlier_of_timeout_and_deadline_counts() -> None:
    made = request(PIXELS, parameters={"timeout": Parameter(int64_param=2_000_000)})
    now = time.monotonic()
    for given, expected in ((None, now + 2), (now + 1, now + 1), (now + 9, now + 2)):
        deadline = infer_request(made, PICTURES, given).deadline
        assert deadline == pytest.approx(expected, abs=0.5)


@pytest.mark.parametrize("key", ["shared_memory_region", "shared_memory_offset", "shared_memory_byte_size"])
def test_shared_memory_is_refused(key: str) -> None:
    asked = request(PIXELS)
    asked.inputs[0].parameters[key].string_param = "region"
    assert refusal(asked).startswith(f"inputs[0].parameters[{key}]: shared memory is not supported")
    asked = request(PIXELS)
    asked.outputs.add(name="logits").parameters[key].string_param = "region"
    assert refusal(asked).startswith(f"outputs[0].parameters[{key}]: shared memory is not supported")


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (Output(name="logit"), "outputs[0].name: model 'pictures' gives 'logits', 'count', got 'logit'"),
        (
            Output(name="logits", parameters={"classification": Parameter(int64_param=0)}),
            "outputs[0].parameters[classification]: expected 1 class or more, got 0",
        ),
        (
            Output(name="logits", parameters={"classification": Parameter(string_param="3")}),
            "outputs[0].parameters[classification]: expected int64_param, got string_param",
        ),
        (
            Output(name="logits", parameters={"classification": Parameter()}),
            "outputs[0].parameters[classification]: expected int64_param, got nothing",
        ),
    ],
)
def test_outputs_that_the_model_does_not_give_are_named(output: Any, message: str) -> None:
    assert refusal(request(PIXELS, outputs=[output])) == message


# ── two texts ─────────────────────────────────────────────────────────────────────────────────────────────────


def pairs(**elements: list[bytes]) -> pb.ModelInferRequest:
    made = pb.ModelInferRequest(model_name="pairs", id="7")
    for name, texts in elements.items():
        made.inputs.add(name=name, datatype="BYTES", shape=[len(texts), 1])
        made.raw_input_contents.append(encode(np.array(texts, object), "BYTES"))
    return made


@pytest.mark.parametrize("order", [("text", "text_pair"), ("text_pair", "text")])
def test_two_texts_of_a_row_become_a_pair(order: tuple[str, str]) -> None:
    sent = {"text": [b"a", b"c"], "text_pair": [b"b", b"d"]}
    found = infer_request(pairs(**{name: sent[name] for name in order}), PAIRS, None)
    assert list(found.instances) == [TextPairInstance(b"a", b"b"), TextPairInstance(b"c", b"d")]
    assert list(infer_request(pairs(text=[b"a"]), PAIRS, None).instances) == [TextInstance(b"a")]


def test_pairs_that_do_not_belong_together_are_named() -> None:
    assert "expected 2 rows as in inputs[0], got 1" in refusal(pairs(text=[b"a", b"b"], text_pair=[b"c"]), PAIRS)
    assert "or with 'text_pair' BYTES [-1, 1]" in refusal(pairs(text_pair=[b"c"]), PAIRS)
    assert "got 'text'" in refusal(pairs(text=[b"a"], text_pair=[b"c"]), SENTENCES)
