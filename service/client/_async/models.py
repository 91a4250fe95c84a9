"""The catalog of models and the health of the server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

from grpc_health.v1 import health_pb2

from service.client._async.connection import AsyncConnection
from service.client.errors import TimedOut, Unavailable
from service.client.message_fields import build
from service.client.models import (
    ModelInfo,
    Option,
    PulledModel,
    ServerStatus,
    UnloadedModel,
    UpdatedModel,
    read_model,
    read_unloaded,
    read_updated,
    state_value,
    update_request,
)
from service.pb import models_pb2 as pb


class AsyncModels:
    """Lists, loads, unloads and configures models."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def list_all(self, family: str, task: str, state: str, timeout: float | None) -> AsyncIterator[ModelInfo]:
        """All models that match, page by page. `timeout` is for each page."""
        token = ""
        while True:
            page, token = await self._page(token, family, task, state, timeout)
            for model in page:
                yield model
            if not token:
                return

    async def get(self, name: str, timeout: float | None) -> ModelInfo:
        """One model with its labels."""
        request = build(pb.GetModelRequest, name=name)
        reply = await self._connection.call(self._connection.models.GetModel, request, timeout)
        return read_model(reply.model)

    async def pull(self, request: pb.PullModelRequest, timeout: float | None) -> PulledModel:
        """Makes a published network a model of the server's home; it is not loaded."""
        reply = await self._connection.call(self._connection.models.PullModel, request, timeout)
        return PulledModel(read_model(reply.model), reply.already_present)

    async def load(self, name: str, timeout: float | None) -> ModelInfo:
        """Loads a model; returns when it is READY."""
        request = build(pb.LoadModelRequest, name=name)
        reply = await self._connection.call(self._connection.models.LoadModel, request, timeout)
        return read_model(reply.model)

    async def unload(self, name: str, timeout: float | None) -> UnloadedModel:
        """Unloads a model after its pending requests."""
        request = build(pb.UnloadModelRequest, name=name)
        return read_unloaded(await self._connection.call(self._connection.models.UnloadModel, request, timeout))

    async def set_options(self, name: str, options: Mapping[str, Option | None], timeout: float | None) -> UpdatedModel:
        """Changes options of a model."""
        request = build(update_request, name, options)
        return read_updated(await self._connection.call(self._connection.models.UpdateModel, request, timeout))

    async def ready(self, timeout: float | None) -> bool:
        """Whether the server may serve. Raises ServerUnreachable at once if no server answers."""
        request = health_pb2.HealthCheckRequest()
        reply = await self._connection.call(self._connection.health.Check, request, timeout)
        return bool(reply.status == health_pb2.HealthCheckResponse.SERVING)

    async def status(self, timeout: float | None) -> ServerStatus:
        """Health and catalog. An unreachable server is a status too, not an error."""
        try:
            ready = await self.ready(timeout)
        except (Unavailable, TimedOut) as error:
            return ServerStatus(live=False, ready=False, problem=error.message, reason=error.reason)
        models, problem = list[ModelInfo](), ""
        try:
            page, token = await self._page("", "", "", "", timeout)
            models += page
            while token:
                page, token = await self._page(token, "", "", "", timeout)
                models += page
        except Unavailable as error:  # the server is stopping and still answers health checks
            problem = error.message
        return ServerStatus(live=True, ready=ready, models=tuple(models), problem=problem)

    async def _page(
        self, token: str, family: str, task: str, state: str, timeout: float | None
    ) -> tuple[list[ModelInfo], str]:
        """One page of models, and the token of the next page or an empty one."""
        request = build(pb.ListModelsRequest, page_token=token, family=family, task=task, state=state_value(state))
        reply = await self._connection.call(self._connection.models.ListModels, request, timeout)
        return [read_model(model) for model in reply.models], reply.next_page_token
