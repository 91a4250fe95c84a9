"""The open loop counts every wait, and every call that failed."""

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from benchmarks.load import client
from benchmarks.load.calls import Call

FAILS_EVERY = 4


@asynccontextmanager
async def connected(protocol: str, target: str) -> AsyncIterator[Call]:
    """A server that refuses every fourth call and answers the others at once."""
    calls = 0

    async def call(message: bytes, timeout: float | None) -> str:  # noqa: ASYNC109
        nonlocal calls
        await asyncio.sleep(0)
        if timeout is None:  # the calls that open the connections
            return ""
        calls += 1
        return "UNAVAILABLE" if calls % FAILS_EVERY == 0 else ""

    yield call


@pytest.fixture(autouse=True)
def server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "connect", connected)


@pytest.mark.asyncio
async def test_failed_call_without_a_deadline_has_an_infinite_latency() -> None:
    figures = await client.open_loop("grpc", "", [b""], 400.0, 0.2, 1)

    assert figures["errors"] == {"UNAVAILABLE": figures["offered"] // FAILS_EVERY}
    assert math.isfinite(figures["p50_ms"])
    assert figures["p99_ms"] == math.inf  # a quarter failed
    assert "p999_ms" not in figures  # fewer than a thousand calls


@pytest.mark.asyncio
async def test_latencies_with_a_deadline_are_those_of_the_answers() -> None:
    figures = await client.open_loop("grpc", "", [b""], 400.0, 0.2, 1, deadline_ms=10_000.0)

    assert math.isfinite(figures["p99_ms"])
    assert figures["good_share"] == 1.0 - (figures["offered"] // FAILS_EVERY) / figures["offered"]


def test_quantiles_are_nearest_ranks_and_p999_needs_a_thousand() -> None:
    found = client._quantiles([n / 1000.0 for n in range(1, 1001)])
    assert found == {"p50_ms": 500.0, "p99_ms": 990.0, "p999_ms": 999.0}
    assert client._quantiles([0.002, 0.001]) == {"p50_ms": 1.0, "p99_ms": 2.0}
