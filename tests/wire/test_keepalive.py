"""Clients ping to keep an idle connection open; the server takes pings as often as stock clients commonly send them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health

from service.settings import Settings, load_settings
from service.startup import keepalive

pytestmark = [pytest.mark.asyncio, pytest.mark.usefixtures("clean_environment")]

PATIENCE_S = 60.0
COMMON_MS = 10_000
"""What documentation of clients suggests, and what gRPC's own examples use."""
FAST_MS = 40
"""Stands for it, so that a test need not wait for a minute."""
PINGING = [
    ("grpc.keepalive_time_ms", FAST_MS),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.use_local_subchannel_pool", 1),
]
PATIENT = {"keepalive_min_ping_interval_without_data_ms": FAST_MS // 2}
"""In the same proportion to the pings as the default to common ones."""


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[health_pb2_grpc.HealthStub]:
    """A health service with the server's keepalive, and a client that pings."""
    server = aio.server(options=keepalive(settings))
    servicer = health.HealthServicer()
    await servicer.set("", health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with aio.insecure_channel(f"127.0.0.1:{port}", options=PINGING) as channel:
        yield health_pb2_grpc.HealthStub(channel)
    await server.stop(None)


async def watch(stub: health_pb2_grpc.HealthStub) -> Any:
    """A stream on which nothing happens any more."""
    call = stub.Watch(health_pb2.HealthCheckRequest(), timeout=PATIENCE_S)
    assert (await call.read()).status == health_pb2.HealthCheckResponse.SERVING
    return call


async def until_sent_away(call: Any) -> None:
    """Returns once a stream was ended for its client's pings."""
    with pytest.raises(grpc.RpcError) as refused:
        await call.read()
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
    assert "ping" in (refused.value.details() or "").lower()


async def test_defaults_take_common_pings_on_idle_streams_and_idle_connections() -> None:
    options = dict(keepalive(load_settings()))
    assert options["grpc.keepalive_permit_without_calls"] == 1
    assert options["grpc.http2.min_ping_interval_without_data_ms"] <= COMMON_MS * 2 // 3, "with room for jitter"
    assert options["grpc.http2.max_ping_strikes"] > 0, "a client that floods is still sent away"


async def test_pings_on_an_idle_stream_are_taken() -> None:
    strict = load_settings(keepalive_min_ping_interval_without_data_ms=3_600_000)
    async with serving(load_settings(**PATIENT)) as patient_stub, serving(strict) as strict_stub:
        stream = await watch(patient_stub)  # the older one, so that it has seen as many pings
        await until_sent_away(await watch(strict_stub))
        assert not stream.done()
        assert (await patient_stub.Check(health_pb2.HealthCheckRequest(), timeout=PATIENCE_S)).status


async def test_client_that_floods_pings_is_disconnected() -> None:
    flooded = load_settings(keepalive_min_ping_interval_without_data_ms=3_600_000, keepalive_max_ping_strikes=1)
    async with serving(flooded) as stub:
        await until_sent_away(await watch(stub))


async def test_settings_for_keepalive_are_named_as_grpc_names_them(clean_environment: pytest.MonkeyPatch) -> None:
    given = {
        "KEEPALIVE_TIME_MS": "30000",
        "KEEPALIVE_TIMEOUT_MS": "5000",
        "KEEPALIVE_PERMIT_WITHOUT_CALLS": "false",
        "KEEPALIVE_MIN_PING_INTERVAL_WITHOUT_DATA_MS": "60000",
        "KEEPALIVE_MAX_PING_STRIKES": "0",
        "KEEPALIVE_MAX_PINGS_WITHOUT_DATA": "3",
    }
    for name, value in given.items():
        clean_environment.setenv(f"ZOO_{name}", value)
    assert keepalive(load_settings()) == [
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 5_000),
        ("grpc.keepalive_permit_without_calls", 0),
        ("grpc.http2.min_ping_interval_without_data_ms", 60_000),
        ("grpc.http2.max_ping_strikes", 0),
        ("grpc.http2.max_pings_without_data", 3),
    ]


async def test_pings_on_a_connection_without_calls_are_taken() -> None:
    refusing = load_settings(keepalive_permit_without_calls=False, **PATIENT)
    async with connected(load_settings(**PATIENT)) as welcome, connected(refusing) as unwelcome:
        # Both are idle, and the first one has pinged for longer when the second one is sent away.
        await asyncio.wait_for(unwelcome.wait_for_state_change(grpc.ChannelConnectivity.READY), PATIENCE_S)
        assert welcome.get_state() is grpc.ChannelConnectivity.READY


@asynccontextmanager
async def connected(settings: Settings) -> AsyncIterator[aio.Channel]:
    """A channel that pings, without a call."""
    server = aio.server(options=keepalive(settings))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with aio.insecure_channel(f"127.0.0.1:{port}", options=PINGING) as channel:
        channel.get_state(try_to_connect=True)
        await asyncio.wait_for(channel.channel_ready(), PATIENCE_S)
        yield channel
    await server.stop(None)
