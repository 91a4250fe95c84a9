"""Servicer of `zoo.v1.Models`."""

from __future__ import annotations

from service.access.principal import current_principal
from service.errors import InvalidInput, PermissionDenied
from service.pb import models_pb2 as pb
from service.references.remote_pulls import PullRequest, RemotePulls
from service.registry.model_status import ModelStatus
from service.registry.registry import Registry
from service.wire.calls import Context
from service.wire.zoo_v1.models_convert import (
    STATES,
    write_damaged_model,
    write_inputs,
    write_model,
)
from service.wire.zoo_v1.pages import page_size, read_token, write_token
from service.wire.zoo_v1.versions import OwnerOfVersion, VersionCalls

OPTIONS = "options"
MOST_PATHS = 100
"""Of an update mask; there are fewer options."""
_STATES_OF_DAMAGED = (pb.MODEL_STATE_UNSPECIFIED, pb.MODEL_STATE_UNAVAILABLE)


class ModelsServicer(VersionCalls):
    """Lists, shows, loads, unloads and configures models."""

    def __init__(
        self,
        registry: Registry,
        owner_of_version: OwnerOfVersion | None = None,
        pulls: RemotePulls | None = None,
    ) -> None:
        """`owner_of_version`: tells whose data a report shows; None where there are no jobs. `pulls`: None for a server without
        a home."""
        self._registry = registry
        self._pulls = pulls
        self._owner_of_version = owner_of_version

    async def ListModels(self, request: pb.ListModelsRequest, context: Context) -> pb.ListModelsResponse:  # noqa: N802
        """See models.proto."""
        size = page_size(request.page_size)
        filters = (request.family, request.task, request.state)
        after = read_token(request.page_token, *filters)
        found: dict[str, ModelStatus | str] = {s.name: s for s in self._registry.statuses() if _wanted(s, request)}
        if not request.family and not request.task and request.state in _STATES_OF_DAMAGED:
            found |= self._registry.damaged_models()
        may_use = current_principal.get().may_use
        names = sorted(name for name in found if name > after and may_use(name))
        more = write_token(names[size - 1], *filters) if len(names) > size else ""
        page = [(name, found[name]) for name in names[:size]]
        models = [write_damaged_model(name, s) if isinstance(s, str) else write_model(s) for name, s in page]
        return pb.ListModelsResponse(models=models, next_page_token=more)

    async def GetModel(self, request: pb.GetModelRequest, context: Context) -> pb.GetModelResponse:  # noqa: N802
        """See models.proto."""
        await self._registry.seek(_required(request.name))
        if (why := self._registry.damaged_models().get(request.name)) is not None:
            return pb.GetModelResponse(model=write_damaged_model(request.name, why))
        status = self._registry.status(request.name)
        model = write_model(status)
        model.labels.extend(status.labels)
        write_inputs(model, status.card)
        return pb.GetModelResponse(model=model)

    async def PullModel(self, request: pb.PullModelRequest, context: Context) -> pb.PullModelResponse:  # noqa: N802
        """See models.proto."""
        if self._pulls is None:
            raise PermissionDenied("this server pulls no models for its callers")
        wanted = PullRequest(
            request.reference, request.name, request.task, tuple(request.labels), dict(request.settings)
        )
        _check_may_name(wanted)
        pulled = await self._pulls.pull(wanted)
        await self._registry.seek(pulled.name)
        status = self._registry.status(pulled.name)
        return pb.PullModelResponse(model=write_model(status), already_present=pulled.already)

    async def LoadModel(self, request: pb.LoadModelRequest, context: Context) -> pb.LoadModelResponse:  # noqa: N802
        """See models.proto."""
        return pb.LoadModelResponse(model=write_model(await self._registry.load(_required(request.name))))

    async def UnloadModel(self, request: pb.UnloadModelRequest, context: Context) -> pb.UnloadModelResponse:  # noqa: N802
        """See models.proto."""
        done = await self._registry.unload(_required(request.name))
        return pb.UnloadModelResponse(
            model=write_model(done.status), held_bytes=done.held_bytes, freed_bytes=done.freed_bytes
        )

    async def UpdateModel(self, request: pb.UpdateModelRequest, context: Context) -> pb.UpdateModelResponse:  # noqa: N802
        """See models.proto."""
        name = _required(request.model.name, "model.name")
        status, later = self._registry.set_options(name, _changes(request))
        return pb.UpdateModelResponse(model=write_model(status), at_next_load=[f"{OPTIONS}.{o}" for o in later])


def _required(name: str, field: str = "name") -> str:
    if not name:
        raise InvalidInput(field, "is required")
    return name


def _check_may_name(wanted: PullRequest) -> None:
    """A caller who may use some models only has to name the model, so that the name can be checked. Raises InvalidInput."""
    if not wanted.name and current_principal.get().matcher is not None:
        raise InvalidInput("name", "is required with a token for some models only")


def _changes(request: pb.UpdateModelRequest) -> dict[str, object]:
    """Option → its new value, or None for its default."""
    given = {field.name: value for field, value in request.model.options.ListFields()}
    if not request.HasField("update_mask"):
        return given
    if len(request.update_mask.paths) > MOST_PATHS:
        problem = f"expected at most {MOST_PATHS} paths, got {len(request.update_mask.paths)}"
        raise InvalidInput("update_mask.paths", problem)
    changes: dict[str, object] = {}
    for i, path in enumerate(request.update_mask.paths):
        parent, _, option = path.partition(".")
        if path in (OPTIONS, "*"):
            changes |= {name: given.get(name) for name in pb.ModelOptions.DESCRIPTOR.fields_by_name}
        elif parent == OPTIONS and option:
            changes[option] = given.get(option)
        else:
            problem = f"expected the path of an option, such as 'options.weight', got {path[:64]!r}"
            raise InvalidInput(f"update_mask.paths[{i}]", problem)
    return changes


def _wanted(status: ModelStatus, request: pb.ListModelsRequest) -> bool:
    return (
        request.family in ("", status.card.family)
        and request.task in ("", status.card.task)
        and request.state in (pb.MODEL_STATE_UNSPECIFIED, STATES[status.state])
    )
