"""The version methods of `zoo.v1.Models`."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable

from service.access.principal import current_principal
from service.access.scopes import Scope
from service.errors import InvalidInput, PermissionDenied
from service.pb import models_pb2 as pb
from service.pb import models_pb2_grpc
from service.registry.registry import Registry
from service.wire.calls import Context
from service.wire.times import struct
from service.wire.zoo_v1.models_convert import write_model, write_traffic, write_version

OwnerOfVersion = Callable[[str, int], Awaitable[str | None]]
"""Model and number of a version → the owner of the job that made it; None where no job is known."""

_ALIAS = re.compile(r"[a-z][a-z0-9_-]{0,62}")


class VersionCalls(models_pb2_grpc.ModelsServicer):
    """Lists versions and their reports, and moves aliases and traffic between them."""

    _registry: Registry
    _owner_of_version: OwnerOfVersion | None

    async def ListVersions(self, request: pb.ListVersionsRequest, context: Context) -> pb.ListVersionsResponse:  # noqa: N802
        """See models.proto."""
        model = _model(request.model)
        known = sorted(await self._registry.survey(model), key=lambda version: -version.number)
        traffic = None  # all of its versions are damaged
        if model not in self._registry.damaged_models():
            traffic = write_traffic(self._registry.status(model).traffic)
        return pb.ListVersionsResponse(versions=[write_version(version) for version in known], traffic=traffic)

    async def GetReport(self, request: pb.GetReportRequest, context: Context) -> pb.GetReportResponse:  # noqa: N802
        """See models.proto."""
        found = await self._registry.report(_model(request.model), request.version)
        await self._check_may_read(request.model, found.version)
        return pb.GetReportResponse(report=struct(found.report), html=found.html, version=found.version)

    async def _check_may_read(self, model: str, number: int) -> None:
        """A report shows held-out examples, so it is for the principal whose data they are, and for those who run models. Raises
        PermissionDenied."""
        principal = current_principal.get()
        if principal.owns("") or Scope.MODELS in principal.scopes or self._owner_of_version is None:
            return
        owner = await self._owner_of_version(model, number)
        if owner is not None and principal.owns(owner):
            return
        raise PermissionDenied("the report shows data of another principal; it needs a token with the scope 'models'")

    async def DeleteVersion(  # noqa: N802
        self, request: pb.DeleteVersionRequest, context: Context
    ) -> pb.DeleteVersionResponse:
        """See models.proto."""
        freed = await self._registry.delete_version(_model(request.model), _number(request.version))
        return pb.DeleteVersionResponse(freed_bytes=freed)

    async def SetAlias(self, request: pb.SetAliasRequest, context: Context) -> pb.SetAliasResponse:  # noqa: N802
        """See models.proto."""
        model, alias, number = _model(request.model), _alias(request.alias), _number(request.version)
        return pb.SetAliasResponse(model=write_model(await self._registry.set_alias(model, alias, number)))

    async def DeleteAlias(self, request: pb.DeleteAliasRequest, context: Context) -> pb.DeleteAliasResponse:  # noqa: N802
        """See models.proto."""
        status = await self._registry.delete_alias(_model(request.model), _alias(request.alias))
        return pb.DeleteAliasResponse(model=write_model(status))

    async def RollbackModel(  # noqa: N802
        self, request: pb.RollbackModelRequest, context: Context
    ) -> pb.RollbackModelResponse:
        """See models.proto."""
        status, rolled_back = await self._registry.rollback(_model(request.model))
        return pb.RollbackModelResponse(model=write_model(status), rolled_back=rolled_back)

    async def SetTraffic(self, request: pb.SetTrafficRequest, context: Context) -> pb.SetTrafficResponse:  # noqa: N802
        """See models.proto."""
        model, share = _model(request.model), request.canary_share
        if not 0.0 <= share <= 1.0:  # also refuses NaN
            raise InvalidInput("canary_share", f"expected a number from 0 to 1, got {share:g}")
        canary = _number(request.canary, "canary") if share > 0 else request.canary
        return pb.SetTrafficResponse(model=write_model(await self._registry.set_traffic(model, canary, share)))


def _model(name: str) -> str:
    if not name:
        raise InvalidInput("model", "is required")
    return name


def _number(version: int, field: str = "version") -> int:
    if version < 1:
        raise InvalidInput(field, f"expected the number of a version, 1 or more, got {version}")
    return version


def _alias(name: str) -> str:
    if not name:
        raise InvalidInput("alias", "is required")
    if not _ALIAS.fullmatch(name):
        problem = "expected lower-case letters, digits, '-' and '_', a letter first, at most 63 characters"
        raise InvalidInput("alias", f"{problem}, got {name[:80]!r}")
    return name
