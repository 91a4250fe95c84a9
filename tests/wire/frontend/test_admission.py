"""A call whose token cannot be judged gets an answer all the same."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from structlog.testing import capture_logs

from service.access.principal import Principal
from service.wire.access.guard import Guard
from tests.support.wire.frontend_methods import failure, served

pytestmark = pytest.mark.asyncio


class Broken(Guard):
    def identify_now(self, *_: Any) -> Principal:
        raise RuntimeError("a foreign text with /a/path")


async def test_call_is_answered_where_the_guard_fails() -> None:
    async with served(guard=Broken()) as s:
        with capture_logs() as logs:
            for call in (s.call(b"x"), s.stream().read()):
                error = await failure(call)
                assert error.code() is grpc.StatusCode.INTERNAL
                assert "/a/path" not in (error.details() or "")
        assert [line["event"] for line in logs if line["log_level"] == "error"] == ["unexpected error"] * 2
        await s.until_idle()
