"""Versions of a model: aliases, traffic, reports and rollbacks."""

from __future__ import annotations

from service.client._async.connection import AsyncConnection
from service.client.message_fields import build, whole_number
from service.client.models import ModelInfo, read_model
from service.client.versions import (
    RolledBack,
    VersionReport,
    Versions,
    read_report,
    read_rolled_back,
    read_versions,
)
from service.pb import models_pb2 as pb

STABLE = "stable"
"""The alias of the version that answers calls without a version."""


class AsyncVersions:
    """Lists and deletes versions, and decides which calls they get."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def list_all(self, model: str, timeout: float | None) -> Versions:
        """The versions of a model, newest first."""
        request = build(pb.ListVersionsRequest, model=model)
        return read_versions(await self._connection.call(self._connection.models.ListVersions, request, timeout))

    async def report(self, model: str, version: str, timeout: float | None) -> VersionReport:
        """The evaluation of a version on held-out data."""
        request = build(pb.GetReportRequest, model=model, version=version)
        return read_report(model, await self._connection.call(self._connection.models.GetReport, request, timeout))

    async def delete(self, model: str, version: int, timeout: float | None) -> int:
        """Deletes a version; returns the freed bytes."""
        request = build(pb.DeleteVersionRequest, model=model, version=whole_number("version", version))
        reply = await self._connection.call(self._connection.models.DeleteVersion, request, timeout)
        return int(reply.freed_bytes)

    async def set_alias(self, model: str, alias: str, version: int, timeout: float | None) -> ModelInfo:
        """Points an alias at a version."""
        request = build(pb.SetAliasRequest, model=model, alias=alias, version=whole_number("version", version))
        reply = await self._connection.call(self._connection.models.SetAlias, request, timeout)
        return read_model(reply.model)

    async def delete_alias(self, model: str, alias: str, timeout: float | None) -> ModelInfo:
        """Removes an alias."""
        request = build(pb.DeleteAliasRequest, model=model, alias=alias)
        reply = await self._connection.call(self._connection.models.DeleteAlias, request, timeout)
        return read_model(reply.model)

    async def rollback(self, model: str, timeout: float | None) -> RolledBack:
        """Points `stable` at the previous stable version."""
        request = build(pb.RollbackModelRequest, model=model)
        return read_rolled_back(await self._connection.call(self._connection.models.RollbackModel, request, timeout))

    async def set_canary(self, model: str, version: int, share: float, timeout: float | None) -> ModelInfo:
        """Gives a version a share of the calls that name no version."""
        canary = whole_number("version", version)
        request = build(pb.SetTrafficRequest, model=model, canary=canary, canary_share=share)
        reply = await self._connection.call(self._connection.models.SetTraffic, request, timeout)
        return read_model(reply.model)
