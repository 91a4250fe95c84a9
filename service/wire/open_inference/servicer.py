# ruff: noqa: N802, D102 - the protocol names the methods, and protos/open_inference.proto says what they do
"""Servicer of the Open Inference Protocol, `inference.GRPCInferenceService`, as Triton's and KServe's clients call it.

Domain errors leave the unary methods as they are; `calls.py` turns them into statuses. On a stream they become replies.
"""

from __future__ import annotations

from typing import Any, Protocol

import grpc

from service.access.principal import current_principal
from service.errors import NotFound, RegionNotFound
from service.inference import Inference
from service.observability.log import level, logger, set_level
from service.observability.recorder import Recorder
from service.observability.tracing.trace_settings import TraceSettings
from service.pb import open_inference_pb2 as pb
from service.pb import open_inference_pb2_grpc as pb_grpc
from service.registry.model_status import ModelStatus
from service.registry.registry import Registry
from service.registry.states import ModelState
from service.wire.access.guard import Guard
from service.wire.calls import Context, deadline_of, readable
from service.wire.open_inference import log_settings, model_config, trace_settings
from service.wire.open_inference.infer_calls import STREAM_LIMIT, InferCalls
from service.wire.open_inference.raw_contents import ViewsServer, received
from service.wire.open_inference.regions import Regions
from service.wire.open_inference.submitted_tensors import Incoming
from service.wire.stopping import Stopping
from service.wire.streams import Stream

