"""Every path of a tensor request gives the same replies, the same errors and the same metrics."""

import asyncio
import math
import random
import re
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import grpc
import numpy as np
import pytest
from grpc import aio

from model_zoo.catalog import Catalog
from service.errors import InvalidInput
from service.pb import open_inference_pb2 as pb
from service.tasks.base import Task
from service.tasks.classification import LabelAnswers
from service.tasks.composed import ComposedTask
from service.tasks.image.image_input import ImageInput
from service.types import Item, TensorInstance
from service.wire.open_inference.model_codec import ModelCodec, tensor_call
from service.wire.open_inference.requests import infer_request
from service.wire.open_inference.tensors import encode
from tests.support.registry.fakes import FakeTask
from tests.support.wire.open_inference import (
    PATHS,
    all_replies,
    asks,
    counts,
    served,
    without_codec,
)

pytestmark = [pytest.mark.asyncio, pytest.mark.usefixtures("each_frontend")]


def typed(*values: float) -> pb.ModelInferRequest:
    """Elements in typed contents, which the codec leaves to `requests.py`."""
    request = asks(*values)
    request.ClearField("raw_input_contents")
    request.inputs[0].contents.fp32_contents.extend(values)
    return request


def text(*elements: bytes) -> pb.ModelInferRequest:
    """Raw input, which is preprocessed."""
    request = pb.ModelInferRequest(model_name="adder", id="r")
    request.inputs.add(name="text", datatype="BYTES", shape=[len(elements), 1])
    request.raw_input_contents.append(encode(np.array(elements, object), "BYTES"))
    return request


def changed(*changes: Callable[[pb.ModelInferRequest], object]) -> pb.ModelInferRequest:
    request = asks(1, 2)
    for change in changes:
        change(request)
    return request


def parameter(key: str, **value: Any) -> Callable[[pb.ModelInferRequest], None]:
    def change(request: pb.ModelInferRequest) -> None:
        for field, given in value.items():
            setattr(request.parameters[key], field, given)

    return change


def best(classes: int) -> Callable[[pb.ModelInferRequest], None]:
    def change(request: pb.ModelInferRequest) -> None:
        request.outputs.add(name="y").parameters["classification"].int64_param = classes

    return change


RIGHT = {
    "one row": asks(1),
    "rows": asks(2, 3, 4),
    "output by name": changed(lambda r: r.outputs.add(name="y")),
    "output twice": changed(lambda r: (r.outputs.add(name="y"), r.outputs.add(name="y"))),
    "version": asks(6, model_version="1"),
    "alias": asks(6, model_version="stable"),
    "no id": asks(6, request_id=""),
    "timeout": changed(parameter("timeout", int64_param=10_000_000)),
    "priority": changed(parameter("priority", uint64_param=1)),
    "other parameters": changed(parameter("mine", string_param="a"), parameter("sequence_id", int64_param=0)),
    "typed contents": typed(1, 2),
    "classification": changed(best(1)),
    "text": text(b"1", b"2"),
}


async def outcomes(requests: dict[str, pb.ModelInferRequest]) -> dict[str, tuple[Any, ...]]:
    """Of each request: the unary reply or error, the streamed reply, and how the metrics moved."""
    found: dict[str, tuple[Any, ...]] = {}
    async with served() as (w, stub):
        for what, request in requests.items():
            before = counts(w)
            try:
                answer: Any = await stub.ModelInfer(request)
            except aio.AioRpcError as error:
                answer = error.code(), comparable(error.details()), trailers_of(error)
            streamed = [comparable(str(reply)) for reply in await all_replies(stub, [request])]
            moved = {key: value - before.get(key, 0.0) for key, value in counts(w).items() if value != before.get(key)}
            found[what] = answer, streamed, moved
        assert w.model().rows_in_flight == 0
    return found


def comparable(text: str | None) -> str:
    return re.sub("reference [0-9a-f]+", "reference X", text or "")


def trailers_of(error: aio.AioRpcError) -> Any:
    """The details; they repeat the reference of an internal error, which differs."""
    return None if error.code() is grpc.StatusCode.INTERNAL else error.trailing_metadata()


async def test_every_path_gives_the_same_replies_and_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    first = await outcomes(RIGHT)
    assert all(isinstance(answer, pb.ModelInferResponse) for answer, _, _ in first.values())
    for path in PATHS.values():
        path(monkeypatch)
        assert first == await outcomes(RIGHT)


