"""grpc.health.v1: the whole server under the empty name and each model under its own; watchers hear of every change."""

from __future__ import annotations

import asyncio
from typing import Any

from grpc_health.v1 import health_pb2
from grpc_health.v1.health import aio as health_aio  # type: ignore[attr-defined]

from service.registry.states import ModelState

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class _Servicer(health_aio.HealthServicer):  # type: ignore[misc]  # untyped upstream
    """The servicer of grpcio-health-checking, which lacks `List`."""

    def __init__(self) -> None:
        super().__init__()
        self.statuses: dict[str, health_pb2.HealthCheckResponse.ServingStatus] = {}
        """By name; what was published last."""

    async def List(self, request: object, context: Any) -> health_pb2.HealthListResponse:  # noqa: N802
        """The health of all names, as health.proto of gRPC describes it."""
        statuses = {name: health_pb2.HealthCheckResponse(status=status) for name, status in self.statuses.items()}
        return health_pb2.HealthListResponse(statuses=statuses)


class Health:
    """Keeps the health service up to date. One task publishes the changes in the order they happened."""

    def __init__(self, services: tuple[str, ...]) -> None:
        self.servicer = _Servicer()
        self._services = services
        self._changes: asyncio.Queue[tuple[str, bool]] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Starts to publish. The server is NOT_SERVING until `set_server`."""
        for name in ("", *self._services):
            self.set(name, False)
        self._task = asyncio.create_task(self._publish(), name="health")

    def set(self, name: str, serving: bool) -> None:
        """The health of a model or of a gRPC service, or of the server under the empty name."""
        self._changes.put_nowait((name, serving))

    def set_server(self, serving: bool) -> None:
        """The server's health, under the empty name and the names of its gRPC services."""
        for name in ("", *self._services):
            self.set(name, serving)

    def model_changed(self, name: str, state: ModelState) -> None:
        """A model entered a state."""
        self.set(name, state is ModelState.READY)

    async def settle(self) -> None:
        """Waits until all changes so far are published."""
        await self._changes.join()

    def stop(self) -> None:
        """Stops publishing."""
        if self._task is not None:
            self._task.cancel()

    async def _publish(self) -> None:
        while True:
            name, serving = await self._changes.get()
            status = self.servicer.statuses[name] = SERVING if serving else NOT_SERVING
            await self.servicer.set(name, status)
            self._changes.task_done()