log = logger(__name__)


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
        self,
        inference: Inference,
        registry: Registry,
        recorder: Recorder,
        state: ServerState,
        release: str,
        regions: Regions | None = None,
        guard: Guard | None = None,
        traces: TraceSettings | None = None,
        stopping: Stopping | None = None,
    ) -> None:
        """`regions`: of shared memory; None where the extension is off. `traces`: None where the server has no collector.
        `stopping`: ends the streams."""
        self._traces = traces
        self._regions = regions
        self.calls = InferCalls(inference, recorder, regions, guard, stopping)
        """Answers ModelInfer and ModelStreamInfer; a frontend may take them from here."""
        self._registry = registry
        self._recorder = recorder
        self._state = state
        self._release = release

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
        shared = () if self._regions is None else (model_config.SHARED_MEMORY,)
        extensions = (*model_config.EXTENSIONS, *shared)
        return pb.ServerMetadataResponse(name="zoo", version=self._release, extensions=extensions)

    async def ModelMetadata(self, request: pb.ModelMetadataRequest, context: Context) -> pb.ModelMetadataResponse:
        await self._registry.seek(request.name, request.version)
        return model_config.metadata(self._registry.status(request.name, request.version))

    # ── inference ─────────────────────────────────────────────────────────────────────────────────────────────

    async def ModelInfer(self, request: Incoming, context: Context) -> pb.ModelInferResponse:
        return await self.calls.infer(received(request), deadline_of(context))

    async def ModelStreamInfer(  # type: ignore[override]  # by the context: iterators would cost a task for each message
        self, request_iterator: object, context: Context
    ) -> None:
        deadline = deadline_of(context)

        def begin(request: Incoming, stream: Stream[Incoming, pb.ModelStreamInferResponse]) -> None:
            self.calls.begin_streamed(received(readable(request)), stream, deadline, context)

        await Stream(context, begin, STREAM_LIMIT, self.calls.stopping).run()

    # ── administration ────────────────────────────────────────────────────────────────────────────────────────

    async def ModelConfig(self, request: pb.ModelConfigRequest, context: Context) -> pb.ModelConfigResponse:
        await self._registry.seek(request.name, request.version)
        status = self._registry.status(request.name, request.version)
        return pb.ModelConfigResponse(config=model_config.config(status))

    async def ModelStatistics(self, request: pb.ModelStatisticsRequest, context: Context) -> pb.ModelStatisticsResponse:
        if not request.name:
            return model_config.statistics(self._visible(), self._recorder.statistics.snapshot(), None)
        status = self._registry.status(request.name, request.version)
        version = model_config.asked_version(status, request.version)
        return model_config.statistics([status], self._recorder.statistics.snapshot(request.name, version), version)

    async def RepositoryIndex(self, request: pb.RepositoryIndexRequest, context: Context) -> pb.RepositoryIndexResponse:
        known = ((status, self._registry.versions(status.name)) for status in self._visible())
        return model_config.index(known, request.ready)

    def _visible(self) -> list[ModelStatus]:
        """The models that the caller may use."""
        principal = current_principal.get()
        return [status for status in self._registry.statuses() if principal.may_use(status.name)]

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

    # ── shared memory ─────────────────────────────────────────────────────────────────────────────────────────

    async def SystemSharedMemoryStatus(
        self, request: pb.SystemSharedMemoryStatusRequest, context: Context
    ) -> pb.SystemSharedMemoryStatusResponse:
        regions = await self._shared_memory(context)
        response = pb.SystemSharedMemoryStatusResponse()
        for name, region in regions.status(request.name).items():
            shown = response.regions[name]
            shown.name, shown.key, shown.offset, shown.byte_size = name, region.key, region.offset, region.byte_size
        return response

    async def SystemSharedMemoryRegister(
        self, request: pb.SystemSharedMemoryRegisterRequest, context: Context
    ) -> pb.SystemSharedMemoryRegisterResponse:
        regions = await self._shared_memory(context)
        regions.register(request.name, request.key, request.offset, request.byte_size)
        return pb.SystemSharedMemoryRegisterResponse()

    async def SystemSharedMemoryUnregister(
        self, request: pb.SystemSharedMemoryUnregisterRequest, context: Context
    ) -> pb.SystemSharedMemoryUnregisterResponse:
        (await self._shared_memory(context)).unregister(request.name)
        return pb.SystemSharedMemoryUnregisterResponse()

    async def CudaSharedMemoryStatus(
        self, request: pb.CudaSharedMemoryStatusRequest, context: Context
    ) -> pb.CudaSharedMemoryStatusResponse:
        """No region can be registered. perf_analyzer asks all the same where it uses system shared memory."""
        await self._shared_memory(context)
        if request.name:
            raise RegionNotFound
        return pb.CudaSharedMemoryStatusResponse()

    async def CudaSharedMemoryUnregister(
        self, request: pb.CudaSharedMemoryUnregisterRequest, context: Context
    ) -> pb.CudaSharedMemoryUnregisterResponse:
        """See `CudaSharedMemoryStatus`."""
        await self._shared_memory(context)
        return pb.CudaSharedMemoryUnregisterResponse()

    async def _shared_memory(self, context: Context) -> Regions:
        if self._regions is None:
            await self._unimplemented(None, context)
            raise AssertionError  # `abort` raises
        return self._regions

    # ── logs and traces ───────────────────────────────────────────────────────────────────────────────────────

    async def LogSettings(self, request: pb.LogSettingsRequest, context: Context) -> pb.LogSettingsResponse:
        """An administrator's method: it changes what the server's log shows of everyone."""
        before = level()
        after = log_settings.changed_level(request, before)
        if after != before:
            log.info("the level of the log changes", before=before, after=after)
            set_level(after)
        return log_settings.log_settings(after)

    async def TraceSetting(self, request: pb.TraceSettingRequest, context: Context) -> pb.TraceSettingResponse:
        """An administrator's method: traces of everyone's requests leave the server."""
        model = request.model_name
        if model:
            await self._registry.seek(model)
            self._registry.status(model)
        trace_settings.update_trace_settings(self._traces, request)
        if request.settings:
            log.info("the settings of traces change", model=model, settings=sorted(request.settings))
        return trace_settings.trace_settings(None if self._traces is None else self._traces.policy(model))

    # ── not supported ────────────────────────────────────────────────────────────────────────────────────────

    async def _unimplemented(self, request: object, context: Context) -> Any:
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, "not supported, nor advertised in ServerMetadata.extensions")

    CudaSharedMemoryRegister = _unimplemented
