"""The protocol on a real port, with a fake pipeline behind it."""

import asyncio
import re
from typing import Any

import grpc
import numpy as np
import pytest
from grpc import aio

from service.pb import open_inference_pb2 as pb
from service.wire.open_inference.tensors import encode
from tests.support.wire.fakes import Wired, wired

pytestmark = [pytest.mark.asyncio, pytest.mark.usefixtures("each_frontend")]


def infer(*elements: bytes, request_id: str = "", model: str = "pictures", **fields: Any) -> pb.ModelInferRequest:
    request = pb.ModelInferRequest(model_name=model, id=request_id, **fields)
    request.inputs.add(name="image", datatype="BYTES", shape=[len(elements), 1])
    request.raw_input_contents.append(encode(np.array(elements, object), "BYTES"))
    return request


async def failure(call: Any) -> aio.AioRpcError:
    with pytest.raises(aio.AioRpcError) as caught:
        await call
    return caught.value


# ── health and metadata ───────────────────────────────────────────────────────────────────────────────────────


async def test_live_and_ready_follow_the_server_state() -> None:
    async with wired() as zoo:
        assert (await zoo.stub.ServerLive(pb.ServerLiveRequest())).live
        assert (await zoo.stub.ServerReady(pb.ServerReadyRequest())).ready
        zoo.state.ready = False
        assert not (await zoo.stub.ServerReady(pb.ServerReadyRequest())).ready


@pytest.mark.parametrize(
    ("name", "version", "ready"),
    [
        ("pictures", "", True),
        ("pictures", "1", True),
        ("pictures", "2", False),
        ("sounds", "", False),
        ("no", "", False),
    ],
)
async def test_a_model_is_ready_when_it_answers(name: str, version: str, ready: bool) -> None:
    async with wired() as zoo:
        assert (await zoo.stub.ModelReady(pb.ModelReadyRequest(name=name, version=version))).ready is ready


async def test_only_extensions_that_work_are_advertised() -> None:
    async with wired() as zoo:
        metadata = await zoo.stub.ServerMetadata(pb.ServerMetadataRequest())
    assert (metadata.name, metadata.version) == ("zoo", "9.9")
    assert sorted(metadata.extensions) == [
        "binary_tensor_data",
        "classification",
        "logging",
        "model_configuration",
        "model_repository",
        "parameters",
        "statistics",
        "trace",
    ]


async def test_metadata_shows_the_input_that_the_card_prefers() -> None:
    async with wired() as zoo:
        pictures = await zoo.stub.ModelMetadata(pb.ModelMetadataRequest(name="pictures"))
        sentences = await zoo.stub.ModelMetadata(pb.ModelMetadataRequest(name="sentences"))
        unknown = await failure(zoo.stub.ModelMetadata(pb.ModelMetadataRequest(name="picture")))
    assert [(t.name, t.datatype, list(t.shape)) for t in pictures.inputs] == [("pixels", "FP32", [-1, 3, 2])]
    assert (pictures.platform, list(pictures.versions)) == ("pytorch", ["1"])
    assert [(t.name, t.datatype, list(t.shape)) for t in sentences.inputs] == [("text", "BYTES", [-1, 1])]
    assert [(t.name, t.datatype, list(t.shape)) for t in sentences.outputs] == [("embedding", "FP32", [-1, 4])]
    assert unknown.code() is grpc.StatusCode.NOT_FOUND
    assert "did you mean 'pictures'?" in unknown.details()


async def test_methods_that_are_not_advertised_are_unimplemented() -> None:
    async with wired() as zoo:
        for method, request in (
            (zoo.stub.SystemSharedMemoryStatus, pb.SystemSharedMemoryStatusRequest()),
            (zoo.stub.CudaSharedMemoryStatus, pb.CudaSharedMemoryStatusRequest()),
        ):
            assert (await failure(method(request))).code() is grpc.StatusCode.UNIMPLEMENTED


