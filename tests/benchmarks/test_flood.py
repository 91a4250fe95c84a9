"""A flood begins every call once, counts each by its status, and measures the server's memory."""

import os

import pytest

from benchmarks.flood import flood
from service.errors import ServerBusy
from service.wire.frontend.calls import UnaryCall
from tests.support.wire.frontend_methods import UNARY, Methods, served

pytestmark = pytest.mark.asyncio


async def test_calls_are_counted_by_status() -> None:
    seen = list[bytes]()

    def every_other(call: UnaryCall) -> None:
        seen.append(call.message)
        if len(seen) % 2:
            call.reply(b"")
        else:
            call.fail(ServerBusy(0.01))  # a client that retried would call again

    async with served(Methods(every_other)) as s:
        done = await flood(f"127.0.0.1:{s.port.number}", os.getpid(), b"x" * 1000, 100, 10, 3, (), UNARY)
    assert seen == [b"x" * 1000] * 100
    assert done.statuses == {"OK": 50, "RESOURCE_EXHAUSTED": 50}
    assert done.peak_mib >= done.idle_mib > 0
