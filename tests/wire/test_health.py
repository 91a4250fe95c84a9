"""grpc.health.v1 reports every change, in order."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from grpc import aio
from grpc_health.v1 import health_pb2 as pb
from grpc_health.v1 import health_pb2_grpc
from prometheus_client import CollectorRegistry

from service.observability.metrics import Metrics
from service.observability.recorder import Recorder
from service.observability.statistics import Statistics
from service.registry.states import ModelState
from service.wire.calls import CountedServer
from service.wire.health import Health
from tests.support.wire.calls import PATIENCE_S

pytestmark = pytest.mark.asyncio
SERVING, NOT_SERVING = pb.HealthCheckResponse.SERVING, pb.HealthCheckResponse.NOT_SERVING
UNKNOWN = pb.HealthCheckResponse.SERVICE_UNKNOWN
SERVICES = ("zoo.v1.Prediction", "inference.GRPCInferenceService")


@asynccontextmanager
async def served() -> AsyncIterator[tuple[Health, Any]]:
    health = Health(SERVICES)
    recorder = Recorder(Metrics(CollectorRegistry()), Statistics())
    server = aio.server()
    counted: Any = CountedServer(server, recorder)
    health_pb2_grpc.add_HealthServicer_to_server(health.servicer, counted)
    port = server.add_insecure_port("127.0.0.1:0")
    health.start()
    await server.start()
    try:
        async with aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield health, health_pb2_grpc.HealthStub(channel)
    finally:
        health.stop()
        await server.stop(None)


async def check(stub: Any, name: str) -> int:
    return int((await stub.Check(pb.HealthCheckRequest(service=name))).status)


async def test_new_server_is_not_serving() -> None:
    async with served() as (health, stub):
        await health.settle()
        for name in ("", *SERVICES):
            assert await check(stub, name) == NOT_SERVING


async def test_the_server_and_its_services_serve_together() -> None:
    async with served() as (health, stub):
        for ready, status in ((True, SERVING), (False, NOT_SERVING), (True, SERVING)):
            health.set_server(ready)
            await health.settle()
            assert [await check(stub, name) for name in ("", *SERVICES)] == [status] * 3


@pytest.mark.parametrize("state", list(ModelState))
async def test_a_model_serves_while_it_is_ready_and_only_then(state: ModelState) -> None:
    async with served() as (health, stub):
        health.model_changed("m", state)
        await health.settle()
        assert await check(stub, "m") == (SERVING if state is ModelState.READY else NOT_SERVING)
        assert await check(stub, "") == NOT_SERVING, "a model does not speak for the server"


async def test_list_has_the_health_of_every_name() -> None:
    async with served() as (health, stub):
        health.model_changed("m", ModelState.READY)
        health.model_changed("n", ModelState.LOADING)
        await health.settle()
        statuses = {name: reply.status for name, reply in (await stub.List(pb.HealthListRequest())).statuses.items()}
        assert statuses == dict.fromkeys(("", *SERVICES, "n"), NOT_SERVING) | {"m": SERVING}


async def test_unknown_name_is_not_found() -> None:
    async with served() as (health, stub):
        await health.settle()
        with pytest.raises(aio.AioRpcError) as caught:
            await check(stub, "unknown")
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND


async def test_watcher_sees_changes_in_order() -> None:
    async with served() as (health, stub):
        watch = stub.Watch(pb.HealthCheckRequest(service="m"))
        async with asyncio.timeout(PATIENCE_S):
            assert (await watch.read()).status == UNKNOWN
            moves = [
                (ModelState.LOADING, NOT_SERVING),
                (ModelState.READY, SERVING),
                (ModelState.UNLOADING, NOT_SERVING),
                (ModelState.LOADING, None),  # still not serving: no change, or published again
                (ModelState.READY, SERVING),
            ]
            for state, status in moves:
                health.model_changed("m", state)
                if status is not None:
                    seen = await watch.read()
                    while seen.status != status:
                        assert status == SERVING
                        assert seen.status == NOT_SERVING
                        seen = await watch.read()
        watch.cancel()


async def test_a_burst_of_changes_ends_with_the_last() -> None:
    async with served() as (health, stub):
        watch = stub.Watch(pb.HealthCheckRequest(service="m"))
        async with asyncio.timeout(PATIENCE_S):
            await watch.read()
            for _ in range(50):
                health.model_changed("m", ModelState.READY)
                health.model_changed("m", ModelState.UNLOADING)
            health.model_changed("m", ModelState.READY)
            await health.settle()
            assert await check(stub, "m") == SERVING
        watch.cancel()


async def test_watcher_that_leaves_does_not_stop_the_publishing() -> None:
    async with served() as (health, stub):
        watch = stub.Watch(pb.HealthCheckRequest(service=""))
        async with asyncio.timeout(PATIENCE_S):
            await watch.read()
            watch.cancel()
            health.set_server(True)
            await health.settle()
            assert await check(stub, "") == SERVING


async def test_changes_settled_before_the_drain_reach_clients() -> None:
    async with served() as (health, stub):
        health.set_server(True)
        health.set_server(False)
        async with asyncio.timeout(PATIENCE_S):
            await health.settle()
        assert await check(stub, "") == NOT_SERVING