# ── inference ─────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_request_is_answered_with_raw_tensors() -> None:
    async with wired() as zoo:
        response = await zoo.stub.ModelInfer(infer(b"ab", b"abcd", request_id="r1"))
    assert (response.id, response.model_name, response.model_version) == ("r1", "pictures", "1")
    assert np.frombuffer(response.raw_output_contents[0], np.float32).tolist() == [0, 2, 1, 0, 4, 2]
    assert not response.outputs[0].HasField("contents")


@pytest.mark.parametrize(
    ("request_", "code", "text"),
    [
        (infer(b"a", model="picture"), grpc.StatusCode.NOT_FOUND, "unknown model 'picture'"),
        (infer(b"a", model_version="9"), grpc.StatusCode.NOT_FOUND, "unknown version '9'"),
        (infer(model="sounds"), grpc.StatusCode.UNAVAILABLE, "not loaded"),
        (infer(), grpc.StatusCode.INVALID_ARGUMENT, "inputs[0].shape: "),
        (infer(b"a", b"bad"), grpc.StatusCode.INVALID_ARGUMENT, "not an image"),
        (infer(b"crash"), grpc.StatusCode.INTERNAL, "internal error"),
    ],
)
async def test_failures_have_the_status_of_their_kind(request_: Any, code: Any, text: str) -> None:
    async with wired() as zoo:
        error = await failure(zoo.stub.ModelInfer(request_))
    assert error.code() is code
    assert text in error.details()
    assert "/a/path" not in error.details()


async def test_deadline_of_the_call_reaches_the_pipeline() -> None:
    async with wired() as zoo:
        await zoo.stub.ModelInfer(infer(b"a"))
        await zoo.stub.ModelInfer(infer(b"a"), timeout=30)
    assert zoo.inference.requests[0].deadline is None
    assert zoo.inference.requests[1].deadline is not None


# ── streams ───────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_stream_answers_in_order_of_completion() -> None:
    async with wired() as zoo:
        zoo.inference.gates["slow"] = slow = asyncio.Event()
        stream = zoo.stub.ModelStreamInfer()
        await stream.write(infer(b"a", request_id="slow"))
        await stream.write(infer(b"ab", request_id="fast"))
        first = await stream.read()
        slow.set()
        second = await stream.read()
        await stream.done_writing()
        assert await stream.read() is aio.EOF
    assert [first.infer_response.id, second.infer_response.id] == ["fast", "slow"]
    for reply in (first, second):
        assert reply.error_message == ""
        assert reply.infer_response.parameters["triton_final_response"].bool_param


async def test_a_failed_request_leaves_the_stream_open() -> None:
    async with wired() as zoo:
        stream = zoo.stub.ModelStreamInfer()
        replies = []
        for request in (infer(b"bad", request_id="1"), infer(b"crash", request_id="2"), infer(b"a", request_id="3")):
            await stream.write(request)
            replies.append(await stream.read())
        await stream.done_writing()
        assert await stream.read() is aio.EOF
        assert await stream.code() is grpc.StatusCode.OK
    assert [reply.infer_response.id for reply in replies] == ["1", "2", "3"]
    assert [reply.infer_response.model_name for reply in replies] == ["pictures"] * 3
    assert all(reply.infer_response.parameters["triton_final_response"].bool_param for reply in replies)
    assert replies[0].error_message == "inputs[0]: not an image"
    assert replies[1].error_message.startswith("internal error")
    assert "/a/path" not in replies[1].error_message
    assert replies[2].error_message == ""


async def test_requests_under_way_on_a_stream_are_bounded() -> None:
    async with wired() as zoo:
        gate = asyncio.Event()
        zoo.inference.gates[""] = gate
        stream = zoo.stub.ModelStreamInfer()
        for _ in range(70):
            await stream.write(infer(b"a"))
        await stream.done_writing()
        await zoo.inference.until_inside(64)
        gate.set()
        assert len([reply async for reply in stream]) == 70
    assert zoo.inference.most_inside == 64


