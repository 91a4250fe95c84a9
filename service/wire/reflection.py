"""Server reflection, so that grpcurl and the like can describe the services (https://grpc.io/docs/guides/reflection/)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc


def add_reflection(services: Iterable[str], server: Any) -> None:
    """Adds it to a server as generated code sees one; grpc_reflection's own function takes servers of gRPC's classes alone."""
    made: Any = reflection  # the stubs leave its asynchronous servicer out
    servicer = made.aio.ReflectionServicer((*services, reflection.SERVICE_NAME))
    reflection_pb2_grpc.add_ServerReflectionServicer_to_server(servicer, server)
