"""A server on a free port whose inference methods are served by the frontend or by grpc.aio."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import grpc
from grpc import aio

from service.wire.frontend.frontend import Frontend
from service.wire.frontend.wiring import InferenceMethods

LIMIT_BYTES = 64 * 1024 * 1024

chosen: ContextVar[str] = ContextVar("chosen", default="auto")
"""`auto` or `aio`; the fixture `each_frontend` sets it."""


@dataclass
class Port:
    """Where the server listens."""

    number: int
    frontend: Frontend | None
    server: aio.Server

    def channel(self, *options: tuple[str, Any]) -> aio.Channel:
        """A new connection."""
        return aio.insecure_channel(f"127.0.0.1:{self.number}", options=options)


@asynccontextmanager
async def served_port(
    server: aio.Server,
    *methods: InferenceMethods,
    limit_bytes: int = LIMIT_BYTES,
    credentials: grpc.ServerCredentials | None = None,
    **hooks: Any,
) -> AsyncIterator[Port]:
    """Starts a server to which all servicers were added; stops it at the end. With `credentials` it speaks TLS. `hooks`: see
    Frontend."""
    frontend = None
    if chosen.get() == "auto":
        frontend = Frontend(server, asyncio.get_running_loop(), limit_bytes, **hooks)
        for each in methods:
            each.add_to_frontend(frontend)
    address = "127.0.0.1:0"
    number = server.add_secure_port(address, credentials) if credentials else server.add_insecure_port(address)
    await server.start()
    if frontend is not None:
        frontend.start()
    try:
        yield Port(number, frontend, server)
    finally:
        if frontend is not None:
            frontend.close()
        await server.stop(None)
        if frontend is not None:
            await asyncio.to_thread(frontend.stop)
            assert not frontend.running, "the frontend did not end"
