"""A collector of traces in this process: OTLP over gRPC, without a file and without a queue."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as pb
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as pb_grpc

PATIENCE_S = 60.0


class Receiver(pb_grpc.TraceServiceServicer):
    """Keeps the spans that it got; answers with `code` where that is set."""

    def __init__(self) -> None:
        self.code: grpc.StatusCode | None = None
        self.port = 0
        self.requests: list[Any] = []
        self._changed = threading.Condition()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def Export(self, request: Any, context: Any) -> Any:  # the protocol's name
        if self.code is not None:
            context.abort(self.code, "as the test wants it")
        with self._changed:
            self.requests.append(request)
            self._changed.notify_all()
        return pb.ExportTraceServiceResponse()

    @property
    def spans(self) -> list[Any]:
        return [
            span
            for request in self.requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def wait_for(self, name: str, count: int = 1) -> list[Any]:
        """Waits until so many spans of a name have come; gives them."""
        with self._changed:
            found = lambda: [span for span in self.spans if span.name == name]  # noqa: E731
            assert self._changed.wait_for(lambda: len(found()) >= count, PATIENCE_S), [s.name for s in self.spans]
            return found()


@contextmanager
def otlp_receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    server = grpc.server(ThreadPoolExecutor(2, "receiver"))
    pb_grpc.add_TraceServiceServicer_to_server(receiver, server)
    receiver.port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield receiver
    finally:
        server.stop(None).wait()


def attributes_of(span: Any) -> dict[str, Any]:
    """The attributes of a span as plain values."""
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in span.attributes}