@pytest.mark.parametrize("leave", ["cancel", "disconnect"])
async def test_a_caller_who_leaves_takes_unanswered_requests_along(leave: str) -> None:
    async with wired() as zoo:
        zoo.inference.gates[""] = asyncio.Event()
        stream = zoo.stub.ModelStreamInfer()
        for _ in range(3):
            await stream.write(infer(b"a"))
        await zoo.inference.until_inside(3)
        if leave == "cancel":
            stream.cancel()
        else:
            await zoo.channel.close()
        await zoo.inference.until_inside(0)
        while left := {task for task in asyncio.all_tasks() if "Stream._read" in repr(task.get_coro())}:
            await asyncio.wait(left)


# ── administration ────────────────────────────────────────────────────────────────────────────────────────────


async def test_the_index_lists_the_whole_catalog_or_what_answers() -> None:
    async with wired() as zoo:
        everything = await zoo.stub.RepositoryIndex(pb.RepositoryIndexRequest())
        ready = await zoo.stub.RepositoryIndex(pb.RepositoryIndexRequest(ready=True))
    assert [(m.name, m.version, m.state, m.reason) for m in everything.models] == [
        ("pictures", "1", "READY", ""),
        ("sentences", "1", "READY", ""),
        ("sounds", "", "UNAVAILABLE", "not loaded"),
    ]
    assert [m.name for m in ready.models] == ["pictures", "sentences"]


async def test_tritons_clients_load_and_unload_and_get_an_empty_reply() -> None:
    async with wired() as zoo:
        loaded = await zoo.stub.RepositoryModelLoad(pb.RepositoryModelLoadRequest(model_name="sounds"))
        assert zoo.registry.models["sounds"].state == "READY"
        request = pb.RepositoryModelUnloadRequest(model_name="sounds")
        request.parameters["unload_dependents"].bool_param = False
        unloaded = await zoo.stub.RepositoryModelUnload(request)
        assert zoo.registry.models["sounds"].state == "UNAVAILABLE"
    assert loaded.SerializeToString() == unloaded.SerializeToString() == b""


async def test_kserve_clients_name_the_model_in_field_one_and_get_it_back() -> None:
    async with wired() as zoo:
        loaded = await zoo.stub.RepositoryModelLoad(pb.RepositoryModelLoadRequest(repository_name="sounds"))
        unloaded = await zoo.stub.RepositoryModelUnload(pb.RepositoryModelUnloadRequest(repository_name="sounds"))
    assert loaded.SerializeToString() == unloaded.SerializeToString() == b"\x0a\x06sounds\x10\x01"


@pytest.mark.parametrize("key", ["config", "file:1/model.pt", "other"])
async def test_overrides_of_a_model_are_refused(key: str) -> None:
    async with wired() as zoo:
        request = pb.RepositoryModelLoadRequest(model_name="sounds")
        request.parameters[key].string_param = "{}"
        error = await failure(zoo.stub.RepositoryModelLoad(request))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert error.details().startswith(f"parameters[{key}]: not supported")


async def test_a_model_without_a_name_or_in_no_catalog_is_refused() -> None:
    async with wired() as zoo:
        nameless = await failure(zoo.stub.RepositoryModelLoad(pb.RepositoryModelLoadRequest()))
        unknown = await failure(zoo.stub.RepositoryModelUnload(pb.RepositoryModelUnloadRequest(model_name="x")))
    assert nameless.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert unknown.code() is grpc.StatusCode.NOT_FOUND


