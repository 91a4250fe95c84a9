"""Servicer of `zoo.v1.Models`."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

from google.protobuf.duration_pb2 import Duration
from grpc import aio

from model_zoo.card import TensorSpec
from service.errors import InvalidInput
from service.pb import models_pb2 as pb
from service.pb import models_pb2_grpc
from service.registry.evidence import Evidence
from service.registry.registry import Registry
from service.registry.states import ModelState
from service.registry.status import ModelStatus, RuntimeInfo

Context = aio.ServicerContext[Any, Any]

DEFAULT_PAGE, LARGEST_PAGE = 50, 500
OPTIONS = "options"

_STATES = {
    ModelState.LOADING: pb.MODEL_STATE_LOADING,
    ModelState.READY: pb.MODEL_STATE_READY,
    ModelState.UNLOADING: pb.MODEL_STATE_UNLOADING,
    ModelState.UNAVAILABLE: pb.MODEL_STATE_UNAVAILABLE,
}


class ModelsServicer(models_pb2_grpc.ModelsServicer):
    """Lists, shows, loads and unloads."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    async def ListModels(self, request: pb.ListModelsRequest, context: Context) -> pb.ListModelsResponse:  # noqa: N802
        """See models.proto."""
        if request.page_size < 0:
            raise InvalidInput("page_size", f"expected 0 or more, got {request.page_size}")
        size = min(request.page_size or DEFAULT_PAGE, LARGEST_PAGE)
        after = _read_token(request)
        found = [s for s in self._registry.statuses() if _wanted(s, request) and s.name > after]
        more = _write_token(request, found[size - 1].name) if len(found) > size else ""
        return pb.ListModelsResponse(models=[write_model(s) for s in found[:size]], next_page_token=more)

    async def GetModel(self, request: pb.GetModelRequest, context: Context) -> pb.GetModelResponse:  # noqa: N802
        """See models.proto."""
        status = self._registry.status(_required(request.name))
        model = write_model(status)
        model.labels.extend(status.labels)
        return pb.GetModelResponse(model=model)

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


def _changes(request: pb.UpdateModelRequest) -> dict[str, object]:
    """Option → its new value, or None to take it back to its default."""
    given = {field.name: value for field, value in request.model.options.ListFields()}
    if not request.HasField("update_mask"):
        return given
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
        and request.state in (pb.MODEL_STATE_UNSPECIFIED, _STATES[status.state])
    )


def _filters(request: pb.ListModelsRequest) -> str:
    """A mark of the filters: a token is good for the listing it came from, and no other."""
    text = f"{request.family}\n{request.task}\n{request.state}"
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _write_token(request: pb.ListModelsRequest, last: str) -> str:
    return base64.urlsafe_b64encode(f"{_filters(request)}{last}".encode()).decode()


def _read_token(request: pb.ListModelsRequest) -> str:
    """The name after which the page begins; empty for the first page."""
    if not request.page_token:
        return ""
    try:
        text = base64.b64decode(request.page_token, altchars=b"-_", validate=True).decode()
    except ValueError:
        raise InvalidInput("page_token", "is not one that this server gave out") from None
    if not text.startswith(_filters(request)):
        raise InvalidInput("page_token", "belongs to a listing with other filters")
    return text[8:]


def write_model(status: ModelStatus) -> pb.Model:
    """A model's status as a message, without its labels."""
    card = status.card
    model = pb.Model(
        name=status.name,
        family=card.family,
        task=card.task,
        summary=card.summary,
        state=_STATES[status.state],
        state_reason=status.reason,
        versions=status.versions,
        aliases=dict(status.aliases),
        raw_input=card.raw_input,
        inputs=[_write_tensor(spec) for spec in card.signature.inputs],
        outputs=[_write_tensor(spec) for spec in card.signature.outputs],
        origin=pb.Origin(
            licence=card.licence.weights,
            provenance=card.provenance,
            paper=card.paper,
            weights_sha256=card.source.files["weights"].sha256,
        ),
        parameter_count=card.parameters,
        max_batch_size=status.max_batch_size,
        options=pb.ModelOptions(**status.options.model_dump(exclude_none=True)),
    )
    if status.runtime is not None:
        model.runtime.CopyFrom(_write_runtime(status.runtime))
    return model


def _write_runtime(info: RuntimeInfo) -> pb.Runtime:
    return pb.Runtime(
        device=info.device,
        precision=info.precision,
        memory_bytes=info.memory_bytes,
        load_duration=_duration(info.load_s),
        weights_bytes=info.weights_bytes,
        growth_bytes=info.growth_bytes,
        evidence=_write_evidence(info.evidence) if info.evidence is not None else None,
    )


def _write_evidence(evidence: Evidence) -> pb.Evidence:
    return pb.Evidence(
        tier=evidence.tier,
        precision=evidence.precision,
        candidate=evidence.candidate,
        speedup=evidence.speedup,
        rows_per_second=evidence.rows_per_s,
        rows_per_second_before=evidence.rows_per_s_before,
        single_speedup=evidence.single_speedup,
        max_error=evidence.max_error,
        cosine=evidence.cosine,
        top1_agreement=evidence.top1_agreement,
        compile_duration=_duration(evidence.compile_s),
        cached=evidence.cached,
        reason=evidence.reason,
    )


def _duration(seconds: float) -> Duration:
    made = Duration()
    made.FromNanoseconds(int(seconds * 1e9))
    return made


def _write_tensor(spec: TensorSpec) -> pb.TensorSignature:
    return pb.TensorSignature(name=spec.name, datatype=spec.datatype, shape=spec.shape)
