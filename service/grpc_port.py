"""The gRPC port: every service on one grpc.aio server, with inference on the frontend where this grpcio allows it."""

from __future__ import annotations

import asyncio
from typing import Any

from grpc import ServerCredentials, aio
from grpc_health.v1 import health_pb2_grpc

from service import __version__
from service.access_control import AccessControl
from service.fine_tuning import FineTuning
from service.inference import Inference
from service.observability.recorder import Recorder
from service.observability.tracing.trace_settings import TraceSettings
from service.pb import (
    access_pb2,
    access_pb2_grpc,
    fine_tuning_pb2,
    fine_tuning_pb2_grpc,
    models_pb2,
    models_pb2_grpc,
    open_inference_pb2,
    prediction_pb2,
    prediction_pb2_grpc,
)
from service.references.remote_pulls import RemotePulls
from service.registry.registry import Registry
from service.settings import Settings, usable_memory_bytes
from service.startup import bind, keepalive
from service.unix_socket import UnixSocket
from service.wire.calls import CountedServer
from service.wire.connection_limits import connection_limits
from service.wire.frontend.frontend import Frontend
from service.wire.frontend.wiring import make_frontend, make_server
from service.wire.health import Health
from service.wire.open_inference import servicer
from service.wire.open_inference.regions import Regions
from service.wire.reflection import add_reflection
from service.wire.stopping import Stopping
from service.wire.zoo_v1.models import ModelsServicer
from service.wire.zoo_v1.prediction import PredictionServicer

SERVICES = (
    prediction_pb2.DESCRIPTOR.services_by_name["Prediction"].full_name,
    models_pb2.DESCRIPTOR.services_by_name["Models"].full_name,
    fine_tuning_pb2.DESCRIPTOR.services_by_name["FineTuning"].full_name,
    access_pb2.DESCRIPTOR.services_by_name["Access"].full_name,
    open_inference_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"].full_name,
)

LAST_REFUSALS_S = 0.5
"""How long open streams refuse each request before they end."""


class GrpcPort:
    """Constructed on the running event loop, then bound, then started; `stop` and `remove_socket` end it."""

    def __init__(
        self,
        settings: Settings,
        inference: Inference,
        registry: Registry,
        recorder: Recorder,
        access: AccessControl,
        fine_tuning: FineTuning,
        health: Health,
        server_state: servicer.ServerState,
        traces: TraceSettings | None,
        *,
        use_frontend: bool,
    ) -> None:
        """`traces`: what TraceSetting changes; None where the server has no traces. `use_frontend`: whether to try it."""
        self._settings = settings
        self._inference = inference
        self._registry = registry
        self._recorder = recorder
        self._access = access
        self._fine_tuning = fine_tuning
        self._health = health
        self._server_state = server_state
        self._traces = traces
        self._frontend: Frontend | None = None
        self._socket: UnixSocket | None = None
        self._stopping = Stopping()
        self._server = make_server(self._server_with_all_services, use_frontend=use_frontend)
        self.number = 0
        """Of the port; 0 before it is bound, and for a Unix socket."""

    def bind(self, credentials: ServerCredentials | None) -> None:
        """Opens the port. Calls wait until `start`. Raises SettingsError."""
        self.number, self._socket = bind(self._server, self._settings, credentials)

    async def start(self) -> None:
        """Starts to answer."""
        await self._server.start()
        if self._frontend is not None:
            self._frontend.start()

    async def end_streams(self) -> None:
        """Ends the streams of inference with DRAINING; their clients go on at the server's successor. Call it once new requests
        are refused. Waits first where streams are open, so that a client hears it from a refusal: a client on grpc.aio that
        writes while its stream ends does not get the status."""
        if self._stopping.awaited:
            await asyncio.sleep(LAST_REFUSALS_S)
        self._stopping.set()

    async def stop(self, grace_s: float) -> None:
        """Closes the port, and gives open calls some seconds to end."""
        if self._frontend is not None:
            self._frontend.close()
        await self._server.stop(grace_s)
        if self._frontend is not None:
            await asyncio.to_thread(self._frontend.stop)
        self.remove_socket()

    def remove_socket(self) -> None:
        """Removes the file of a Unix socket."""
        if self._socket is not None:
            self._socket.remove()

    def _server_with_all_services(self, use_frontend: bool) -> aio.Server:
        """The server, not started. Raises Unsupported where the frontend cannot be used."""
        limit = self._settings.max_message_mib * 1024 * 1024
        server = aio.server(
            options=[
                ("grpc.max_receive_message_length", limit),
                ("grpc.max_send_message_length", limit),
                # Windows that grow with the bandwidth let unread calls fill the server's memory.
                ("grpc.http2.bdp_probe", 0),
                ("grpc.so_reuseport", 0),  # a second server on the same port must fail
                *keepalive(self._settings),
                *connection_limits(self._settings),
            ],
        )
        guard = self._access.guard
        # Generated code calls two methods of a server.
        counted: Any = CountedServer(server, self._recorder, guard, self._access.audit)
        prediction = PredictionServicer(self._inference, self._recorder, guard, self._stopping)
        prediction_pb2_grpc.add_PredictionServicer_to_server(prediction, counted)
        models_pb2_grpc.add_ModelsServicer_to_server(
            ModelsServicer(self._registry, self._fine_tuning.jobs.owner_of_version, _pulls(self._settings)), counted
        )
        access_pb2_grpc.add_AccessServicer_to_server(self._access.servicer, counted)
        fine_tuning_pb2_grpc.add_FineTuningServicer_to_server(self._fine_tuning.servicer, counted)
        open_inference = servicer.OpenInferenceServicer(
            self._inference,
            self._registry,
            self._recorder,
            self._server_state,
            __version__,
            None if self._settings.shared_memory == "off" else Regions(limit),
            guard,
            self._traces,
            self._stopping,
        )
        servicer.add_to_server(open_inference, counted)
        health_pb2_grpc.add_HealthServicer_to_server(self._health.servicer, counted)
        if self._settings.reflection != "off":
            add_reflection((*SERVICES, "grpc.health.v1.Health"), counted)
        if use_frontend:
            methods = (prediction, open_inference.calls)
            self._frontend = make_frontend(self._settings, server, self._recorder, self._inference, methods, guard)
        return server


def _pulls(settings: Settings) -> RemotePulls:
    return RemotePulls(
        settings.home,
        allowed=settings.allow_pull,
        offline=settings.offline,
        memory=usable_memory_bytes(),
        budget=settings.memory_budget_mib << 20,
    )
