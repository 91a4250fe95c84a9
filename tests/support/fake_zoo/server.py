"""A small zoo.v1 server in this process: real gRPC on a free port, invented answers."""

from __future__ import annotations

from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from service.pb import fine_tuning_pb2_grpc, models_pb2, models_pb2_grpc, prediction_pb2_grpc
from tests.support.fake_zoo.calls import FakeCalls, status_of
from tests.support.fake_zoo.fine_tuning import FakeFineTuning
from tests.support.fake_zoo.models import FakeModels
from tests.support.fake_zoo.prediction import FakePrediction


class Authorizations(grpc.ServerInterceptor):  # type: ignore[type-arg]
    """Notes what each method was called with in its metadata `authorization`."""

    def __init__(self) -> None:
        self.by_method: dict[str, set[str | None]] = defaultdict(set)

    def intercept_service(self, continuation: Any, details: Any) -> Any:
        self.by_method[details.method.rpartition("/")[2]].add(dict(details.invocation_metadata).get("authorization"))
        return continuation(details)


class FakeZoo:
    """Three services on one port. Each answers as the real one does, records its calls, and fails when a test asks for it."""

    def __init__(self, credentials: grpc.ServerCredentials | None = None) -> None:
        """With `credentials` it speaks TLS."""
        self.call_control = FakeCalls()
        self.model_service = FakeModels(self.call_control)
        self.prediction = FakePrediction(self.call_control, self.model_service)
        self.fine_tuning = FakeFineTuning(self.call_control, self.model_service)
        self.health = health.HealthServicer()
        self.set_ready(True)
        self.authorizations = Authorizations()
        self._server = grpc.server(
            ThreadPoolExecutor(8),
            options=[("grpc.max_receive_message_length", -1)],
            interceptors=[self.authorizations],
        )
        prediction_pb2_grpc.add_PredictionServicer_to_server(self.prediction, self._server)
        models_pb2_grpc.add_ModelsServicer_to_server(self.model_service, self._server)
        fine_tuning_pb2_grpc.add_FineTuningServicer_to_server(self.fine_tuning, self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self.health, self._server)
        address = "127.0.0.1:0"
        port = (
            self._server.add_insecure_port(address)
            if credentials is None
            else self._server.add_secure_port(address, credentials)
        )
        self.target = f"127.0.0.1:{port}"

    @property
    def calls(self) -> dict[str, list[Any]]:
        """Requests by method, attempts that failed included."""
        return self.call_control.by_method

    @property
    def models(self) -> dict[str, models_pb2.Model]:
        return self.model_service.by_name

    def start(self) -> None:
        self._server.start()

    def stop(self) -> None:
        self.call_control.gate.set()
        self.fine_tuning.watch_gate.set()
        self._server.stop(None).wait()

    def set_ready(self, ready: bool) -> None:
        serving = health_pb2.HealthCheckResponse
        self.health.set("", serving.SERVING if ready else serving.NOT_SERVING)

    def fail_next(self, method: str, code: str, message: str, times: int = 1, **details: Any) -> None:
        """The next calls of `method` end with this status and its details."""
        self.call_control.to_fail[method] += [status_of(code, message, **details)] * times
