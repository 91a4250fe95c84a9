"""Rows of outputs become replies: stacked tensors, classes, notes."""

from typing import Any

import numpy as np
import pytest

from service.errors import InvalidInput, QueueFull
from service.pb import open_inference_pb2 as pb
from service.types import InferReply, Prediction, Timing
from service.wire.open_inference.replies import infer_response, stack
from service.wire.open_inference.requests import wanted_outputs
from service.wire.open_inference.tensors import decode_raw
from tests.support.wire.fakes import PICTURES

Output = pb.ModelInferRequest.InferRequestedOutputTensor
Parameter = pb.InferParameter
Input = pb.ModelInferRequest.InferInputTensor
PIXELS = ("pixels", "FP32", [1, 3, 2])


def request(*tensors: tuple[str, str, list[int]], **fields: Any) -> pb.ModelInferRequest:
    """A raw request whose elements are all zeros, as many as each shape says."""
    made = pb.ModelInferRequest(model_name="pictures", id="7", **fields)
    sizes = {"FP32": 4, "FP64": 8, "INT64": 8, "BYTES": 4}
    for name, datatype, shape in tensors:
        made.inputs.add(name=name, datatype=datatype, shape=shape)
        made.raw_input_contents.append(bytes(max(0, int(np.prod(shape))) * sizes[datatype]))
    return made


def reply(*predictions: Any) -> InferReply:
    return InferReply("pictures", 3, "server-made", predictions, Timing())


def prediction(*logits: float, **notes: Any) -> Prediction:
    return Prediction({"logits": np.array(logits, np.float32), "count": np.array(7, np.int64)}, notes=notes)


def respond(
    made: pb.ModelInferRequest, *predictions: Any, of: Any = PICTURES, labels: Any = ()
) -> pb.ModelInferResponse:
    return infer_response(made, wanted_outputs(made, of), labels, reply(*predictions))


def tensors_of(response: pb.ModelInferResponse) -> dict[str, Any]:
    pairs = zip(response.outputs, response.raw_output_contents, strict=True)
    return {o.name: decode_raw(o.datatype, o.shape, raw, "", "") for o, raw in pairs}


def test_rows_are_stacked_to_raw_outputs_in_the_order_of_the_card() -> None:
    response = respond(request(PIXELS), prediction(1, 2, 3), prediction(4, 5, 6))
    assert (response.model_name, response.model_version, response.id) == ("pictures", "3", "7")
    assert [(o.name, o.datatype, list(o.shape)) for o in response.outputs] == [
        ("logits", "FP32", [2, 3]),
        ("count", "INT64", [2]),
    ]
    assert tensors_of(response)["logits"].tolist() == [[1, 2, 3], [4, 5, 6]]
    assert tensors_of(response)["count"].tolist() == [7, 7]
    assert not response.parameters


def test_only_the_requested_outputs_are_returned_in_that_order() -> None:
    one = respond(request(PIXELS, outputs=[Output(name="count")]), prediction(1, 2, 3))
    assert list(tensors_of(one)) == ["count"]
    both = respond(request(PIXELS, outputs=[Output(name="count"), Output(name="logits")]), prediction(1, 2, 3))
    assert list(tensors_of(both)) == ["count", "logits"]


def test_rows_of_different_lengths_are_padded_with_zeros_at_the_end() -> None:
    rows = [np.array([1, 2, 3], np.float32), np.array([4], np.float32)]
    assert stack(rows).tolist() == [[1, 2, 3], [4, 0, 0]]
    assert stack([np.ones((1, 2)), np.ones((2, 1))]).tolist() == [[[1, 1], [0, 0]], [[1, 0], [1, 0]]]


def test_the_first_row_that_failed_fails_the_call() -> None:
    with pytest.raises(QueueFull):
        respond(request(PIXELS), prediction(1, 2, 3), QueueFull("m", 1, 1, 0.1), InvalidInput("x", "y"))


def classified(k: int, *predictions: Any, labels: Any = ("cat", "dog", "rocket")) -> list[Any]:
    output = Output(name="logits", parameters={"classification": Parameter(int64_param=k)})
    response = respond(request(PIXELS, outputs=[output]), *predictions, labels=labels)
    assert response.outputs[0].datatype == "BYTES"
    array = tensors_of(response)["logits"]
    assert list(array.shape) == list(response.outputs[0].shape)
    return list(array.tolist())


def test_classification_gives_the_best_with_index_and_label() -> None:
    assert classified(2, prediction(0.5, -1, 2), prediction(1, 3, 2)) == [
        [b"2.000000:2:rocket", b"0.500000:0:cat"],
        [b"3.000000:1:dog", b"2.000000:2:rocket"],
    ]


def test_classification_has_no_more_classes_than_there_are() -> None:
    assert classified(9, prediction(3, 2, 1)) == [[b"3.000000:0:cat", b"2.000000:1:dog", b"1.000000:2:rocket"]]


def test_classification_without_labels_gives_the_index_alone() -> None:
    assert classified(1, prediction(0, 0, 1), labels=()) == [[b"1.000000:2"]]


def test_equal_scores_keep_the_order_of_the_classes() -> None:
    assert classified(3, prediction(1, 1, 1), labels=()) == [[b"1.000000:0", b"1.000000:1", b"1.000000:2"]]


def test_notes_of_any_row_reach_the_caller() -> None:
    response = respond(
        request(PIXELS),
        prediction(1, 2, 3, truncated=False, tokens=3, rate=0.5, language="de"),
        prediction(1, 2, 3, truncated=True, tokens=9, rate=0.25),
    )
    notes = {key: getattr(p, p.WhichOneof("parameter_choice") or "") for key, p in response.parameters.items()}
    assert notes == {"truncated": True, "tokens": 9, "rate": 0.5, "language": "de"}
    assert response.parameters["truncated"].WhichOneof("parameter_choice") == "bool_param"
