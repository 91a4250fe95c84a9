"""A tenant's calls are sent at their times, and refusals are told from failures."""

from __future__ import annotations

import grpc
import pytest
from grpc import aio

from benchmarks.tenants import Load, Round, send
from service.access.rate_limits import Limits
from service.errors import InvalidInput, RateLimited
from service.wire.frontend.calls import UnaryCall
from tests.support.wire.frontend_methods import UNARY, Methods, served


def test_ratios_are_taken_within_a_round() -> None:
    one = Round(alone_ms=10.0, at_quota_ms=20.0, over_quota_ms=25.0, refused_share=0.9)
    assert (one.ratio, one.ratio_to_alone) == (1.25, 2.5)


@pytest.mark.asyncio
async def test_refused_calls_are_counted_and_failed_ones_are_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.tenants.METHOD", UNARY)
    monkeypatch.setattr("benchmarks.tenants.message_of", lambda model: b"x")
    calls = 0

    def answer(call: UnaryCall) -> None:
        nonlocal calls
        calls += 1
        assert dict(call.core.metadata)["authorization"] == "Bearer t"
        if calls % 2:
            call.reply(b"")
        else:
            call.fail(RateLimited(f"{Limits()}", 1.0))

    async with served(Methods(answer)) as s:
        found = await send(Load(f"127.0.0.1:{s.port.number}", "t", "m", 200.0, 0.2, 3))
        assert found.answered + found.refused == calls > 10
        assert abs(found.answered - found.refused) <= 1

    def fail(call: UnaryCall) -> None:
        call.fail(InvalidInput("x", "wrong"))

    async with served(Methods(fail)) as s:
        with pytest.raises(ExceptionGroup) as caught:
            await send(Load(f"127.0.0.1:{s.port.number}", "t", "m", 200.0, 0.1, 3))
        error = caught.value.exceptions[0]
        assert isinstance(error, aio.AioRpcError)
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
