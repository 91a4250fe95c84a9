"""What a caller can get wrong through the Open Inference Protocol, in Triton's own messages: status, field, sentence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton
from tritonclient.grpc import service_pb2
from tritonclient.utils import InferenceServerException

from tests.stock_clients.triton_calls import (
    CAT,
    CNN,
    RNN,
    TRANSFORMER,
    Refusal,
    inputs,
    refused,
)
from tests.support.end_to_end.server_process import TIMEOUT_S

ROW = 3 * 224 * 224
"""Elements in a row of pixels."""
PIXELS = [1, 3, 224, 224]
HWC = [1, 224, 224, 3]


def request(
    model: str,
    *tensors: tuple[str, str, Sequence[int]],
    raw: Sequence[bytes] = (),
    outputs: Sequence[str] = (),
    version: str = "",
) -> service_pb2.ModelInferRequest:
    """A message in Triton's own words; each tensor is a name, a datatype and a shape."""
    made = service_pb2.ModelInferRequest(model_name=model, model_version=version, raw_input_contents=raw)
    for name, datatype, shape in tensors:
        made.inputs.add(name=name, datatype=datatype, shape=shape)
    for name in outputs:
        made.outputs.add(name=name)
    return made


def bytes_of(*elements: bytes) -> bytes:
    """BYTES elements as they travel."""
    return b"".join(len(element).to_bytes(4, "little") + element for element in elements)


def refuse(client: triton.InferenceServerClient, message: service_pb2.ModelInferRequest) -> Refusal:
    def call() -> object:
        try:
            return client._client_stub.ModelInfer(message, timeout=TIMEOUT_S)
        except grpc.RpcError as error:
            raise InferenceServerException(msg=error.details(), status=str(error.code())) from None

    return refused(call)


def text(*elements: bytes) -> service_pb2.ModelInferRequest:
    return request(TRANSFORMER, ("text", "BYTES", [len(elements), 1]), raw=[bytes_of(*elements)])


def pixels(datatype: str, shape: Sequence[int], size: int) -> service_pb2.ModelInferRequest:
    return request(CNN, ("pixel_values", datatype, shape), raw=[bytes(size)])


def with_contents(message: service_pb2.ModelInferRequest, **contents: Any) -> service_pb2.ModelInferRequest:
    for field, values in contents.items():
        getattr(message.inputs[0].contents, field).extend(values)
    return message


def with_parameter(key: str, message: service_pb2.ModelInferRequest, **value: Any) -> service_pb2.ModelInferRequest:
    for field, given in value.items():
        setattr(message.parameters[key], field, given)
    return message


def class_count(count: int) -> service_pb2.ModelInferRequest:
    message = request(CNN, ("image", "BYTES", [1, 1]), raw=[bytes_of(CAT)], outputs=["logits"])
    message.outputs[0].parameters["classification"].int64_param = count
    return message


def shared_memory() -> service_pb2.ModelInferRequest:
    message = request(CNN, ("pixel_values", "FP32", PIXELS))
    message.inputs[0].parameters["shared_memory_region"].string_param = "region"
    return message


IDS = ("input_ids", "INT64", [1, 3])
MASK = ("attention_mask", "INT64", [1, 3])
THREE = np.array([101, 2023, 102], np.int64).tobytes()

