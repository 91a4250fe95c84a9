# ruff: noqa: N802, D102 - the protocol names the methods, and protos/open_inference.proto says what they do
"""Servicer of the Open Inference Protocol, `inference.GRPCInferenceService`, as Triton's and KServe's clients call it.

Domain errors leave the unary methods as they are; `calls.py` turns them into statuses. On a stream they become replies. A
request of tensors takes the tensor path (`Inference.submit_tensors`) on both kinds of call; `_answer` is for the others.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any, Protocol
from weakref import WeakKeyDictionary

import grpc

from service.engine.loaded_model import LoadedModel
from service.errors import InvalidInput, NotFound, ZooError
from service.inference import Inference, current_call
from service.observability.recorder import Call, Recorder
from service.pb import open_inference_pb2 as pb
from service.pb import open_inference_pb2_grpc as pb_grpc
from service.registry.registry import Registry
from service.registry.states import ModelState
from service.wire.calls import Context, CountedCall, deadline_of, readable
from service.wire.open_inference import model_config
from service.wire.open_inference.model_codec import ModelCodec, TensorCall, tensor_call
from service.wire.open_inference.raw_contents import Received, ViewsServer, received
from service.wire.open_inference.replies import infer_response, stream_error, stream_reply
from service.wire.open_inference.requests import checked_parameters, infer_request, wanted_outputs
from service.wire.open_inference.streamed_tensors import Incoming, Replies, StreamedTensors
from service.wire.streams import Stream

STREAM_LIMIT = 64
"""Requests of one stream that may be unanswered at once; beyond it the stream is not read."""

STREAMED = "ModelStreamInfer"
"""Each request of a stream is counted as a call of this method."""


class ServerState(Protocol):
    """The server's own state."""

    @property
    def live(self) -> bool:
        """Whether the process answers."""

    @property
    def ready(self) -> bool:
        """Whether it takes requests."""


def add_to_server(servicer: OpenInferenceServicer, server: Any) -> None:
    """Adds the servicer so that tensors reach it uncopied."""
    views: Any = ViewsServer(server)  # generated code asks two methods of a server, no more
    pb_grpc.add_GRPCInferenceServiceServicer_to_server(servicer, views)


