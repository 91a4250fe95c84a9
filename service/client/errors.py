"""Every error that the SDK raises, and how a gRPC status becomes one.

    ZooClientError               code, message, reason, violations, retry_after_s
    ├── InvalidRequest           INVALID_ARGUMENT: sending it again unchanged cannot help
    │   └── BadInput             found out before anything was sent: a file that cannot be read, a dtype unknown
    ├── NotFound                 no such model or version; the message names near ones
    ├── Unavailable              UNAVAILABLE, after all retries: loading, failed to load, shutting down
    │   └── ServerUnreachable    nothing answers at the address
    ├── Overloaded               RESOURCE_EXHAUSTED; `retry_after_s` says when to come back
    ├── TimedOut                 DEADLINE_EXCEEDED
    ├── IllegalMove              FAILED_PRECONDITION
    ├── NotAllowed               UNAUTHENTICATED, PERMISSION_DENIED
    ├── JobFailed                a fine-tune job that was waited for ended without a result
    └── PredictionError          one instance failed while the call succeeded; stands in the results at its place

Codes without a class of their own come as ZooClientError.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import grpc
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

if TYPE_CHECKING:
    from service.client.jobs import Job


@dataclass(frozen=True, slots=True)
class Violation:
    """One field that is wrong: its path in the request, and what was expected and came."""

    field: str
    description: str


class ZooClientError(Exception):
    """A call that gave no answer. `str(error)` is one sentence for people."""

    def __init__(
        self,
        message: str,
        *,
        code: str = "UNKNOWN",
        reason: str = "",
        violations: Sequence[Violation] = (),
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        """Name of the gRPC status code, for example "NOT_FOUND"."""
        self.reason = reason
        """UPPER_SNAKE_CASE word for programs; empty where the server gave none."""
        self.violations = tuple(violations)
        """Fields that are wrong; the messages of their own calls name the same."""
        self.retry_after_s = retry_after_s
        """When to try again, where the server said so."""

    @property
    def field(self) -> str:
        """Path of the first field that is wrong, or empty."""
        return self.violations[0].field if self.violations else ""


class InvalidRequest(ZooClientError):
    """The request is wrong; `violations` says where."""


class BadInput(InvalidRequest):
    """An input that could not even be sent."""

    def __init__(self, message: str, reason: str = "BAD_INPUT") -> None:
        super().__init__(message, code="INVALID_ARGUMENT", reason=reason)


class NotFound(ZooClientError):
    """No such model or version."""


class Unavailable(ZooClientError):
    """The server or the model cannot answer now, and could not at any retry."""


class ServerUnreachable(Unavailable):
    """Nothing answers at the address."""


class Overloaded(ZooClientError):
    """The server refused at once rather than keep the caller waiting, or the message is larger than it takes."""


class TimedOut(ZooClientError):
    """The timeout passed before the answer was there."""


class IllegalMove(ZooClientError):
    """The model's state does not allow what was asked."""


class NotAllowed(ZooClientError):
    """No token, a bad one, or one without the right."""


class JobFailed(ZooClientError):
    """A fine-tune job that was waited for ended without a result. `job` is the job as it is."""

    def __init__(self, job: Job) -> None:
        why = f": {job.state_reason}" if job.state_reason else ""
        super().__init__(f"job {job.id} is {job.state}{why}", code="ABORTED", reason=f"JOB_{job.state}")
        self.job = job


class PredictionError(ZooClientError):
    """One instance has no answer, its neighbours may have. `index` is its place among the inputs."""

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
# gRPC's own words for a connection that never was, and for one that ended under a call.
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
# What grpc.aio puts in the place of the real status where the call ended while a message was being written.
_ENDED_WHILE_WRITING = "Internal error from Core"

E = TypeVar("E", bound=ZooClientError)


def prediction_error(status: status_pb2.Status, index: int) -> PredictionError:
    """The error of instance `index` from the google.rpc.Status that stands in its place."""
    error = _from_status(status, PredictionError)
    error.index = index
    return error


def as_prediction_error(error: ZooClientError, index: int) -> PredictionError:
    """`error` as the fate of instance `index` alone."""
    alone = PredictionError(
        error.message,
        code=error.code,
        reason=error.reason,
        violations=error.violations,
        retry_after_s=error.retry_after_s,
    )
    alone.index = index
    return alone


def call_error(error: grpc.RpcError, target: str) -> ZooClientError:
    """The error of a whole call to `target`, with the details that the server sent along."""
    call: Any = error  # sync and aio errors are calls too: they have code(), details() and trailing_metadata()
    code, details = call.code().name, call.details() or ""
    try:
        status = rpc_status.from_call(call)
    except ValueError:  # a proxy rewrote code or message, so the details no longer belong to them
        status = None
    if status is not None:
        return _from_status(status, _BY_CODE.get(code, ZooClientError))
    if code == "UNAVAILABLE" and details.startswith(_NOT_CONNECTED):
        return ServerUnreachable(f"no server answers at {target}; start one with `zoo serve`", code=code)
    broken = code == "UNAVAILABLE" and any(words in details for words in _BROKEN)
    if broken or (code == "INTERNAL" and details == _ENDED_WHILE_WRITING):
        return Unavailable(f"the connection to {target} broke before the answer was there", code=code)
    if code == "DEADLINE_EXCEEDED":
        return TimedOut(f"{target} gave no answer within the timeout", code=code)
    if code == "UNIMPLEMENTED":
        return ZooClientError(f"the server at {target} does not know this call; is it a Zoo server?", code=code)
    sentence = details or f"the call to {target} ended with {code} and no explanation"
    return _BY_CODE.get(code, ZooClientError)(sentence, code=code)


def _from_status(status: status_pb2.Status, kind: type[E]) -> E:
    reason, retry_after_s, violations = "", None, list[Violation]()
    info, retry, bad = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo(), error_details_pb2.BadRequest()
    for detail in status.details:
        if detail.Unpack(info):
            reason = info.reason
        elif detail.Unpack(retry):
            retry_after_s = retry.retry_delay.seconds + retry.retry_delay.nanos / 1e9
        elif detail.Unpack(bad):
            violations += [Violation(v.field, v.description) for v in bad.field_violations]
    code = _CODE_NAMES.get(status.code, "UNKNOWN")
    message = status.message or f"the server answered {code} without an explanation"
    return kind(message, code=code, reason=reason, violations=violations, retry_after_s=retry_after_s)