async def test_every_path_counts_failures_of_the_device_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = {"model": "adder", "version": "1"}

    async def traces() -> tuple[list[float], dict[tuple[str, ...], float]]:
        async with served() as (w, stub):
            w.runtime().poison = {9.0}
            await stub.ModelInfer(asks(1, 2))
            await all_replies(stub, [asks(1)])
            await all_replies(stub, [asks(9)])
            with pytest.raises(aio.AioRpcError):
                await stub.ModelInfer(asks(9))
            methods = [("ModelInfer", "OK"), ("ModelInfer", "INTERNAL"), ("ModelStreamInfer", "OK")]
            methods.append(("ModelStreamInfer", "INTERNAL"))
            found = [w.sample("zoo_requests_total", **labels, method=m, code=c) for m, c in methods]
            stages = ("preprocess", "queue", "execute", "postprocess")
            found += [w.sample("zoo_stage_duration_seconds_count", **labels, stage=stage) for stage in stages]
            (statistics,) = w.recorder.statistics.snapshot()
            found += [statistics.success.count, statistics.fail.count, statistics.inference_count]
            return [*found, w.sample("zoo_in_flight_requests", **labels), w.model().rows_in_flight], counts(w)

    first = await traces()
    assert first[0] == [1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 3, 0, 0]
    for path in PATHS.values():
        path(monkeypatch)
        assert first == await traces()


WRONG: dict[str, pb.ModelInferRequest] = {
    "unknown input": changed(lambda r: setattr(r.inputs[0], "name", "z")),
    "datatype": changed(lambda r: setattr(r.inputs[0], "datatype", "FP64")),
    "unknown datatype": changed(lambda r: setattr(r.inputs[0], "datatype", "FP12")),
    "rank": changed(lambda r: r.inputs[0].shape.append(1)),
    "size": changed(lambda r: r.inputs[0].shape.__setitem__(1, 2)),
    "no shape": changed(lambda r: r.inputs[0].ClearField("shape")),
    "many axes": changed(lambda r: r.inputs[0].shape.extend([1] * 100)),
    "negative": changed(lambda r: r.inputs[0].shape.__setitem__(0, -2)),
    "no row": changed(lambda r: r.inputs[0].shape.__setitem__(0, 0)),
    "many rows": asks(*range(4097)),
    "too few bytes": changed(lambda r: r.raw_input_contents.__setitem__(0, b"1234567")),
    "too many bytes": changed(lambda r: r.raw_input_contents.__setitem__(0, b"123456789")),
    "no bytes": changed(lambda r: r.ClearField("raw_input_contents")),
    "more contents than inputs": changed(lambda r: r.raw_input_contents.append(b"12345678")),
    "no inputs": changed(lambda r: (r.ClearField("inputs"), r.ClearField("raw_input_contents"))),
    "twice": changed(lambda r: (r.inputs.add().CopyFrom(r.inputs[0]), r.raw_input_contents.append(b"12345678"))),
    "contents as well": changed(lambda r: r.inputs[0].contents.fp32_contents.extend([1, 2])),
    "contents of another type": changed(
        lambda r: (r.ClearField("raw_input_contents"), r.inputs[0].contents.int_contents.extend([1, 2]))
    ),
    "too few elements": changed(
        lambda r: (r.ClearField("raw_input_contents"), r.inputs[0].contents.fp32_contents.append(1))
    ),
    "shared memory": changed(lambda r: setattr(r.inputs[0].parameters["shared_memory_region"], "string_param", "a")),
    "unknown output": changed(lambda r: r.outputs.add(name="z")),
    "output in shared memory": changed(
        lambda r: setattr(r.outputs.add(name="y").parameters["shared_memory_region"], "string_param", "a")
    ),
    "no classes": changed(best(0)),
    "bad timeout": changed(parameter("timeout", int64_param=-1)),
    "timeout of another type": changed(parameter("timeout", string_param="1")),
    "bad priority": changed(parameter("priority", int64_param=-1)),
    "sequence": changed(parameter("sequence_id", int64_param=7)),
    "reserved parameter": changed(parameter("triton_new", bool_param=True)),
    "raw input of another type": changed(lambda r: setattr(r.inputs[0], "name", "text")),
    "raw input of a wrong shape": changed(
        lambda r: (setattr(r.inputs[0], "name", "text"), setattr(r.inputs[0], "datatype", "BYTES"))
    ),
    "bad text": text(b"1", b"bad"),
    "crash": text(b"crash"),
    "unknown model": asks(1, model="missing"),
    "unknown version": asks(1, model_version="7"),
    "unknown model and bad tensor": changed(
        lambda r: (setattr(r, "model_name", "missing"), setattr(r.inputs[0], "name", "z"))
    ),
}


