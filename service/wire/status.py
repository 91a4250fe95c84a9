"""The status table: the gRPC status and the google.rpc details of each error of `service/errors.py`.

    InvalidInput      INVALID_ARGUMENT     BadRequest with the field's path
    NotFound          NOT_FOUND            ResourceInfo
    NotReady          UNAVAILABLE          RetryInfo while it loads
    QueueFull         RESOURCE_EXHAUSTED   RetryInfo
    ServerBusy        RESOURCE_EXHAUSTED   RetryInfo
    MemoryFull        RESOURCE_EXHAUSTED   RetryInfo where other models are only in use
    OutOfMemory       RESOURCE_EXHAUSTED
    DeadlineExceeded  DEADLINE_EXCEEDED    RetryInfo where it was refused before its deadline, if a wait helps
    IllegalMove       FAILED_PRECONDITION
    CannotPull        FAILED_PRECONDITION
    AlreadyExists     ALREADY_EXISTS
    Unauthenticated   UNAUTHENTICATED
    PermissionDenied  PERMISSION_DENIED
    RateLimited       RESOURCE_EXHAUSTED   RetryInfo
    QuotaExceeded     RESOURCE_EXHAUSTED
    StorageFull       RESOURCE_EXHAUSTED
    anything else     INTERNAL             a generic text

Every status also carries ErrorInfo: a stable reason for programs, in the domain `zoo`; and RequestInfo: the request's id, where
there is one, as the server's log shows it.
"""

from __future__ import annotations

import grpc
from google.protobuf.any_pb2 import Any
from google.protobuf.message import Message
from google.rpc import error_details_pb2 as details
from google.rpc import status_pb2

from service.errors import (
    AlreadyExists,
    CannotPull,
    DeadlineExceeded,
    IllegalMove,
    InvalidInput,
    MemoryFull,
    NotFound,
    NotReady,
    OutOfMemory,
    PermissionDenied,
    QueueFull,
    QuotaExceeded,
    RateLimited,
    ServerBusy,
    StorageFull,
    Unauthenticated,
    ZooError,
)
from service.observability.printable import without_secrets

DOMAIN = "zoo"
DETAILS_KEY = "grpc-status-details-bin"
PUSHBACK_KEY = "grpc-retry-pushback-ms"
NO_RETRY = "-1"
"""In place of milliseconds: a retry does not help."""
LONGEST_MESSAGE = 2000
LONGEST_PROBLEM = 512
LONGEST_NAME = 256
"""Bytes, as gRPC writes them. A status is sent in HTTP/2 headers, its message twice; clients bound headers at 8 KiB or less, and
replace a larger status by an error of their own."""

LONGEST_RETRY_S = 86_400.0
"""Longest wait that an error asks for."""
LARGEST_COST = 12
"""Bytes that one character takes at most."""

TABLE: tuple[tuple[type[ZooError], grpc.StatusCode], ...] = (
    (InvalidInput, grpc.StatusCode.INVALID_ARGUMENT),
    (NotFound, grpc.StatusCode.NOT_FOUND),
    (NotReady, grpc.StatusCode.UNAVAILABLE),
    (QueueFull, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (ServerBusy, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (MemoryFull, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (OutOfMemory, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (DeadlineExceeded, grpc.StatusCode.DEADLINE_EXCEEDED),
    (IllegalMove, grpc.StatusCode.FAILED_PRECONDITION),
    (CannotPull, grpc.StatusCode.FAILED_PRECONDITION),
    (AlreadyExists, grpc.StatusCode.ALREADY_EXISTS),
    (Unauthenticated, grpc.StatusCode.UNAUTHENTICATED),
    (PermissionDenied, grpc.StatusCode.PERMISSION_DENIED),
    (RateLimited, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (QuotaExceeded, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (StorageFull, grpc.StatusCode.RESOURCE_EXHAUSTED),
)


RETRYABLE = QueueFull | ServerBusy | MemoryFull | NotReady | DeadlineExceeded | RateLimited
"""Errors that may say when a retry helps."""


def code_of(error: ZooError) -> grpc.StatusCode:
    """The gRPC status code of an error."""
    return next((code for kind, code in TABLE if isinstance(error, kind)), grpc.StatusCode.INTERNAL)


def status_of(error: ZooError, request_id: str = "") -> status_pb2.Status:
    """The whole google.rpc.Status of an error: code, message, details. `request_id`: as `printable.shown_id` gives it."""
    status = status_pb2.Status(
        code=code_of(error).value[0], message=cut(without_secrets(error.message), LONGEST_MESSAGE)
    )
    _add(status, details.ErrorInfo(reason=error.reason, domain=DOMAIN))
    if isinstance(error, InvalidInput) and error.field:
        violation = details.BadRequest.FieldViolation(
            field=cut(error.field, LONGEST_NAME), description=cut(without_secrets(error.problem), LONGEST_PROBLEM)
        )
        _add(status, details.BadRequest(field_violations=[violation]))
    if isinstance(error, NotFound):
        _add(
            status,
            details.ResourceInfo(
                resource_type=cut(error.kind, LONGEST_NAME),
                resource_name=cut(without_secrets(error.name), LONGEST_NAME),
            ),
        )
    retry_s = error.retry_after_s if isinstance(error, RETRYABLE) else None
    if retry_s is not None:
        info = details.RetryInfo()
        info.retry_delay.FromNanoseconds(int(min(retry_s, LONGEST_RETRY_S) * 1e9))
        _add(status, info)
    if request_id:
        _add(status, details.RequestInfo(request_id=cut(request_id, LONGEST_NAME)))
    return status


def trailers_of(status: status_pb2.Status) -> tuple[tuple[str, str | bytes], ...]:
    """The trailing metadata of a status: its details, and when a client of gRPC's own retries may try again.

    See `grpc-retry-pushback-ms` in https://github.com/grpc/proposal/blob/master/A6-client-retries.md.
    """
    trailers: list[tuple[str, str | bytes]] = [(DETAILS_KEY, status.SerializeToString())]
    retry = details.RetryInfo()
    if any(detail.Unpack(retry) for detail in status.details):
        trailers.append((PUSHBACK_KEY, str(max(0, retry.retry_delay.ToMilliseconds()))))
    elif status.code == grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]:
        trailers.append((PUSHBACK_KEY, NO_RETRY))
    return tuple(trailers)


def cut(text: str, most: int) -> str:
    """`text`, cut where it would take more than `most` bytes in a header."""
    if len(text) * LARGEST_COST <= most or (len(text) <= most and sum(map(_cost, text)) <= most):
        return text
    left = most - _cost("…")
    for i, character in enumerate(text):
        left -= _cost(character)
        if left < 0:
            return f"{text[:i]}…"
    return text


def _cost(character: str) -> int:
    """Bytes in a header: gRPC percent-encodes every character that is not plain ASCII."""
    return 1 if " " <= character <= "~" and character != "%" else 3 * len(character.encode())


def _add(status: status_pb2.Status, detail: Message) -> None:
    packed = Any()
    packed.Pack(detail)
    status.details.append(packed)
