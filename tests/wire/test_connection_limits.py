"""One client cannot take the whole server: connections, their calls, metadata and age are bounded."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health

from service.settings import load_settings
from service.wire.connection_limits import NO_LIMIT_MS, connection_limits

pytestmark = [pytest.mark.asyncio, pytest.mark.usefixtures("clean_environment")]

PATIENCE_S = 30.0
CHECK = health_pb2.HealthCheckRequest()
OWN_CONNECTION = ("grpc.use_local_subchannel_pool", 1)


@asynccontextmanager
async def serving(**settings: Any) -> AsyncIterator[str]:
    """A health service with these limits; gives its address."""
    server = aio.server(options=connection_limits(load_settings(**settings)))
    servicer = health.HealthServicer()
    await servicer.set("", health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)


def channel(address: str, *options: tuple[str, int]) -> aio.Channel:
    return aio.insecure_channel(address, options=[OWN_CONNECTION, *options])


async def check(made: aio.Channel, **call: Any) -> None:
    await health_pb2_grpc.HealthStub(made).Check(CHECK, **{"timeout": PATIENCE_S, **call})


async def test_connections_beyond_the_limit_are_closed_and_room_is_given_back() -> None:
    async with serving(max_connections=2) as address:
        first, second, third = (channel(address) for _ in range(3))
        await check(first)
        await check(second)
        with pytest.raises(aio.AioRpcError) as caught:
            await check(third, timeout=1.0)
        assert caught.value.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
        await check(first)
        await second.close()
        async with asyncio.timeout(PATIENCE_S):
            await check(third, wait_for_ready=True)
        for made in (first, third):
            await made.close()


async def test_calls_beyond_the_limit_of_a_connection_wait_at_the_client() -> None:
    async with serving(max_streams_per_connection=2) as address, channel(address) as made:
        stub = health_pb2_grpc.HealthStub(made)
        watches = [stub.Watch(CHECK) for _ in range(2)]
        for watch in watches:
            await watch.read()
        with pytest.raises(aio.AioRpcError) as caught:
            await check(made, timeout=0.5)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        async with channel(address) as other:
            await check(other)
        watches[0].cancel()
        await check(made)
        watches[1].cancel()


@pytest.mark.parametrize(("kib", "fits"), [(7, True), (9, False), (1000, False)])
async def test_call_with_more_metadata_than_the_limit_is_refused_alone(kib: int, fits: bool) -> None:
    async with serving(max_metadata_kib=8) as address, channel(address) as made:
        metadata = (("x-filler", "y" * (kib * 1024)),)
        if fits:
            await check(made, metadata=metadata)
        else:
            with pytest.raises(aio.AioRpcError) as caught:
                await check(made, metadata=metadata)
            assert caught.value.code() in (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE)
        await check(made)


async def test_connection_that_says_nothing_is_closed() -> None:
    async with serving(handshake_timeout_s=1.0) as address:
        host, _, port = address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port), family=socket.AF_INET)
        async with asyncio.timeout(PATIENCE_S):
            while await reader.read(1000):  # the server's own settings come first
                pass
        writer.close()


async def idle_states(made: aio.Channel) -> AsyncIterator[grpc.ChannelConnectivity]:
    """The states of a channel as they change."""
    state = made.get_state(try_to_connect=True)
    while True:
        await made.wait_for_state_change(state)
        state = made.get_state()
        yield state


async def test_connection_without_a_call_is_closed_and_its_room_is_given_back() -> None:
    async with serving(connection_idle_s=0.2, max_connections=1) as address, channel(address) as made:
        async with asyncio.timeout(PATIENCE_S):
            seen = []
            async for state in idle_states(made):
                seen.append(state)
                if state is grpc.ChannelConnectivity.IDLE:
                    break
            assert grpc.ChannelConnectivity.READY in seen
            async with channel(address) as other:
                await check(other, wait_for_ready=True)


async def test_connection_with_a_call_is_not_idle() -> None:
    async with serving(connection_idle_s=0.2) as address, channel(address) as made, channel(address) as witness:
        watch = health_pb2_grpc.HealthStub(made).Watch(CHECK)
        await watch.read()
        async with asyncio.timeout(PATIENCE_S):
            async for state in idle_states(witness):  # came later, and is closed before
                if state is grpc.ChannelConnectivity.IDLE:
                    break
        assert made.get_state() is grpc.ChannelConnectivity.READY
        watch.cancel()


@pytest.mark.parametrize(("seconds", "milliseconds"), [(300.0, 300_000), (0.0, NO_LIMIT_MS)])
async def test_idle_connection_is_closed_after_the_setting(seconds: float, milliseconds: int) -> None:
    assert load_settings().connection_idle_s == 300.0
    limits = dict(connection_limits(load_settings(connection_idle_s=seconds)))
    assert limits["grpc.max_connection_idle_ms"] == milliseconds


async def test_old_connection_is_asked_to_end_and_its_client_goes_on() -> None:
    async with serving(connection_age_s=0.2, connection_age_grace_s=PATIENCE_S) as address, channel(address) as made:
        states = []
        state = made.get_state(try_to_connect=True)
        async with asyncio.timeout(PATIENCE_S):
            while len(states) < 6:
                await made.wait_for_state_change(state)
                state = made.get_state(try_to_connect=True)
                states.append(state)
        assert states.count(grpc.ChannelConnectivity.READY) >= 2
        await check(made)
