"""Channel arguments of gRPC that bound what one client, or one connection, can take of the server.

What each call may take beyond that is bounded by the frontend (memory of requests), the queues, and the limits of tokens.
"""

from __future__ import annotations

from service.settings import Settings

NO_LIMIT_MS = 2_147_483_647
KIB = 1024


def connection_limits(settings: Settings) -> list[tuple[str, int]]:
    """The arguments, by the names of https://github.com/grpc/grpc/blob/master/include/grpc/impl/channel_arg_names.h."""
    age_ms, idle_ms = int(settings.connection_age_s * 1000), int(settings.connection_idle_s * 1000)
    return [
        ("grpc.max_allowed_incoming_connections", settings.max_connections),
        ("grpc.max_concurrent_streams", settings.max_streams_per_connection),
        # Between the two values gRPC refuses a growing share at random; equal, they are one limit.
        ("grpc.max_metadata_size", settings.max_metadata_kib * KIB),
        ("grpc.absolute_max_metadata_size", settings.max_metadata_kib * KIB),
        ("grpc.max_connection_age_ms", age_ms or NO_LIMIT_MS),
        ("grpc.max_connection_age_grace_ms", int(settings.connection_age_grace_s * 1000)),
        ("grpc.max_connection_idle_ms", idle_ms or NO_LIMIT_MS),
        ("grpc.server_handshake_timeout_ms", int(settings.handshake_timeout_s * 1000)),
    ]