WRONG: dict[str, tuple[Callable[[], service_pb2.ModelInferRequest], str, str]] = {
    "no inputs": (lambda: request(CNN), "inputs", "got none"),
    "a wrong input name": (
        lambda: request(CNN, ("photo", "FP32", PIXELS), raw=[bytes(ROW * 4)]),
        "inputs[0].name",
        "expected 'pixel_values' FP32 [-1, 3, 224, 224] (or 'pixels' UINT8 [-1, 224, 224, 3] in its place), "
        "or 'image' BYTES [-1, 1] alone, got 'photo'",
    ),
    "pixels and pixel_values": (
        lambda: request(
            CNN, ("pixels", "UINT8", HWC), ("pixel_values", "FP32", PIXELS), raw=[bytes(ROW), bytes(ROW * 4)]
        ),
        "inputs[1].name",
        "expected 'pixel_values' or 'pixels', got both",
    ),
    "pixels as floats": (
        lambda: request(CNN, ("pixels", "FP32", HWC), raw=[bytes(ROW * 4)]),
        "inputs[0].datatype",
        "'pixels' takes UINT8, got FP32",
    ),
    "pixels of another size": (
        lambda: request(CNN, ("pixels", "UINT8", [1, 256, 256, 3]), raw=[bytes(256 * 256 * 3)]),
        "inputs[0].shape",
        "model takes [-1, 224, 224, 3], got [1, 256, 256, 3]",
    ),
    "pixels for a text model": (
        lambda: request(TRANSFORMER, ("pixels", "UINT8", HWC), raw=[bytes(ROW)]),
        "inputs[0].name",
        "expected 'input_ids' INT64",
    ),
    "an input twice": (
        lambda: request(TRANSFORMER, IDS, IDS, raw=[THREE, THREE]),
        "inputs[1].name",
        "expected each input once, got 'input_ids' again",
    ),
    "a missing input": (lambda: request(TRANSFORMER, IDS, raw=[THREE]), "inputs", "got no 'attention_mask'"),
    "raw input and tensors together": (
        lambda: request(CNN, ("image", "BYTES", [1, 1]), ("pixel_values", "FP32", PIXELS), raw=[b"", b""]),
        "inputs[0].name",
        "alone, got 'image'",
    ),
    "a wrong dtype": (
        lambda: pixels("FP64", PIXELS, ROW * 8),
        "inputs[0].datatype",
        "model takes FP32, got FP64",
    ),
    "an unknown dtype": (lambda: pixels("FP31", PIXELS, 4), "inputs[0].datatype", "model takes FP32, got FP31"),
    "an image that is no BYTES": (
        lambda: request(CNN, ("image", "UINT8", [1, 10]), raw=[bytes(10)]),
        "inputs[0].datatype",
        "'image' takes BYTES, got UINT8",
    ),
    "a wrong rank": (
        lambda: pixels("FP32", PIXELS[1:], ROW * 4),
        "inputs[0].shape",
        "model takes [-1, 3, 224, 224], got [3, 224, 224]",
    ),
    "a wrong dimension": (
        lambda: pixels("FP32", [1, 3, 224, 225], 3 * 224 * 225 * 4),
        "inputs[0].shape",
        "model takes [-1, 3, 224, 224], got [1, 3, 224, 225]",
    ),
    "a negative dimension": (
        lambda: pixels("FP32", [-1, 3, 224, 224], ROW * 4),
        "inputs[0].shape",
        "got [-1, 3, 224, 224]",
    ),
    "a wrong element count": (
        lambda: with_contents(request(CNN, ("pixel_values", "FP32", PIXELS)), fp32_contents=[0.5] * 7),
        "inputs[0].contents.fp32_contents",
        "expected 150528 elements for shape [1, 3, 224, 224], got 7",
    ),
    "contents of another type": (
        lambda: with_contents(request(CNN, ("pixel_values", "FP32", PIXELS)), int_contents=[1]),
        "inputs[0].contents",
        "FP32 elements belong in fp32_contents, got int_contents",
    ),
    "raw and typed contents mixed": (
        lambda: with_contents(pixels("FP32", PIXELS, ROW * 4), fp32_contents=[0.5]),
        "inputs[0].contents",
        "must be unset, since raw_input_contents is used",
    ),
    "fewer raw contents than inputs": (
        lambda: request(TRANSFORMER, IDS, MASK, raw=[THREE]),
        "raw_input_contents",
        "expected one entry for each of 2 inputs, got 1",
    ),
    "truncated raw bytes": (
        lambda: pixels("FP32", PIXELS, ROW * 4 - 1),
        "raw_input_contents[0]",
        "expected 602112 bytes for FP32 [1, 3, 224, 224], got 602111",
    ),
    "too many raw bytes": (lambda: pixels("FP32", PIXELS, ROW * 4 + 4), "raw_input_contents[0]", "got 602116"),
    "a length past the end": (
        lambda: request(TRANSFORMER, ("text", "BYTES", [1, 1]), raw=[b"\xff\xff\xff\x7fhi"]),
        "raw_input_contents[0]",
        "element 0 should have 2147483647 bytes, got 2",
    ),
    "a second element that is not there": (
        lambda: request(TRANSFORMER, ("text", "BYTES", [2, 1]), raw=[bytes_of(b"hello")]),
        "raw_input_contents[0]",
        "expected 2 BYTES elements, got 1",
    ),
    "an element too many": (
        lambda: request(TRANSFORMER, ("text", "BYTES", [1, 1]), raw=[bytes_of(b"hello", b"you")]),
        "raw_input_contents[0]",
        "7 bytes are left over after 1 BYTES elements",
    ),
    "more rows than the bytes can hold": (
        lambda: request(TRANSFORMER, ("text", "BYTES", [4096, 1]), raw=[bytes_of(b"hi")]),
        "raw_input_contents[0]",
        "expected at least 16384 bytes for 4096 BYTES elements, got 6",
    ),
    "a billion rows": (
        lambda: request(TRANSFORMER, ("text", "BYTES", [1_000_000_000, 1]), raw=[b""]),
        "inputs[0].shape",
        "rows in one request, got 1000000000",
    ),
    "more elements than there are numbers": (
        lambda: request(RNN, ("samples", "FP32", [4096, 2**62]), raw=[b""]),
        "inputs[0].shape",
        "larger than any message can hold",
    ),
    "zero rows of tensors": (
        lambda: pixels("FP32", [0, 3, 224, 224], 0),
        "inputs[0].shape",
        "expected at least one row, got [0, 3, 224, 224]",
    ),
    "zero rows of text": (
        lambda: request(TRANSFORMER, ("text", "BYTES", [0, 1]), raw=[b""]),
        "inputs[0].shape",
        "expected at least one row, got [0, 1]",
    ),
    "text of a wrong shape": (
        lambda: request(TRANSFORMER, ("text", "BYTES", [1, 2]), raw=[bytes_of(b"a", b"b")]),
        "inputs[0].shape",
        "'text' takes [n] or [n, 1], got [1, 2]",
    ),
    "unlike rows": (
        lambda: request(TRANSFORMER, IDS, ("attention_mask", "INT64", [2, 3]), raw=[THREE, THREE * 2]),
        "inputs[1].shape",
        "expected 1 rows as in inputs[0], got 2",
    ),
    "a sound of no samples as a tensor": (
        lambda: request(RNN, ("samples", "FP32", [1, 0]), raw=[b""]),
        "inputs[0].shape",
        "model takes [-1, -1], got [1, 0]",
    ),
    "an empty text": (lambda: text(b""), "inputs[0][0]", "is empty; expected a text"),
    "a second text of no UTF-8": (
        lambda: text(b"fine", b"caf\xe9"),
        "inputs[0][1]",
        "expected UTF-8, got a byte that is not at position 3",
    ),
    "a token outside the vocabulary": (
        lambda: request(TRANSFORMER, IDS, MASK, raw=[np.array([1, 2, 99_999]).tobytes(), np.ones(3, int).tobytes()]),
        "inputs[0][0].input_ids",
        "expected token ids in 0..30521, got 99999",
    ),
    "not an image": (
        lambda: request(CNN, ("image", "BYTES", [1, 1]), raw=[bytes_of(b"hello")]),
        "inputs[0][0]",
        "expected a JPEG, PNG or WebP image, got something else",
    ),
    "not a sound": (
        lambda: request(RNN, ("audio", "BYTES", [1, 1]), raw=[bytes_of(b"hello")]),
        "inputs[0][0]",
        "expected a WAV, FLAC or OGG file",
    ),
    "an unknown output": (
        lambda: request(CNN, ("image", "BYTES", [1, 1]), raw=[bytes_of(CAT)], outputs=["logits", "labels"]),
        "outputs[1].name",
        "model 'efficientnet_lite0' gives 'logits', got 'labels'",
    ),
    "no classes": (lambda: class_count(0), "outputs[0].parameters[classification]", "expected 1 class or more, got 0"),
    "less than no classes": (lambda: class_count(-3), "outputs[0].parameters[classification]", "got -3"),
    "a negative timeout": (
        lambda: with_parameter("timeout", text(b"hello"), int64_param=-5),
        "parameters[timeout]",
        "expected microseconds, 0 for none, got -5",
    ),
    "a timeout that is a text": (
        lambda: with_parameter("timeout", text(b"hello"), string_param="soon"),
        "parameters[timeout]",
        "expected int64_param, got string_param",
    ),
    "a sequence": (
        lambda: with_parameter("sequence_id", text(b"hello"), int64_param=7),
        "parameters[sequence_id]",
        "sequences are not supported",
    ),
    "a reserved parameter": (
        lambda: with_parameter("triton_surprise", text(b"hello"), bool_param=True),
        "parameters[triton_surprise]",
        "reserved",
    ),
    "shared memory": (shared_memory, "inputs[0].parameters[shared_memory_region]", "shared memory is not supported"),
}


