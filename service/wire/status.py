"""The status table: which error of `service/errors.py` becomes which gRPC status, and with which google.rpc details.

    InvalidInput      INVALID_ARGUMENT     BadRequest with the field's path
    NotFound          NOT_FOUND            ResourceInfo
    NotReady          UNAVAILABLE          RetryInfo while it loads
    QueueFull         RESOURCE_EXHAUSTED   RetryInfo
    DeadlineExceeded  DEADLINE_EXCEEDED
    IllegalMove       FAILED_PRECONDITION
    anything else     INTERNAL             a generic text

Every status also carries ErrorInfo: a stable reason for programs, in the domain `zoo`.
"""

from __future__ import annotations

import grpc
from google.protobuf.any_pb2 import Any
from google.protobuf.message import Message
from google.rpc import error_details_pb2 as details
from google.rpc import status_pb2

from service.errors import (
    DeadlineExceeded,
    IllegalMove,
    InvalidInput,
    NotFound,
    NotReady,
    QueueFull,
    ZooError,
)

DOMAIN = "zoo"
DETAILS_KEY = "grpc-status-details-bin"
LONGEST_MESSAGE = 2000
"""Characters. A status travels in HTTP/2 headers, whose size clients bound at 8 KiB and less."""

TABLE: tuple[tuple[type[ZooError], grpc.StatusCode], ...] = (
    (InvalidInput, grpc.StatusCode.INVALID_ARGUMENT),
    (NotFound, grpc.StatusCode.NOT_FOUND),
    (NotReady, grpc.StatusCode.UNAVAILABLE),
    (QueueFull, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (DeadlineExceeded, grpc.StatusCode.DEADLINE_EXCEEDED),
    (IllegalMove, grpc.StatusCode.FAILED_PRECONDITION),
)


def code_of(error: ZooError) -> grpc.StatusCode:
    """The gRPC status code of an error."""
    return next((code for kind, code in TABLE if isinstance(error, kind)), grpc.StatusCode.INTERNAL)


def status_of(error: ZooError) -> status_pb2.Status:
    """The whole google.rpc.Status of an error: code, message, details."""
    message = error.message if len(error.message) <= LONGEST_MESSAGE else error.message[: LONGEST_MESSAGE - 1] + "…"
    status = status_pb2.Status(code=code_of(error).value[0], message=message)
    _add(status, details.ErrorInfo(reason=error.reason, domain=DOMAIN))
    if isinstance(error, InvalidInput) and error.field:
        violation = details.BadRequest.FieldViolation(field=error.field[:256], description=error.problem[:512])
        _add(status, details.BadRequest(field_violations=[violation]))
    if isinstance(error, NotFound):
        _add(status, details.ResourceInfo(resource_type=error.kind, resource_name=error.name))
    retry_s = error.retry_after_s if isinstance(error, QueueFull | NotReady) else None
    if retry_s is not None:
        info = details.RetryInfo()
        info.retry_delay.FromNanoseconds(int(retry_s * 1e9))
        _add(status, info)
    return status


def trailers_of(status: status_pb2.Status) -> tuple[tuple[str, bytes], ...]:
    """The trailing metadata that carries a status's details to clients that look for them."""
    return ((DETAILS_KEY, status.SerializeToString()),)


def _add(status: status_pb2.Status, detail: Message) -> None:
    packed = Any()
    packed.Pack(detail)
    status.details.append(packed)
