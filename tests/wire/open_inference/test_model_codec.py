"""The quick way gives what the long way gives, and takes nothing that only the long way can judge."""

import asyncio
import random
from collections.abc import Callable
from typing import Any

import grpc
import numpy as np
import pytest
from grpc import aio

from service.errors import InvalidInput
from service.pb import open_inference_pb2 as pb
from service.tasks.base import Task
from service.types import Item, TensorInstance
from tests.support.registry_fakes import FakeTask
from tests.support.wire_open_inference import (
    all_replies,
    asks,
    long_way,
    served,
)

pytestmark = pytest.mark.asyncio


async def test_both_ways_give_the_same_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    named = asks(5, request_id="2")
    named.outputs.add(name="y")
    requests = [
        asks(1, request_id="0"),
        asks(2, 3, 4, request_id="1"),
        named,
        asks(6, request_id="3", model_version="1"),
    ]
    async with served() as (_, stub):
        quick = [await stub.ModelInfer(request) for request in requests]
        quick_streamed = await all_replies(stub, requests)
        long_way(monkeypatch)
        assert quick == [await stub.ModelInfer(request) for request in requests]
        assert quick_streamed == await all_replies(stub, requests)
    assert np.frombuffer(quick[1].raw_output_contents[0], np.float32).tolist() == [5, 7, 9]


async def test_both_ways_leave_the_same_traces(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = {"model": "adder", "version": "1"}

    async def traces() -> list[float]:
        async with served() as (w, stub):
            w.runtime().poison = {9.0}
            await stub.ModelInfer(asks(1, 2))
            await all_replies(stub, [asks(1), asks(9)])
            with pytest.raises(aio.AioRpcError):
                await stub.ModelInfer(asks(9))
            methods = [("ModelInfer", "OK"), ("ModelInfer", "INTERNAL"), ("ModelStreamInfer", "OK")]
            methods.append(("ModelStreamInfer", "INTERNAL"))
            counts = [w.sample("zoo_requests_total", **labels, method=m, code=c) for m, c in methods]
            stages = ("preprocess", "queue", "execute", "postprocess")
            counts += [w.sample("zoo_stage_duration_seconds_count", **labels, stage=stage) for stage in stages]
            (statistics,) = w.recorder.statistics.snapshot()
            counts += [statistics.success.count, statistics.fail.count, statistics.inference_count]
            return [*counts, w.sample("zoo_in_flight_requests", **labels), w.model().rows_in_flight]

    quick = await traces()
    long_way(monkeypatch)
    assert quick == await traces() == [1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 3, 0, 0]


def changed(change: Callable[[pb.ModelInferRequest], object]) -> pb.ModelInferRequest:
    request = asks(1, 2)
    change(request)
    return request


WRONG = {
    "unknown input": lambda r: setattr(r.inputs[0], "name", "z"),
    "datatype": lambda r: setattr(r.inputs[0], "datatype", "FP64"),
    "rank": lambda r: r.inputs[0].shape.append(1),
    "size": lambda r: r.inputs[0].shape.__setitem__(1, 2),
    "negative": lambda r: r.inputs[0].shape.__setitem__(0, -2),
    "no row": lambda r: r.inputs[0].shape.__setitem__(0, 0),
    "too few bytes": lambda r: r.raw_input_contents.__setitem__(0, b"1234567"),
    "no bytes": lambda r: r.ClearField("raw_input_contents"),
    "twice": lambda r: (r.inputs.add().CopyFrom(r.inputs[0]), r.raw_input_contents.append(b"12345678")),
    "contents as well": lambda r: r.inputs[0].contents.fp32_contents.extend([1, 2]),
    "shared memory": lambda r: r.inputs[0].parameters["shared_memory_region"].__setattr__("string_param", "a"),
    "unknown output": lambda r: r.outputs.add(name="z"),
    "bad timeout": lambda r: r.parameters["timeout"].__setattr__("int64_param", -1),
    "unknown model": lambda r: setattr(r, "model_name", "nobody"),
    "unknown version": lambda r: setattr(r, "model_version", "7"),
}


@pytest.mark.parametrize("what", WRONG)
async def test_both_ways_refuse_alike(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    request = changed(WRONG[what])

    async def refusal(stub: Any) -> tuple[Any, ...]:
        with pytest.raises(aio.AioRpcError) as caught:
            await stub.ModelInfer(request)
        (reply,) = await all_replies(stub, [request])
        return caught.value.code(), caught.value.details(), caught.value.trailing_metadata(), reply.error_message

    async with served() as (w, stub):
        quick = await refusal(stub)
        long_way(monkeypatch)
        assert quick == await refusal(stub)
        assert quick[0] is not grpc.StatusCode.INTERNAL
        assert w.runtime().batches == []


async def test_a_task_that_looks_into_its_tensors_does_so_both_ways(monkeypatch: pytest.MonkeyPatch) -> None:
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
        quick = await refusal(stub)
        assert quick[0] is grpc.StatusCode.INVALID_ARGUMENT
        long_way(monkeypatch)
        assert quick == await refusal(stub)
        assert not any(-1.0 in batch for batch in w.runtime().batches)


async def test_everyone_on_many_streams_gets_exactly_their_own_answer() -> None:
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


async def test_a_deadline_ends_a_request_that_the_device_is_still_at() -> None:
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
