"""Every error that the SDK raises, and the conversion of a gRPC status into one.

    ZooClientError               code, message, reason, violations, retry_after_s
    ├── InvalidRequest           INVALID_ARGUMENT: a retry of the same request fails again
    │   └── BadInput             found before the request is sent: an unreadable file, an unknown dtype
    ├── NotFound                 no such model or version; the message names similar ones
    ├── Unavailable              UNAVAILABLE after all retries: loading, failed to load, shutting down
    │   ├── ServerUnreachable    no server answers at the address
    │   └── ConnectionBroken     the connection broke during the call
    ├── Overloaded               RESOURCE_EXHAUSTED; `retry_after_s` says when to retry
    ├── TimedOut                 DEADLINE_EXCEEDED
    ├── IllegalMove              FAILED_PRECONDITION
    ├── NotAllowed               UNAUTHENTICATED, PERMISSION_DENIED
    ├── JobFailed                `finetune`: the job ended without a version (in `jobs.py`)
    └── PredictionError          one instance failed and the call succeeded; it takes the place of the result

Codes without a class raise ZooClientError itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import grpc
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status


@dataclass(frozen=True, slots=True)
class Violation:
    """One invalid field: its path in the request, and a description of what was expected and what came."""

    field: str
    description: str


class ZooClientError(Exception):
    """A call failed. `str(error)` is one readable sentence."""

    def __init__(
        self,
        message: str,
        *,
        code: str = "UNKNOWN",
        reason: str = "",
        violations: Sequence[Violation] = (),
        retry_after_s: float | None = None,
        request_id: str = "",
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        """Name of the gRPC status code, for example "NOT_FOUND"."""
        self.reason = reason
        """UPPER_SNAKE_CASE word for programs; empty if the server gave none."""
        self.violations = tuple(violations)
        """The invalid fields."""
        self.retry_after_s = retry_after_s
        """Seconds to wait before a retry; None if the server gave none."""
        self.request_id = request_id
        """The id under which the server's log has the request; empty if the server gave none."""

    @property
    def field(self) -> str:
        """Path of the first invalid field, or empty."""
        return self.violations[0].field if self.violations else ""


class InvalidRequest(ZooClientError):
    """The request is invalid; `violations` names the fields."""


class BadInput(InvalidRequest):
    """An input cannot be sent."""

    def __init__(self, message: str, reason: str = "BAD_INPUT") -> None:
        super().__init__(message, code="INVALID_ARGUMENT", reason=reason)


class NotFound(ZooClientError):
    """No such model, version, dataset or job."""


class Unavailable(ZooClientError):
    """The server or the model could not answer at any attempt."""


class ServerUnreachable(Unavailable):
    """No server answers at the address, or not over what the client speaks: see TLS_REASONS."""


class ConnectionBroken(Unavailable):
    """The connection broke before the answer was there."""


class Overloaded(ZooClientError):
    """The server rejected the call because its queue is full or the message is too large."""


class TimedOut(ZooClientError):
    """The timeout passed before the answer arrived."""


class IllegalMove(ZooClientError):
    """The state of the model or job does not allow the operation."""


class NotAllowed(ZooClientError):
    """The token is missing, invalid, or lacks the permission."""


class PredictionError(ZooClientError):
    """One instance has no answer; other instances of the call may have one. `index` is its index among the inputs."""

    index: int = 0


_BY_CODE: dict[str, type[ZooClientError]] = {
    "INVALID_ARGUMENT": InvalidRequest,
    "NOT_FOUND": NotFound,
    "UNAVAILABLE": Unavailable,
    "RESOURCE_EXHAUSTED": Overloaded,
    "DEADLINE_EXCEEDED": TimedOut,
    "FAILED_PRECONDITION": IllegalMove,
    "UNAUTHENTICATED": NotAllowed,
    "PERMISSION_DENIED": NotAllowed,
}
_CODE_NAMES: dict[int, str] = {code.value[0]: code.name for code in grpc.StatusCode}
TLS_REASONS = ("TLS_REQUIRED", "TLS_NOT_SPOKEN", "TLS_NOT_TRUSTED", "TLS_CLIENT_CERTIFICATE")
"""Reasons of ServerUnreachable where there is a server, and TLS is what keeps both apart."""
# gRPC's messages for a connection that was not made, and for one that broke during a call.
_NOT_CONNECTED = ("failed to connect", "DNS resolution failed", "Name resolution", "errors resolving")
_BROKEN = (
    "Socket closed",
    "Connection reset",
    "Broken pipe",
    "GOAWAY",
    "Endpoint closing",
    "Stream removed",
    "recvmsg",
)
# gRPC's words for a call that the server's core ended while the port closed. What the caller cancels has other words.
_PORT_CLOSED = ("", "CANCELLED")
# The same for a TLS handshake: the server's certificate is not accepted, or the answer is no TLS.
_NOT_TRUSTED = ("CERTIFICATE_VERIFY_FAILED", "Hostname Verification Check failed", "is not in peer certificate")
_NO_TLS = ("WRONG_VERSION_NUMBER", "Wrong version number")
# grpc.aio reports this instead of the real status if the call ends while it writes a message.
_ENDED_WHILE_WRITING = "Internal error from Core"

