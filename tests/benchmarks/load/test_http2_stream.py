"""The stream client counts exactly the answers of a real gRPC server."""

from collections.abc import AsyncIterator

import grpc
import numpy as np
import pytest

from benchmarks.load import http2_stream, inputs
from benchmarks.load.calls import STREAM
from benchmarks.participants.null_server import WIDTH, Echo
from service.pb import open_inference_pb2 as pb
from service.pb import open_inference_pb2_grpc


class Counting(Echo):
    def __init__(self, fails_after: int = -1, complains: bool = False) -> None:
        self.asked, self._fails_after, self._complains = 0, fails_after, complains

    async def ModelStreamInfer(
        self, request_iterator: AsyncIterator[pb.ModelInferRequest], context: object
    ) -> AsyncIterator[pb.ModelStreamInferResponse]:
        async for reply in super().ModelStreamInfer(request_iterator, context):
            self.asked += 1
            if self.asked == self._fails_after:
                raise RuntimeError
            yield pb.ModelStreamInferResponse(error_message="no") if self._complains else reply


async def run(servicer: Counting, answers: int, window: int = 8) -> tuple[int, dict[str, int]]:
    """Stream until the server has received `answers` requests; their number is the client's clock."""
    server = grpc.aio.server()
    open_inference_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    message = inputs.tensor_message("null", {"x": np.ones(WIDTH, np.float32)})

    def clock() -> float:
        return float(servicer.asked)

    try:
        done, errors = await http2_stream.stream(f"127.0.0.1:{port}", STREAM, [message], window, 0.0, answers, clock)
    finally:
        await server.stop(None)
    return done, dict(errors)


@pytest.mark.asyncio
async def test_stream_counts_every_answer_once() -> None:
    servicer = Counting()

    done, errors = await run(servicer, 300)

    assert errors == {}
    # Requests in flight at the end are answered and awaited, but not counted.
    assert 300 - 8 <= done <= 300
    assert done <= servicer.asked <= 300 + 8


@pytest.mark.asyncio
async def test_stream_sends_more_than_one_flow_control_window() -> None:
    servicer = Counting()

    done, errors = await run(servicer, 2500, window=2000)  # 2,000 requests in flight exceed 64 KiB

    assert errors == {}
    assert done > 0
    assert servicer.asked >= 2000


@pytest.mark.asyncio
async def test_broken_stream_counts_all_requests_in_flight_as_errors() -> None:
    _, errors = await run(Counting(fails_after=20), 5000)

    assert set(errors) == {"ENDED"}
    assert 1 <= errors["ENDED"] <= 8


@pytest.mark.asyncio
async def test_error_answer_is_counted_as_error() -> None:
    servicer = Counting(complains=True)

    _, errors = await run(servicer, 100)

    assert errors == {"ERROR": servicer.asked}