async def test_every_path_refuses_wrong_requests_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    first = await outcomes(WRONG)
    codes = {what: answer[0] for what, (answer, _, _) in first.items()}
    assert [what for what, code in codes.items() if code is grpc.StatusCode.INTERNAL] == ["crash"]
    ran = {what for what, (_, _, moved) in first.items() if any("zoo_batch_size_count" in key for key in moved)}
    assert ran == {"bad text"}, "one of its rows is right"
    for path in PATHS.values():
        path(monkeypatch)
        assert first == await outcomes(WRONG)


async def test_task_that_checks_tensor_values_does_so_on_every_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """As one of token ids does: an id beyond the vocabulary would read past the table."""

    def row(self: FakeTask, instance: TensorInstance, path: str) -> Item:
        item = Task.row(self, instance, path)
        if instance.tensors["x"].min() < 0:
            raise InvalidInput(f"{path}.x", "expected no negative number")
        return item

    monkeypatch.setattr(FakeTask, "row", row, raising=False)

    async def refusal(stub: Any) -> tuple[Any, ...]:
        with pytest.raises(aio.AioRpcError) as caught:
            await stub.ModelInfer(asks(3, -1))
        return caught.value.code(), caught.value.details()

    async with served() as (w, stub):
        assert (await stub.ModelInfer(asks(3, 1))).outputs[0].shape == [2, 1]
        first = await refusal(stub)
        assert first[0] is grpc.StatusCode.INVALID_ARGUMENT
        without_codec(monkeypatch)
        assert first == await refusal(stub)
        assert not any(-1.0 in batch for batch in w.runtime().batches)


async def test_callers_on_many_streams_get_their_own_answers() -> None:
    rng = random.Random(3)
    async with served(max_batch_size=8, lanes=2, max_queue_size=1024) as (w, stub):

        async def one(number: int) -> None:
            values = {
                f"{number}-{i}": [float(rng.randint(0, 999)) for _ in range(rng.randint(1, 3))] for i in range(30)
            }
            replies = await all_replies(stub, [asks(*v, request_id=key) for key, v in values.items()])
            assert [r.error_message for r in replies if r.error_message] == []
            got = {r.infer_response.id: np.frombuffer(r.infer_response.raw_output_contents[0], "<f4") for r in replies}
            assert {key: array.tolist() for key, array in got.items()} == {
                key: [2 * value + 1 for value in wanted] for key, wanted in values.items()
            }

        await asyncio.gather(*(one(number) for number in range(12)))
        assert w.model().rows_in_flight == 0


async def test_deadline_ends_a_request_that_still_runs() -> None:
    async with served() as (w, stub):
        w.runtime().gate.clear()
        request = asks(1)
        request.parameters["timeout"].int64_param = 20_000  # microseconds
        (reply,) = await all_replies(stub, [request])
        assert "deadline" in reply.error_message
        with pytest.raises(aio.AioRpcError) as caught:
            await stub.ModelInfer(request)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        w.runtime().gate.set()
        assert (await stub.ModelInfer(asks(2))).id == "r"
        assert w.model().rows_in_flight == 0