@pytest.mark.parametrize("what", WRONG)
def test_invalid_triton_request_is_rejected_with_its_field(client: triton.InferenceServerClient, what: str) -> None:
    make, field, words = WRONG[what]
    refusal = refuse(client, make())
    assert refusal.code == "INVALID_ARGUMENT"
    assert refusal.message.startswith(f"{field}: ")
    assert words in refusal.message


@pytest.mark.parametrize(
    ("model", "name", "file", "words"),
    [
        (CNN, "image", "truncated.jpg", "the image is truncated or damaged"),
        (CNN, "image", "bomb.png", "pixels, got 60,000 × 60,000"),
        (RNN, "audio", "silent.wav", "has no samples"),
        (RNN, "audio", "sound.aiff", "expected a WAV, FLAC or OGG file, got AIFF"),
    ],
)
def test_hostile_file_is_rejected(
    client: triton.InferenceServerClient, sample: dict[str, bytes], model: str, name: str, file: str, words: str
) -> None:
    refusal = refused(lambda: client.infer(model, inputs(**{name: [sample[file]]})))
    assert refusal.code == "INVALID_ARGUMENT"
    assert refusal.message.startswith("inputs[0][0]: ")
    assert words in refusal.message


def test_unknown_triton_model_is_not_found_with_similar_names(client: triton.InferenceServerClient) -> None:
    refusal = refuse(client, request("silero", ("audio", "BYTES", [1, 1]), raw=[bytes_of(b"")]))
    assert (refusal.code, refusal.message) == ("NOT_FOUND", f"unknown model 'silero'; did you mean '{RNN}'?")


