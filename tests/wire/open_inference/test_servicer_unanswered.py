"""Requests that end without an answer: their deadline has passed, or their caller has left."""

import asyncio

import grpc
import pytest
from grpc import aio

from tests.support.registry.fakes import world
from tests.support.scheduler.fakes import until
from tests.support.wire.open_inference import (
    Caller,
    all_replies,
    asks,
    served,
    servicer,
    without_codec,
)

pytestmark = [pytest.mark.asyncio, pytest.mark.usefixtures("each_frontend")]

LABELS = {"model": "adder", "version": "1"}


async def test_a_timeout_runs_while_the_model_loads() -> None:
    async with served(load=False, on_demand=True) as (w, stub):
        w.loader.gate.clear()
        request = asks(1)
        request.parameters["timeout"].int64_param = 20_000  # microseconds
        with pytest.raises(aio.AioRpcError) as caught:
            await stub.ModelInfer(request)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert "while the model was loading" in (caught.value.details() or "")
        (reply,) = await all_replies(stub, [request])
        assert "while the model was loading" in reply.error_message


async def test_wrong_parameter_is_reported_after_an_error_of_the_model() -> None:
    async with served(load=False) as (w, stub):
        for name, code in (("nobody", grpc.StatusCode.NOT_FOUND), ("adder", grpc.StatusCode.UNAVAILABLE)):
            request = asks(1, model=name)
            request.parameters["timeout"].int64_param = -1
            with pytest.raises(aio.AioRpcError) as caught:
                await stub.ModelInfer(request)
            assert caught.value.code() is code
        await w.registry.load("adder")
        with pytest.raises(aio.AioRpcError) as caught:
            await stub.ModelInfer(request)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize(("remaining", "code"), [(None, "CANCELLED"), (9.0, "CANCELLED"), (0.0, "DEADLINE_EXCEEDED")])
@pytest.mark.parametrize("quick", [True, False])
async def test_every_request_of_an_ended_stream_is_counted(
    quick: bool, remaining: float | None, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not quick:
        without_codec(monkeypatch)
    async with world() as w:
        w.runtime().gate.clear()
        caller = Caller(asks(i) for i in range(5))
        stream = asyncio.create_task(servicer(w).ModelStreamInfer(caller, caller))  # type: ignore[arg-type]
        await until(lambda: w.sample("zoo_in_flight_requests", **LABELS) == 5)
        caller.remaining = remaining
        stream.cancel()
        await asyncio.wait([stream])
        method = {**LABELS, "method": "ModelStreamInfer"}
        assert w.sample("zoo_requests_total", **method, code=code) == 5
        assert w.sample("zoo_request_duration_seconds_count", **method) == 5
        assert w.sample("zoo_in_flight_requests", **LABELS) == 0
