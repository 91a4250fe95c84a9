"""Triton's asyncio client, and streams of both of its clients."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio

from tests.stock_clients.triton_calls import (
    CAT,
    CNN,
    RNN,
    TOLERANCE,
    TRANSFORMER,
    inputs,
    read,
)
from tests.support.end_to_end.server_process import ServerProcess

WAIT_S = 60


def test_concurrent_asyncio_calls_get_their_own_answers(server: ServerProcess) -> None:
    texts = [f"this is text number {i}{' with a tail' * (i % 5)}".encode() for i in range(60)]

    async def run() -> tuple[list[Any], list[Any]]:
        async with triton_aio.InferenceServerClient(server.target) as client:
            assert await client.is_server_ready()
            assert (await client.get_model_metadata(CNN)).name == CNN
            alone = [await client.infer(TRANSFORMER, inputs(text=[text])) for text in texts[:5]]
            calls = [client.infer(TRANSFORMER, inputs(text=[t]), request_id=str(i)) for i, t in enumerate(texts)]
            return alone, await asyncio.gather(*calls)

    alone, together = asyncio.run(run())
    assert [result.get_response().id for result in together] == [str(i) for i in range(60)]
    for single, result in zip(alone, together, strict=False):
        one, other = (r.as_numpy("embedding") for r in (single, result))
        np.testing.assert_allclose(one, other, atol=TOLERANCE[TRANSFORMER])


def test_error_status_reaches_an_asyncio_client(server: ServerProcess) -> None:
    async def run() -> triton.InferenceServerException:
        async with triton_aio.InferenceServerClient(server.target) as client:
            try:
                await client.infer(TRANSFORMER, inputs(text=[b""]))
            except triton.InferenceServerException as error:
                return error
        raise AssertionError("expected a refusal")

    refusal = read(asyncio.run(run()))
    assert (refusal.code, refusal.message) == ("INVALID_ARGUMENT", "inputs[0][0]: is empty; expected a text")


def test_asyncio_stream_matches_replies_by_id_and_survives_an_error(server: ServerProcess) -> None:
    async def requests() -> AsyncIterator[dict[str, Any]]:
        yield {"model_name": TRANSFORMER, "inputs": inputs(text=[b"one"]), "request_id": "one"}
        yield {"model_name": TRANSFORMER, "inputs": inputs(text=[b""]), "request_id": "empty"}
        yield {"model_name": CNN, "inputs": inputs(image=[CAT]), "request_id": "cat"}

    async def run() -> list[Any]:
        async with triton_aio.InferenceServerClient(server.target) as client:
            return [reply async for reply in client.stream_infer(requests(), stream_timeout=WAIT_S)]

    replies = asyncio.run(run())
    good = {result.get_response().id: result for result, error in replies if error is None}
    assert good.keys() == {"one", "cat"}
    assert good["one"].as_numpy("embedding").shape == (1, 384)
    assert good["cat"].as_numpy("logits").shape == (1, 1000)
    [error] = [error for _, error in replies if error is not None]
    assert read(error).message == "inputs[0][0]: is empty; expected a text"


def test_callback_stream_matches_replies_by_id_and_survives_errors(client: triton.InferenceServerClient) -> None:
    replies: queue.Queue[tuple[Any, Any]] = queue.Queue()
    client.start_stream(lambda result, error: replies.put((result, error)), stream_timeout=WAIT_S)
    try:
        client.async_stream_infer(TRANSFORMER, inputs(text=[b"first"]), request_id="first")
        first, error = replies.get(timeout=WAIT_S)
        assert (first.get_response().id, error) == ("first", None)
        assert first.get_response().parameters["triton_final_response"].bool_param is True

        client.async_stream_infer("efficientnet_lite", inputs(image=[CAT]), request_id="bad")
        result, error = replies.get(timeout=WAIT_S)
        assert result is None
        assert (
            read(error).message == f"unknown model 'efficientnet_lite'; did you mean '{CNN}' or 'efficientnet_lite2'?"
        )

        for i in range(30):
            client.async_stream_infer(TRANSFORMER, inputs(text=[f"text {i}".encode()]), request_id=f"text {i}")
            client.async_stream_infer(RNN, inputs(samples=np.zeros((1, 512 * (i + 1)), np.float32)), request_id=f"{i}")
        last = [replies.get(timeout=WAIT_S) for _ in range(60)]
    finally:
        client.stop_stream()
    assert [error for _, error in last if error is not None] == []
    by_id = {result.get_response().id: result for result, _ in last}
    assert by_id.keys() == {f"text {i}" for i in range(30)} | {str(i) for i in range(30)}
    for i in range(30):
        assert by_id[str(i)].as_numpy("frames").tolist() == [[i + 1]]
    for i in (0, 7, 29):
        alone = client.infer(TRANSFORMER, inputs(text=[f"text {i}".encode()])).as_numpy("embedding")
        np.testing.assert_allclose(by_id[f"text {i}"].as_numpy("embedding"), alone, atol=TOLERANCE[TRANSFORMER])


def test_stream_with_empty_final_response_gets_its_answers(client: triton.InferenceServerClient) -> None:
    replies: queue.Queue[tuple[Any, Any]] = queue.Queue()
    client.start_stream(lambda result, error: replies.put((result, error)), stream_timeout=WAIT_S)
    try:
        taken = inputs(text=[b"hello"])
        client.async_stream_infer(TRANSFORMER, taken, request_id="x", enable_empty_final_response=True)
        result, error = replies.get(timeout=WAIT_S)
    finally:
        client.stop_stream()
    assert error is None
    assert result.as_numpy("embedding").shape == (1, 384)
    assert result.get_response().parameters["triton_final_response"].bool_param is True


def test_stream_can_be_cancelled(client: triton.InferenceServerClient) -> None:
    replies: queue.Queue[tuple[Any, Any]] = queue.Queue()
    client.start_stream(lambda result, error: replies.put((result, error)))
    client.async_stream_infer(RNN, inputs(samples=np.zeros((1, 240 * 16_000), np.float32)))
    client.stop_stream(cancel_requests=True)
    _, error = replies.get(timeout=WAIT_S)
    assert read(error).code == "CANCELLED"
    assert client.infer(TRANSFORMER, inputs(text=[b"hello"])).as_numpy("embedding").shape == (1, 384)
