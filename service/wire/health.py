"""grpc.health.v1: the whole server under the empty name and each model under its own, told to watchers as it changes."""

from __future__ import annotations

import asyncio

from grpc_health.v1 import health_pb2
from grpc_health.v1.health import aio as health_aio  # type: ignore[attr-defined]

from service.registry.states import ModelState

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class Health:
    """Keeps the health service up to date. Changes are told in the order they happened, by one task."""

    def __init__(self, services: tuple[str, ...]) -> None:
        self.servicer = health_aio.HealthServicer()
        self._services = services
        self._changes: asyncio.Queue[tuple[str, bool]] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins to tell. Until told otherwise the server does not serve."""
        for name in ("", *self._services):
            self.set(name, False)
        self._task = asyncio.create_task(self._tell(), name="health")

    def set(self, name: str, serving: bool) -> None:
        """A model's health, or the server's under the empty name, which its gRPC services share."""
        self._changes.put_nowait((name, serving))

    def set_server(self, serving: bool) -> None:
        """The server's health, under the empty name and the names of its gRPC services."""
        for name in ("", *self._services):
            self.set(name, serving)

    def model_changed(self, name: str, state: ModelState) -> None:
        """A model entered a state."""
        self.set(name, state is ModelState.READY)

    async def settle(self) -> None:
        """Waits until everything that happened so far is told."""
        await self._changes.join()

    def stop(self) -> None:
        """Stops telling."""
        if self._task is not None:
            self._task.cancel()

    async def _tell(self) -> None:
        while True:
            name, serving = await self._changes.get()
            await self.servicer.set(name, SERVING if serving else NOT_SERVING)
            self._changes.task_done()