@pytest.mark.parametrize("version", ["2", "0", "01", "latest"])
def test_unknown_triton_version_is_not_found(client: triton.InferenceServerClient, version: str) -> None:
    message = text(b"hello")
    message.model_version = version
    refusal = refuse(client, message)
    assert refusal.code == "NOT_FOUND"
    assert refusal.message == f"unknown version '{version}'; model '{TRANSFORMER}' has version 1, which is 'stable'"


def test_message_above_the_limit_is_rejected_and_the_next_is_served(client: triton.InferenceServerClient) -> None:
    too_large = inputs(image=[bytes(65 * 1024 * 1024)])
    assert refused(lambda: client.infer(CNN, too_large)).code == "RESOURCE_EXHAUSTED"
    assert client.infer(TRANSFORMER, inputs(text=[b"still here"])).as_numpy("embedding").shape == (1, 384)


def test_typed_contents_are_accepted(client: triton.InferenceServerClient) -> None:
    message = with_contents(
        request(TRANSFORMER, ("text", "BYTES", [2, 1])), bytes_contents=[b"one text", b"and another one"]
    )
    reply = client._client_stub.ModelInfer(message, timeout=TIMEOUT_S)
    typed = np.frombuffer(reply.raw_output_contents[0], np.float32).reshape(2, 384)
    raw = client.infer(TRANSFORMER, inputs(text=[b"one text", b"and another one"])).as_numpy("embedding")
    np.testing.assert_allclose(typed, raw, atol=1e-5)


def test_class_count_above_the_number_of_classes_gives_all(client: triton.InferenceServerClient) -> None:
    reply = client._client_stub.ModelInfer(class_count(5000), timeout=TIMEOUT_S)
    assert list(reply.outputs[0].shape) == [1, 1000]
    assert reply.outputs[0].datatype == "BYTES"
