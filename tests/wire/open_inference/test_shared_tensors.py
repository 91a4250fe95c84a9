"""Requests whose tensors are in shared memory, over a port: right ones on every path, wrong ones without a name in the error."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import numpy as np
import pytest
from grpc import aio

from service.pb import open_inference_pb2 as pb
from service.wire.open_inference import shared_tensors
from service.wire.open_inference.model_codec import ModelCodec
from service.wire.open_inference.regions import Regions
from service.wire.open_inference.tensors import encode
from tests.support.registry.fakes import World
from tests.support.scheduler.fakes import until
from tests.support.wire.open_inference import PATHS, all_replies, asks, served
from tests.support.wire.shared_objects import FOLDER, SharedObject

pytestmark = [
    pytest.mark.asyncio,
    pytest.mark.skipif(not FOLDER.is_dir(), reason="needs the shared memory of Linux"),
]

LIMIT = 1 << 16
OUT = 256
"""First byte of the part of the object that outputs go to."""


@pytest.fixture
def shared() -> Iterator[SharedObject]:
    found = SharedObject(4096, np.arange(8, dtype=np.float32).tobytes())
    yield found
    found.remove()


@asynccontextmanager
async def registered(shared: SharedObject) -> AsyncIterator[tuple[World, Any]]:
    """A server that knows the object as the region `hush`, and a stub that calls it."""
    async with served(Regions(LIMIT)) as (w, stub):
        await stub.SystemSharedMemoryRegister(register(shared))
        yield w, stub


def register(shared: SharedObject, name: str = "hush", **changes: Any) -> pb.SystemSharedMemoryRegisterRequest:
    return pb.SystemSharedMemoryRegisterRequest(**({"name": name, "key": shared.key, "byte_size": 4096} | changes))


def place(tensor: Any, region: str | None = "hush", byte_size: int | None = None, offset: int | None = None) -> None:
    if region is not None:
        tensor.parameters["shared_memory_region"].string_param = region
    if byte_size is not None:
        tensor.parameters["shared_memory_byte_size"].int64_param = byte_size
    if offset is not None:
        tensor.parameters["shared_memory_offset"].int64_param = offset


def from_memory(rows: int = 2, byte_size: int | None = None, offset: int | None = None) -> pb.ModelInferRequest:
    """`rows` numbers of the region: 0, 1, 2 and so on."""
    request = pb.ModelInferRequest(model_name="adder", id="r")
    place(request.inputs.add(name="x", datatype="FP32", shape=[rows, 1]), "hush", byte_size or rows * 4, offset)
    return request


def to_memory(request: pb.ModelInferRequest, byte_size: int = 64, offset: int = OUT) -> pb.ModelInferRequest:
    place(request.outputs.add(name="y"), "hush", byte_size, offset)
    return request


def numbers(shared: SharedObject, count: int, start: int = OUT) -> list[float]:
    found: list[float] = np.frombuffer(shared.read(start, count * 4), np.float32).tolist()
    return found


async def failure(call: Any) -> str:
    with pytest.raises(aio.AioRpcError) as raised:
        await call
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    text = str(raised.value.details()) + str(raised.value.trailing_metadata())
    assert SharedObject.WORD not in text
    return str(raised.value.details())


async def unary(stub: Any, request: pb.ModelInferRequest) -> Any:
    return await stub.ModelInfer(request)


async def streamed(stub: Any, request: pb.ModelInferRequest) -> Any:
    (reply,) = await all_replies(stub, [request])
    assert not reply.error_message
    return reply.infer_response


@pytest.fixture(params=["codec", *PATHS, "in a thread"])
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param in PATHS:
        PATHS[request.param](monkeypatch)
    elif request.param == "in a thread":
        monkeypatch.setattr(shared_tensors, "CHEAP", 0)
    return str(request.param)


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize("ask", [unary, streamed])
async def test_tensors_in_shared_memory_are_answered_on_every_path(
    shared: SharedObject, ask: Callable[[Any, pb.ModelInferRequest], Any]
) -> None:
    async with registered(shared) as (_, zoo):
        for request, expected in (
            (from_memory(3), [1, 3, 5]),
            (from_memory(2, offset=8), [5, 7]),
            (asks(5, 6), [11, 13]),
        ):
            response = await ask(zoo, request)
            assert np.frombuffer(response.raw_output_contents[0], np.float32).tolist() == expected
            response = await ask(zoo, to_memory(request))
            (output,) = response.outputs
            assert (output.name, output.datatype, list(output.shape)) == ("y", "FP32", [len(expected), 1])
            assert list(response.raw_output_contents) == [b""]
            assert numbers(shared, len(expected)) == expected


async def test_codec_takes_shared_memory_and_the_event_loop_copies_little(
    monkeypatch: pytest.MonkeyPatch, shared: SharedObject
) -> None:
    async with registered(shared) as (_, zoo):
        taken: list[bool] = []
        read = ModelCodec.read

        def noted(self: ModelCodec, *arguments: Any) -> Any:
            call = read(self, *arguments)
            taken.append(call is not None)
            return call

        monkeypatch.setattr(ModelCodec, "read", noted)
        await zoo.ModelInfer(to_memory(from_memory(2)))
        monkeypatch.setattr(shared_tensors, "CHEAP", 71)  # 72 bytes are more
        await zoo.ModelInfer(to_memory(from_memory(2)))
        monkeypatch.setattr(shared_tensors, "CHEAP", 72)
        await zoo.ModelInfer(to_memory(from_memory(2)))
        assert taken == [True, False, True]


async def test_output_to_memory_keeps_the_positions_of_the_others(shared: SharedObject) -> None:
    async with registered(shared) as (_, zoo):
        request = to_memory(from_memory(2))
        request.outputs.add(name="y")
        response = await zoo.ModelInfer(request)
        assert [len(raw) for raw in response.raw_output_contents] == [0, 8]
        assert np.frombuffer(response.raw_output_contents[1], np.float32).tolist() == numbers(shared, 2) == [1, 3]


async def test_raw_input_in_shared_memory_is_answered(shared: SharedObject) -> None:
    async with registered(shared) as (_, zoo):
        data = encode(np.array([b"1", b"20"], object), "BYTES")
        shared.write(data, 512)
        request = pb.ModelInferRequest(model_name="adder")
        place(request.inputs.add(name="text", datatype="BYTES", shape=[2, 1]), "hush", len(data), 512)
        response = await zoo.ModelInfer(to_memory(request))
        assert list(response.raw_output_contents) == [b""]
        assert numbers(shared, 2) == [3, 41]
        request.inputs[0].parameters["shared_memory_byte_size"].int64_param = len(data) + 1
        assert "1 bytes are left over after 2 BYTES elements" in await failure(zoo.ModelInfer(request))


def changed(change: Callable[[pb.ModelInferRequest], object], **given: Any) -> pb.ModelInferRequest:
    request = to_memory(from_memory(2, **given))
    change(request)
    return request


def given(request: pb.ModelInferRequest, key: str, where: str = "inputs") -> pb.InferParameter:
    found: pb.InferParameter = getattr(request, where)[0].parameters[key]
    return found


IN, SIZE = "inputs[0].parameters[shared_memory_region]", "inputs[0].parameters[shared_memory_byte_size]"
WRONG: dict[str, tuple[pb.ModelInferRequest, str]] = {
    "unknown region": (
        changed(lambda r: setattr(given(r, "shared_memory_region"), "string_param", "hush, too")),
        f"{IN}: no region of this name is registered",
    ),
    "region that is a number": (
        changed(lambda r: setattr(given(r, "shared_memory_region"), "int64_param", 1)),
        f"{IN}: expected string_param, the name of a registered region",
    ),
    "no region": (
        changed(lambda r: r.inputs[0].parameters.pop("shared_memory_region")),
        f"{IN}: is required for a tensor in shared memory",
    ),
    "no size": (
        changed(lambda r: r.inputs[0].parameters.pop("shared_memory_byte_size")),
        f"{SIZE}: is required for a tensor in shared memory",
    ),
    "negative size": (
        changed(lambda r: setattr(given(r, "shared_memory_byte_size"), "int64_param", -8)),
        f"{SIZE}: expected 0 or more, got -8",
    ),
    "size that is a text": (
        changed(lambda r: setattr(given(r, "shared_memory_byte_size"), "string_param", "hush")),
        f"{SIZE}: expected int64_param, got string_param",
    ),
    "negative offset": (
        changed(lambda r: None, offset=-1),
        "inputs[0].parameters[shared_memory_offset]: expected 0 or more, got -1",
    ),
    "region smaller than the tensor claims": (
        changed(lambda r: None, byte_size=4097),
        f"{SIZE}: expected offset and byte_size within the 4096 bytes of the region, got 0 and 4097",
    ),
    "offset past the region": (
        changed(lambda r: None, offset=4089),
        f"{SIZE}: expected offset and byte_size within the 4096 bytes of the region, got 4089 and 8",
    ),
    "enormous offset": (
        changed(lambda r: setattr(given(r, "shared_memory_offset"), "uint64_param", 2**64 - 4)),
        f"{SIZE}: expected offset and byte_size within the 4096 bytes of the region, got 18446744073709551612 and 8",
    ),
    "size other than the tensor's": (
        changed(lambda r: None, byte_size=12),
        f"{SIZE}: expected 8 bytes for FP32 [2, 1], got 12",
    ),
    "unknown parameter": (
        changed(lambda r: setattr(given(r, "shared_memory_hush"), "int64_param", 1)),
        "inputs[0].parameters: of the names that begin with shared_memory_, only region, byte_size and offset are known",
    ),
    "raw contents as well": (
        changed(lambda r: r.raw_input_contents.append(bytes(8))),
        "raw_input_contents: expected one entry for each of 0 inputs that are not in shared memory, got 1",
    ),
    "typed contents as well": (
        changed(lambda r: r.inputs[0].contents.fp32_contents.extend([1, 2])),
        "inputs[0].contents: must be unset, since the tensor is in shared memory",
    ),
    "unknown region of an output": (
        changed(lambda r: setattr(given(r, "shared_memory_region", "outputs"), "string_param", "hush, too")),
        "outputs[0].parameters[shared_memory_region]: no region of this name is registered",
    ),
    "output that does not fit": (
        changed(lambda r: setattr(given(r, "shared_memory_byte_size", "outputs"), "int64_param", 7)),
        "outputs[0].parameters[shared_memory_byte_size]: expected at least 8 bytes for the output, got 7",
    ),
    "output past the region": (
        changed(lambda r: setattr(given(r, "shared_memory_offset", "outputs"), "int64_param", 4090)),
        "outputs[0].parameters[shared_memory_byte_size]: expected offset and byte_size within the 4096 bytes of the region, "
        "got 4090 and 64",
    ),
}


async def test_wrong_use_is_rejected_with_its_field_on_every_path(
    shared: SharedObject, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with registered(shared) as (_, zoo):
        before = shared.read()
        for prepare in (lambda _: None, *PATHS.values()):
            prepare(monkeypatch)
            for what, (request, message) in WRONG.items():
                assert await failure(zoo.ModelInfer(request)) == message, what
                (reply,) = await all_replies(zoo, [request])
                assert reply.error_message == message, what
        assert shared.read() == before


async def test_more_shared_memory_than_a_message_may_hold_is_rejected() -> None:
    large = SharedObject(LIMIT + 4)
    try:
        async with served(Regions(LIMIT)) as (_, stub):
            await stub.SystemSharedMemoryRegister(register(large, byte_size=LIMIT + 4))
            message = f"inputs: expected at most {LIMIT} bytes of shared memory in one request, got {LIMIT + 4}"
            assert await failure(stub.ModelInfer(from_memory(LIMIT // 4 + 1))) == message
    finally:
        large.remove()


@pytest.mark.usefixtures("path")
async def test_memory_that_became_shorter_fails_its_request_alone(shared: SharedObject) -> None:
    async with registered(shared) as (_, zoo):
        shared.shorten(100)
        message = await failure(zoo.ModelInfer(from_memory(2, offset=96)))
        assert (
            message
            == f"{IN}: expected 8 bytes at offset 96, but the memory of the region is now shorter than it was registered"
        )
        message = await failure(zoo.ModelInfer(to_memory(asks(1, 2))))
        assert message.startswith(
            "outputs[0].parameters[shared_memory_region]: expected 8 bytes at offset 256, but the memory"
        )
        assert len(shared.read()) == 100
        response = await zoo.ModelInfer(from_memory(2))
        assert np.frombuffer(response.raw_output_contents[0], np.float32).tolist() == [1, 3]
        shared.remove()
        response = await zoo.ModelInfer(from_memory(2))
        assert np.frombuffer(response.raw_output_contents[0], np.float32).tolist() == [1, 3]


async def test_region_that_is_unregistered_in_use_gets_its_output(shared: SharedObject) -> None:
    async with served(Regions(LIMIT)) as (w, stub):
        await stub.SystemSharedMemoryRegister(register(shared))
        gate = w.runtime().gate
        gate.clear()
        call = asyncio.ensure_future(stub.ModelInfer(to_memory(from_memory(2))))
        await until(lambda: w.runtime().batches)
        await stub.SystemSharedMemoryUnregister(pb.SystemSharedMemoryUnregisterRequest(name="hush"))
        gate.set()
        await call
        assert numbers(shared, 2) == [1, 3]
        assert await failure(stub.ModelInfer(from_memory(2))) == f"{IN}: no region of this name is registered"


async def test_regions_are_registered_shown_and_unregistered(shared: SharedObject) -> None:
    async with registered(shared) as (_, zoo):
        with pytest.raises(aio.AioRpcError) as raised:
            await zoo.SystemSharedMemoryRegister(register(shared))
        assert raised.value.code() is grpc.StatusCode.ALREADY_EXISTS
        assert raised.value.details() == "name: a region of this name is registered; unregister it first"
        await zoo.SystemSharedMemoryRegister(register(shared, "b", offset=64, byte_size=8))
        status = await zoo.SystemSharedMemoryStatus(pb.SystemSharedMemoryStatusRequest())
        assert {name: (r.name, r.key, r.offset, r.byte_size) for name, r in status.regions.items()} == {
            "hush": ("hush", shared.key, 0, 4096),
            "b": ("b", shared.key, 64, 8),
        }
        one = await zoo.SystemSharedMemoryStatus(pb.SystemSharedMemoryStatusRequest(name="b"))
        assert list(one.regions) == ["b"]
        with pytest.raises(aio.AioRpcError) as raised:
            await zoo.SystemSharedMemoryStatus(pb.SystemSharedMemoryStatusRequest(name="hush, too"))
        assert raised.value.code() is grpc.StatusCode.NOT_FOUND
        assert raised.value.details() == "no shared memory region of this name is registered"
        assert b"hush" not in b"".join(bytes(value) for _, value in raised.value.trailing_metadata())
        await zoo.SystemSharedMemoryUnregister(pb.SystemSharedMemoryUnregisterRequest())
        assert not (await zoo.SystemSharedMemoryStatus(pb.SystemSharedMemoryStatusRequest())).regions
        metadata = await zoo.ServerMetadata(pb.ServerMetadataRequest())
        assert "system_shared_memory" in metadata.extensions
        assert "cuda_shared_memory" not in metadata.extensions


async def test_there_are_no_cuda_regions_to_unregister(shared: SharedObject) -> None:
    """perf_analyzer unregisters regions of both kinds, whichever it uses."""
    async with registered(shared) as (_, zoo):
        await zoo.CudaSharedMemoryUnregister(pb.CudaSharedMemoryUnregisterRequest())
        assert not (await zoo.CudaSharedMemoryStatus(pb.CudaSharedMemoryStatusRequest())).regions
        assert "hush" in (await zoo.SystemSharedMemoryStatus(pb.SystemSharedMemoryStatusRequest())).regions
        with pytest.raises(aio.AioRpcError) as raised:
            await zoo.CudaSharedMemoryRegister(pb.CudaSharedMemoryRegisterRequest(name="hush"))
        assert raised.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_server_without_shared_memory_does_not_have_its_methods() -> None:
    async with served() as (_, stub):
        for call in (
            stub.SystemSharedMemoryStatus(pb.SystemSharedMemoryStatusRequest()),
            stub.SystemSharedMemoryRegister(pb.SystemSharedMemoryRegisterRequest()),
            stub.SystemSharedMemoryUnregister(pb.SystemSharedMemoryUnregisterRequest()),
            stub.CudaSharedMemoryUnregister(pb.CudaSharedMemoryUnregisterRequest()),
        ):
            with pytest.raises(aio.AioRpcError) as raised:
                await call
            assert raised.value.code() is grpc.StatusCode.UNIMPLEMENTED
        for request in (from_memory(2), to_memory(asks(1))):
            assert "shared memory is not supported; send the bytes themselves" in await failure(
                stub.ModelInfer(request)
            )
