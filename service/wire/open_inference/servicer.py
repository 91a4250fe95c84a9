# ruff: noqa: N802, D102 - the protocol names the methods, and protos/open_inference.proto says what they do
"""Servicer of the Open Inference Protocol, `inference.GRPCInferenceService`, as Triton's and KServe's clients call it.

Domain errors leave the unary methods as they are; `calls.py` turns them into statuses. On a stream they become
replies.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any, Protocol
from weakref import WeakKeyDictionary

import grpc

from service.engine.served_head import Served
from service.errors import InvalidInput, NotFound, ZooError
from service.inference import Inference, TensorRequest, current_call
from service.observability.recorder import Call, Recorder
from service.pb import open_inference_pb2 as pb
from service.pb import open_inference_pb2_grpc as pb_grpc
from service.registry.registry import Registry
from service.registry.states import ModelState
from service.wire.calls import Context, counted, deadline_of, readable, to_zoo_error
from service.wire.open_inference import model_config
from service.wire.open_inference.convert import checked_parameters, infer_request, wanted_outputs
from service.wire.open_inference.raw_contents import Received, ViewsServer, received
from service.wire.open_inference.replies import infer_response, stream_error, stream_reply
from service.wire.open_inference.tensor_codec import (
    Quick,
    QuickModel,
    quick_reply,
    quick_response,
)
from service.wire.status import code_of
from service.wire.streams import Stream

STREAM_LIMIT = 64
"""Requests of one stream that may be unanswered at once; beyond it the stream is not read on."""


Incoming = pb.ModelInferRequest | Received
"""A request is `Received` behind `add_to_server`, and the message itself where somebody else parsed it."""


Replies = Stream[Incoming, pb.ModelStreamInferResponse]


class ServerState(Protocol):
    """What the server says of itself."""

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
        self._quick_models: WeakKeyDictionary[Served, QuickModel] = WeakKeyDictionary()

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
        quick = self._look(incoming, deadline)
        if quick is None:
            return await self._answer(incoming, deadline)
        call = current_call.get()
        call.model, call.version, call.request_id = quick.served.name, str(quick.served.version), incoming.message.id
        rows = await self._inference.quickly(quick.served, quick.items, quick.deadline, quick.priority)
        return quick_response(incoming.message.id, quick.served, quick.wanted, rows)

    async def ModelStreamInfer(  # type: ignore[override]  # by the context, not by iterators: they cost a task more a message
        self, request_iterator: object, context: Context
    ) -> None:
        deadline = deadline_of(context)

        def begin(request: Incoming, stream: Replies) -> None:
            self._begin(received(readable(request)), deadline, context, stream)

        stream: Replies = Stream(context, begin, STREAM_LIMIT)
        try:
            await stream.run()
        finally:
            self._count_left(stream, context)

    def _look(self, incoming: Received, deadline: float | None) -> Quick | None:
        """A request that brings the tensors of a model that answers now, if nothing about it is unusual."""
        request = incoming.message
        served = self._inference.ready(request.model_name, request.model_version)
        if served is None:
            return None
        model = self._quick_models.get(served)
        if model is None:
            model = self._quick_models[served] = QuickModel(served)
        return model.read(request, served, incoming.raws, deadline)

    def _begin(self, incoming: Received, deadline: float | None, context: Context, stream: Replies) -> None:
        """One request of a stream, answered or failed; counted as a call of its own."""
        quick = self._look(incoming, deadline)
        if quick is None:
            stream.start(self._stream_answer(incoming, deadline, context))
            return
        request_id = incoming.message.id
        about = Call(quick.served.name, str(quick.served.version), request_id)

        def answered(call: TensorRequest) -> None:
            error: ZooError | None = None
            try:  # what it raised would leave others of the batch without their answers
                assert call.outcome is not None
                if isinstance(call.outcome, ZooError):
                    raise call.outcome
                reply = quick_reply(request_id, quick.served, quick.wanted, call.outcome)
            except Exception as raised:
                error = to_zoo_error(raised, "ModelStreamInfer", about)
                reply = stream_error(incoming.message, error)
            self._count(about, error, call.seconds)
            stream.reply(reply, call)

        try:
            call = self._inference.begin(quick.served, quick.items, quick.deadline, quick.priority, answered)
        except ZooError as error:
            self._count(about, error, 0.0)
            stream.reply(stream_error(incoming.message, error))
        else:
            stream.under_way.add(call)

    def _count(self, about: Call, error: ZooError | None, seconds: float) -> None:
        code = "OK" if error is None else code_of(error).name
        self._recorder.call_finished(about, "ModelStreamInfer", code, seconds)

    def _count_left(self, stream: Replies, context: Context) -> None:
        """Quick requests that a stream took along when it ended; the others counted themselves."""
        remaining = context.time_remaining()
        code = "CANCELLED" if remaining is None or remaining > 0 else "DEADLINE_EXCEEDED"  # as `counted` has it
        for call in stream.under_way:
            if isinstance(call, TensorRequest):
                about = Call(call.served.name, str(call.served.version))
                self._recorder.call_finished(about, "ModelStreamInfer", code, call.seconds)

    async def _answer(self, incoming: Received, deadline: float | None) -> pb.ModelInferResponse:
        request, came = incoming.message, time.monotonic()
        # A `timeout` runs while the model loads, too. What is wrong with it `infer_request` tells, once there is a model.
        with suppress(InvalidInput):
            deadline, _ = checked_parameters(request.parameters, deadline)
        # A model that cannot answer is told before a bad tensor, which only its card knows.
        served = await self._inference.resolve(request.model_name, request.model_version, deadline, request.id)
        wanted = wanted_outputs(request, served.card)
        taken_apart = infer_request(request, served.card, deadline, incoming.raws)
        reply = await self._inference.infer(taken_apart, answers=False, served=served, came=came)
        return infer_response(request, wanted, served.task.labels, reply)

    async def _stream_answer(
        self, incoming: Received, deadline: float | None, context: Context
    ) -> pb.ModelStreamInferResponse:
        try:
            with counted(self._recorder, "ModelStreamInfer", context):
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

    # ── what Zoo does not do ──────────────────────────────────────────────────────────────────────────────────

    async def _unimplemented(self, request: object, context: Context) -> Any:
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, "not supported, nor advertised in ServerMetadata.extensions")

    SystemSharedMemoryStatus = SystemSharedMemoryRegister = SystemSharedMemoryUnregister = _unimplemented
    CudaSharedMemoryStatus = CudaSharedMemoryRegister = CudaSharedMemoryUnregister = _unimplemented
    TraceSetting = LogSettings = _unimplemented