async def test_an_answer_that_cannot_be_sent_fails_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its neighbours in the batch have nothing to do with it."""
    async with served() as (w, stub):
        shown = w.task().shown

        def breaks(row: Any) -> Any:
            if row["y"][0] == 5:
                raise RuntimeError("a foreign text with /a/path")
            return shown(row)

        monkeypatch.setattr(w.task(), "shown", breaks)
        w.runtime().gate.clear()
        stream = stub.ModelStreamInfer()
        for i in range(4):
            await stream.write(asks(i, request_id=str(i)))
        w.runtime().gate.set()
        await stream.done_writing()
        replies = {}
        while (reply := await stream.read()) is not aio.EOF:
            replies[reply.infer_response.id] = reply.error_message
        with pytest.raises(aio.AioRpcError) as caught:
            await stub.ModelInfer(asks(2))
    assert sorted(replies) == ["0", "1", "2", "3"]
    assert [replies[i] == "" for i in "0123"] == [True, True, False, True]
    assert replies["2"].startswith("internal error")
    assert caught.value.code() is grpc.StatusCode.INTERNAL


async def test_a_full_queue_refuses_on_both_kinds_of_call() -> None:
    async with served(max_queue_size=2, max_batch_size=1) as (w, stub):
        w.runtime().gate.clear()
        stream = stub.ModelStreamInfer()
        for i in range(3):
            await stream.write(asks(1, request_id=str(i)))
        refused = await stream.read()
        assert refused.infer_response.id == "2"
        assert "try again later" in refused.error_message
        with pytest.raises(aio.AioRpcError) as caught:
            await stub.ModelInfer(asks(1))
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        w.runtime().gate.set()
        await stream.done_writing()
        assert {(await stream.read()).infer_response.id for _ in range(2)} == {"0", "1"}
        assert await stream.read() is aio.EOF


# ── pixels in place of the normalised image ───────────────────────────────────────────────────────────────────────


def image_model() -> Any:
    card = Catalog.from_package().get("efficientnet_lite0")
    task = ComposedTask(ImageInput, LabelAnswers, card, ["a"] * 1000)
    return SimpleNamespace(name=card.name, version=1, card=card, task=task)


def images(*inputs: tuple[str, str, list[int]]) -> pb.ModelInferRequest:
    request = pb.ModelInferRequest(model_name="efficientnet_lite0")
    for name, datatype, shape in inputs:
        request.inputs.add(name=name, datatype=datatype, shape=shape)
        request.raw_input_contents.append(bytes(math.prod(shape) * (4 if datatype == "FP32" else 1)))
    return request


PIXELS, VALUES = ("pixels", "UINT8", [2, 224, 224, 3]), ("pixel_values", "FP32", [2, 3, 224, 224])


async def test_codec_reads_pixels() -> None:
    model = image_model()
    for given in (PIXELS, VALUES, PIXELS):
        request = images(given)
        call = ModelCodec(model).read(request, model, request.raw_input_contents, None)
        assert call is not None
        assert [(name, array.shape) for item in call.items for name, array in item.tensors.items()] == [
            (given[0], tuple(given[2][1:]))
        ] * 2
        slow = tensor_call(model, infer_request(request, model.card, None), call.wanted)
        assert slow is not None
        assert [item.tensors.keys() for item in slow.items] == [item.tensors.keys() for item in call.items]


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ([PIXELS, VALUES], "inputs[1].name: expected 'pixel_values' or 'pixels', got both"),
        ([VALUES, PIXELS], "inputs[0].name: expected 'pixel_values' or 'pixels', got both"),
        ([("pixels", "FP32", [1, 224, 224, 3])], "inputs[0].datatype: 'pixels' takes UINT8, got FP32"),
        (
            [("pixels", "UINT8", [1, 3, 224, 224])],
            "inputs[0].shape: model takes [-1, 224, 224, 3], got [1, 3, 224, 224]",
        ),
        (
            [("pixels", "UINT8", [1, 200, 224, 3])],
            "inputs[0].shape: model takes [-1, 224, 224, 3], got [1, 200, 224, 3]",
        ),
        (
            [("image", "UINT8", [1, 224, 224, 3])],
            "inputs[0].datatype: 'image' takes BYTES, got UINT8",
        ),
        (
            [("photo", "UINT8", [1, 224, 224, 3])],
            "inputs[0].name: expected 'pixel_values' FP32 [-1, 3, 224, 224] (or 'pixels' UINT8 [-1, 224, 224, 3] in its "
            "place), or 'image' BYTES [-1, 1] alone, got 'photo'",
        ),
    ],
)
async def test_codec_leaves_wrong_pixels_to_an_error(inputs: list[Any], message: str) -> None:
    model, request = image_model(), images(*inputs)
    assert ModelCodec(model).read(request, model, request.raw_input_contents, None) is None
    with pytest.raises(InvalidInput) as raised:
        infer_request(request, model.card, None)
    assert raised.value.message == message


async def test_pixels_for_a_text_model_are_rejected() -> None:
    card = Catalog.from_package().get("all_minilm_l6_v2")
    with pytest.raises(InvalidInput, match=r"^inputs\[0\]\.name: expected 'input_ids' INT64 .* got 'pixels'$"):
        infer_request(images(PIXELS), card, None)