E = TypeVar("E", bound=ZooClientError)


def prediction_error(status: status_pb2.Status, index: int) -> PredictionError:
    """The error of instance `index` from the google.rpc.Status in its result."""
    error = _from_status(status, PredictionError)
    error.index = index
    return error


def as_prediction_error(error: ZooClientError, index: int) -> PredictionError:
    """`error` as the error of instance `index`."""
    made = PredictionError(
        error.message,
        code=error.code,
        reason=error.reason,
        violations=error.violations,
        retry_after_s=error.retry_after_s,
    )
    made.index = index
    return made


def call_error(error: grpc.RpcError, target: str) -> ZooClientError:
    """The error of a call to `target`, with the details that the server sent."""
    call: Any = error  # errors of both kinds of channel have code(), details() and trailing_metadata()
    code, details = call.code().name, call.details() or ""
    try:
        status = rpc_status.from_call(call)
    except ValueError:  # a proxy changed code or message, so the details belong to another status
        status = None
    if status is not None:
        return _from_status(status, _BY_CODE.get(code, ZooClientError))
    if code == "UNAVAILABLE" and any(text in details for text in _NOT_TRUSTED):
        return ServerUnreachable(
            f"the certificate of {target} cannot be trusted: another CA than the client's signed it, it has expired, or it is "
            "for another name",
            code=code,
            reason="TLS_NOT_TRUSTED",
        )
    if code == "UNAVAILABLE" and any(text in details for text in _NO_TLS):
        return ServerUnreachable(
            f"the server at {target} does not speak TLS, and the client does", code=code, reason="TLS_NOT_SPOKEN"
        )
    if code == "UNAVAILABLE" and details.startswith(_NOT_CONNECTED):
        return ServerUnreachable(f"no server answers at {target}; start one with `zoo serve`", code=code)
    broken = code == "UNAVAILABLE" and any(text in details for text in _BROKEN)
    broken = broken or (code == "CANCELLED" and details in _PORT_CLOSED)
    if broken or (code == "INTERNAL" and details == _ENDED_WHILE_WRITING):
        return ConnectionBroken(f"the connection to {target} broke before the answer was there", code=code)
    if code == "DEADLINE_EXCEEDED":
        return TimedOut(f"{target} gave no answer within the timeout", code=code)
    if code == "UNIMPLEMENTED":
        return ZooClientError(f"the server at {target} does not know this call; is it a Zoo server?", code=code)
    sentence = details or f"the call to {target} ended with {code} and no explanation"
    return _BY_CODE.get(code, ZooClientError)(sentence, code=code)


def _from_status(status: status_pb2.Status, kind: type[E]) -> E:
    reason, request_id, retry_after_s, violations = "", "", None, list[Violation]()
    info, retry, bad = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo(), error_details_pb2.BadRequest()
    request = error_details_pb2.RequestInfo()
    for detail in status.details:
        if detail.Unpack(info):
            reason = info.reason
        elif detail.Unpack(retry):
            retry_after_s = retry.retry_delay.seconds + retry.retry_delay.nanos / 1e9
        elif detail.Unpack(bad):
            violations += [Violation(v.field, v.description) for v in bad.field_violations]
        elif detail.Unpack(request):
            request_id = request.request_id
    code = _CODE_NAMES.get(status.code, "UNKNOWN")
    message = status.message or f"the server answered {code} without an explanation"
    return kind(
        message, code=code, reason=reason, violations=violations, retry_after_s=retry_after_s, request_id=request_id
    )
