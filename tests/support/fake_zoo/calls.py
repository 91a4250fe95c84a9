"""Calls of the fake server: recorded, held back at a gate, and failed when a test asks for it."""

from __future__ import annotations

import threading
from collections import defaultdict, deque
from typing import Any, NoReturn

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status


def status_of(
    code: str, message: str, *, reason: str = "", field: str = "", retry_s: int | None = None, request_id: str = ""
) -> status_pb2.Status:
    """A google.rpc.Status as the server sends them."""
    details: list[Any] = [error_details_pb2.ErrorInfo(reason=reason, domain="zoo")] if reason else []
    if field:
        violation = error_details_pb2.BadRequest.FieldViolation(field=field, description=message)
        details.append(error_details_pb2.BadRequest(field_violations=[violation]))
    if retry_s is not None:
        details.append(error_details_pb2.RetryInfo(retry_delay=duration_pb2.Duration(seconds=retry_s)))
    if request_id:
        details.append(error_details_pb2.RequestInfo(request_id=request_id))
    packed = []
    for detail in details:
        packed.append(any_pb2.Any())
        packed[-1].Pack(detail)
    return status_pb2.Status(code=code_pb2.Code.Value(code), message=message, details=packed)


def abort(context: Any, status: status_pb2.Status) -> NoReturn:
    context.abort_with_status(rpc_status.to_status(status))
    raise AssertionError


class FakeCalls:
    """Every servicer of the fake server begins each method with `enter`."""

    def __init__(self) -> None:
        self.by_method: dict[str, list[Any]] = defaultdict(list)
        """Requests by method, attempts that failed included."""
        self.to_fail: dict[str, deque[status_pb2.Status]] = defaultdict(deque)
        self.to_fail_bare: dict[str, deque[tuple[grpc.StatusCode, str]]] = defaultdict(deque)
        """Failures without details, by method."""
        self.gate = threading.Event()
        """While it is cleared, calls wait for it."""
        self.gate.set()

    def enter(self, method: str, request: Any, context: Any) -> None:
        self.by_method[method].append(request)
        self.gate.wait()
        if self.to_fail[method]:
            abort(context, self.to_fail[method].popleft())
        if self.to_fail_bare[method]:
            context.abort(*self.to_fail_bare[method].popleft())
