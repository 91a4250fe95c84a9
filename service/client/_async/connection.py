"""One channel to a server: its stubs, its metadata and its errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc
from grpc_health.v1 import health_pb2_grpc

from service.client.channel import Metadata, Retry, call_metadata, channel_options
from service.client.concurrency import async_channel, run_in_thread
from service.client.errors import ConnectionBroken, ServerUnreachable, ZooClientError, call_error
from service.client.security import Security, speaks_tls
from service.pb import access_pb2_grpc, fine_tuning_pb2_grpc, models_pb2_grpc, prediction_pb2_grpc


class AsyncConnection:
    """Owns the channel of a client. The components of the client share it."""

    def __init__(self, target: str, retry: Retry, owner: str, security: Security) -> None:
        self.target = target
        self.retry = retry
        self.metadata = call_metadata(owner) + security.metadata
        """Of every call and stream: who calls."""
        self._is_plain = security.credentials is None
        self._has_answered = False
        options = [*channel_options(target, retry), *security.options]
        self._channel = async_channel(target, options, security.credentials)
        self.prediction = prediction_pb2_grpc.PredictionStub(self._channel)
        self.models = models_pb2_grpc.ModelsStub(self._channel)
        self.fine_tuning = fine_tuning_pb2_grpc.FineTuningStub(self._channel)
        self.access = access_pb2_grpc.AccessStub(self._channel)
        self.health = health_pb2_grpc.HealthStub(self._channel)

    async def call(
        self, method: Callable[..., Any], request: Any, timeout: float | None, metadata: Metadata = ()
    ) -> Any:
        """The reply of a call with one reply. `request` is a message or, for a client stream, an iterator of messages.

        Raises ZooClientError.
        """
        try:
            reply = await method(request, timeout=timeout, metadata=self.metadata + metadata)
        except grpc.RpcError as error:
            raise await self.failure(error) from None
        self._has_answered = True
        return reply

    async def failure(self, error: grpc.RpcError) -> ZooClientError:
        """The error of a call or stream.

        Where one side speaks TLS as the other does not expect it, the server only closes the connection. So the cause is
        looked for here, if no call has been answered before.
        """
        failure = call_error(error, self.target)
        unexplained = isinstance(failure, ConnectionBroken | ServerUnreachable) and not failure.reason
        if self._has_answered or not unexplained or not await run_in_thread(speaks_tls, self.target):
            return failure
        if self._is_plain:
            problem, reason = (
                f"the server at {self.target} speaks TLS and the client does not; use ZOO_TLS_CA_FILE with its CA, or "
                "ZOO_TLS=true if this machine trusts it",
                "TLS_REQUIRED",
            )
        else:
            problem, reason = (
                f"the server at {self.target} closed the connection after the TLS handshake; it may need a client certificate "
                "(ZOO_TLS_CLIENT_CERT_FILE and ZOO_TLS_CLIENT_KEY_FILE), or another one",
                "TLS_CLIENT_CERTIFICATE",
            )
        return ServerUnreachable(problem, code=failure.code, reason=reason)

    async def close(self) -> None:
        """Ends all calls and closes the channel."""
        await self._channel.close()
