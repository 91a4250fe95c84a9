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
from service.registry.registry import ModelStatus, Registry
from service.registry.states import ModelState

Context = aio.ServicerContext[Any, Any]

DEFAULT_PAGE, LARGEST_PAGE = 50, 500

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
        return pb.UnloadModelResponse(model=write_model(await self._registry.unload(_required(request.name))))


def _required(name: str) -> str:
    if not name:
        raise InvalidInput("name", "is required")
    return name


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
    )
    if status.runtime is not None:
        info = status.runtime
        load = Duration()
        load.FromNanoseconds(int(info.load_s * 1e9))
        model.runtime.CopyFrom(
            pb.Runtime(device=info.device, precision=info.precision, memory_bytes=info.memory_bytes, load_duration=load)
        )
    return model


def _write_tensor(spec: TensorSpec) -> pb.TensorSignature:
    return pb.TensorSignature(name=spec.name, datatype=spec.datatype, shape=spec.shape)