class OpenInferenceServicer(pb_grpc.GRPCInferenceServiceServicer):
    """Tensors in, tensors out."""

    def __init__(
        self, inference: Inference, registry: Registry, recorder: Recorder, state: ServerState, release: str
    ) -> None:
        self._inference = inference
        self._registry = registry
        self._recorder = recorder
        self._state = state
        self._release = release
        self._codecs: WeakKeyDictionary[LoadedModel, ModelCodec] = WeakKeyDictionary()

    # ── health and metadata ───────────────────────────────────────────────────────────────────────────────────

    async def ServerLive(self, request: pb.ServerLiveRequest, context: Context) -> pb.ServerLiveResponse:
        return pb.ServerLiveResponse(live=self._state.live)

    async def ServerReady(self, request: pb.ServerReadyRequest, context: Context) -> pb.ServerReadyResponse:
        return pb.ServerReadyResponse(ready=self._state.ready)

    async def ModelReady(self, request: pb.ModelReadyRequest, context: Context) -> pb.ModelReadyResponse:
        await self._registry.seek(request.name, request.version)
        try:
            return pb.ModelReadyResponse(
                ready=self._registry.status(request.name, request.version).state is ModelState.READY
            )
        except NotFound:  # as Triton answers: what does not exist is not ready
            return pb.ModelReadyResponse(ready=False)

    async def ServerMetadata(self, request: pb.ServerMetadataRequest, context: Context) -> pb.ServerMetadataResponse:
        return pb.ServerMetadataResponse(name="zoo", version=self._release, extensions=model_config.EXTENSIONS)

    async def ModelMetadata(self, request: pb.ModelMetadataRequest, context: Context) -> pb.ModelMetadataResponse:
        await self._registry.seek(request.name, request.version)
        return model_config.metadata(self._registry.status(request.name, request.version))

    # ── inference ─────────────────────────────────────────────────────────────────────────────────────────────

    async def ModelInfer(self, request: Incoming, context: Context) -> pb.ModelInferResponse:
        incoming, deadline = received(request), deadline_of(context)
        tensors = self._read_tensors(incoming, deadline)
        if tensors is None:
            return await self._answer(incoming, deadline)
        about = current_call.get()
        about.model, about.version, about.request_id = _about(tensors)
        model, items = tensors.model, tensors.items
        return tensors.response(await self._inference.infer_tensors(model, items, tensors.deadline, tensors.priority))

    async def ModelStreamInfer(  # type: ignore[override]  # by the context: iterators would cost a task for each message
        self, request_iterator: object, context: Context
    ) -> None:
        deadline = deadline_of(context)

        def begin(request: Incoming, stream: Replies) -> None:
            incoming = received(readable(request))
            tensors = self._read_tensors(incoming, deadline)
            if tensors is None:
                stream.start(self._stream_answer(incoming, deadline, context))
            else:
                counted = CountedCall(self._recorder, STREAMED, context, Call(*_about(tensors)))
                StreamedTensors(stream, incoming, tensors, counted).submit(self._inference)

        await Stream(context, begin, STREAM_LIMIT).run()

    def _read_tensors(self, incoming: Received, deadline: float | None) -> TensorCall | None:
        """A request of raw tensors for a model that is loaded. None for every other request: `_answer` takes those."""
        request = incoming.message
        model = self._inference.find_ready(request.model_name, request.model_version)
        if model is None:
            return None
        codec = self._codecs.get(model)
        if codec is None:
            codec = self._codecs[model] = ModelCodec(model)
        return codec.read(request, model, incoming.raws, deadline)

    async def _answer(self, incoming: Received, deadline: float | None) -> pb.ModelInferResponse:
        """Waits for a model that is loading, says what is wrong with a request, and takes raw input."""
        request, arrived = incoming.message, time.monotonic()
        # A `timeout` runs while the model loads, too. `infer_request` reports a wrong parameter when the model is known.
        with suppress(InvalidInput):
            deadline, _ = checked_parameters(request.parameters, deadline)
        # An error of the model is reported before a bad tensor, which only the model's card can tell.
        model = await self._inference.resolve(request.model_name, request.model_version, deadline, request.id)
        wanted = wanted_outputs(request, model.card)
        parsed = infer_request(request, model.card, deadline, incoming.raws)
        tensors = tensor_call(model, parsed, wanted)
        if tensors is not None:
            return tensors.response(
                await self._inference.infer_tensors(model, tensors.items, tensors.deadline, tensors.priority, arrived)
            )
        reply = await self._inference.infer(parsed, answers=False, model=model, arrived=arrived)
        return infer_response(request, wanted, model.task.labels, reply)

    async def _stream_answer(
        self, incoming: Received, deadline: float | None, context: Context
    ) -> pb.ModelStreamInferResponse:
        try:
            with CountedCall(self._recorder, STREAMED, context):
                return stream_reply(await self._answer(incoming, deadline))
        except ZooError as error:
            return stream_error(incoming.message, error)

    # ── administration ────────────────────────────────────────────────────────────────────────────────────────

    async def ModelConfig(self, request: pb.ModelConfigRequest, context: Context) -> pb.ModelConfigResponse:
        await self._registry.seek(request.name, request.version)
        status = self._registry.status(request.name, request.version)
        return pb.ModelConfigResponse(config=model_config.config(status))

    async def ModelStatistics(self, request: pb.ModelStatisticsRequest, context: Context) -> pb.ModelStatisticsResponse:
        if not request.name:
            return model_config.statistics(self._registry.statuses(), self._recorder.statistics.snapshot(), None)
        status = self._registry.status(request.name, request.version)
        version = model_config.asked_version(status, request.version)
        return model_config.statistics([status], self._recorder.statistics.snapshot(request.name, version), version)

    async def RepositoryIndex(self, request: pb.RepositoryIndexRequest, context: Context) -> pb.RepositoryIndexResponse:
        known = ((status, self._registry.versions(status.name)) for status in self._registry.statuses())
        return model_config.index(known, request.ready)

    async def RepositoryModelLoad(
        self, request: pb.RepositoryModelLoadRequest, context: Context
    ) -> pb.RepositoryModelLoadResponse:
        name, kserve = model_config.repository_model(request)
        await self._registry.load(name)
        if kserve:
            return pb.RepositoryModelLoadResponse(model_name=name, isLoaded=True)
        return pb.RepositoryModelLoadResponse()

    async def RepositoryModelUnload(
        self, request: pb.RepositoryModelUnloadRequest, context: Context
    ) -> pb.RepositoryModelUnloadResponse:
        name, kserve = model_config.repository_model(request, accepted=("unload_dependents",))
        await self._registry.unload(name)
        if kserve:
            return pb.RepositoryModelUnloadResponse(model_name=name, isUnloaded=True)
        return pb.RepositoryModelUnloadResponse()

    # ── not supported ────────────────────────────────────────────────────────────────────────────────────────

    async def _unimplemented(self, request: object, context: Context) -> Any:
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, "not supported, nor advertised in ServerMetadata.extensions")

    SystemSharedMemoryStatus = SystemSharedMemoryRegister = SystemSharedMemoryUnregister = _unimplemented
    CudaSharedMemoryStatus = CudaSharedMemoryRegister = CudaSharedMemoryUnregister = _unimplemented
    TraceSetting = LogSettings = _unimplemented


def _about(tensors: TensorCall) -> tuple[str, str, str]:
    """Model, version and request id, for `Call`."""
    return tensors.model.name, str(tensors.model.version), tensors.request_id