async def test_configuration_describes_batching() -> None:
    async with wired() as zoo:
        config = (await zoo.stub.ModelConfig(pb.ModelConfigRequest(name="pictures"))).config
        unloaded = (await zoo.stub.ModelConfig(pb.ModelConfigRequest(name="sounds"))).config
    assert (config.name, config.platform, config.backend, config.max_batch_size) == ("pictures", "pytorch", "zoo", 8)
    assert [(i.name, i.data_type, list(i.dims)) for i in config.input] == [("pixels", pb.TYPE_FP32, [3, 2])]
    assert [(o.name, list(o.dims), bool(o.label_filename)) for o in config.output] == [
        ("logits", [3], True),
        ("count", [], False),
    ]
    assert config.WhichOneof("scheduling_choice") == "dynamic_batching"
    assert config.dynamic_batching.max_queue_delay_microseconds == 2000
    assert config.dynamic_batching.default_queue_policy.max_queue_size == 64
    assert config.instance_group[0].kind == pb.ModelInstanceGroup.KIND_CPU
    assert {key: value.string_value for key, value in config.parameters.items()} == {
        "device": "cpu",
        "precision": "fp32",
        "family": "cnn",
        "task": "image-classification",
        "raw_input": "image BYTES [-1, 1]",
    }
    assert not config.model_transaction_policy.decoupled
    assert not config.response_cache.enable
    assert not unloaded.instance_group


async def test_metadata_and_configuration_agree_on_raw_inputs() -> None:
    async with wired() as zoo:
        config = (await zoo.stub.ModelConfig(pb.ModelConfigRequest(name="sentences"))).config
    assert [(i.name, i.data_type, list(i.dims)) for i in config.input] == [("text", pb.TYPE_STRING, [1])]
    assert re.fullmatch(r"\w+ [A-Z]+\d+ \[-1.*\]", config.parameters["tensor_inputs"].string_value)


async def statistics(zoo: Wired, **asked: str) -> list[Any]:
    return list((await zoo.stub.ModelStatistics(pb.ModelStatisticsRequest(**asked))).model_stats)


async def test_statistics_count_requests_and_batches() -> None:
    async with wired() as zoo:
        counts = zoo.recorder.statistics
        counts.request_finished("pictures", 1, True, 3, 100, queue_ns=10, input_ns=20, infer_ns=30, output_ns=40)
        counts.request_finished("pictures", 1, False, 1, 7)
        counts.batch_executed("pictures", 1, rows=2, input_ns=1, infer_ns=2, output_ns=3)
        counts.batch_executed("pictures", 1, rows=1, input_ns=4, infer_ns=5, output_ns=6)
        (one,) = await statistics(zoo, name="pictures", version="stable")
    assert (one.name, one.version, one.last_inference) == ("pictures", "1", 1234)
    assert (one.inference_count, one.execution_count) == (3, 2)
    stats = one.inference_stats
    assert (stats.success.count, stats.success.ns, stats.fail.count, stats.fail.ns) == (1, 100, 1, 7)
    assert (stats.queue.ns, stats.compute_input.ns, stats.compute_infer.ns, stats.compute_output.ns) == (10, 20, 30, 40)
    assert [(b.batch_size, b.compute_infer.count, b.compute_infer.ns) for b in one.batch_stats] == [
        (1, 1, 5),
        (2, 1, 2),
    ]
    assert (one.memory_usage[0].type, one.memory_usage[0].byte_size) == ("CPU", 4096)


async def test_a_loaded_model_has_statistics_before_its_first_request() -> None:
    async with wired() as zoo:
        everything = await statistics(zoo)
        (one,) = await statistics(zoo, name="pictures")
        unknown = await failure(zoo.stub.ModelStatistics(pb.ModelStatisticsRequest(name="x")))
        assert await statistics(zoo, name="sounds", version="stable") == []
    assert [entry.name for entry in everything] == ["pictures", "sentences"]
    assert (one.inference_count, one.inference_stats.success.count) == (0, 0)
    assert unknown.code() is grpc.StatusCode.NOT_FOUND


async def test_each_request_of_a_stream_is_counted_by_its_own_outcome() -> None:
    async with wired() as zoo:
        stream = zoo.stub.ModelStreamInfer()
        for request in (infer(b"a"), infer(b"bad")):
            await stream.write(request)
        await stream.done_writing()
        assert len([reply async for reply in stream]) == 2
        requests = zoo.recorder._metrics.requests
        for code in ("OK", "INVALID_ARGUMENT"):
            assert requests.labels("pictures", "1", "ModelStreamInfer", code)._value.get() == 1
