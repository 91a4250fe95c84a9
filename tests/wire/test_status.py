"""Every error becomes its status, with details that programs can read, small enough to travel."""

from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2 as details
from google.rpc import status_pb2
from grpc import aio

from service.errors import (
    DeadlineExceeded,
    Draining,
    IllegalMove,
    InternalError,
    InvalidInput,
    MemoryFull,
    NotFound,
    NotReady,
    OutOfMemory,
    QueueFull,
    QuotaExceeded,
    ServerBusy,
    StorageFull,
    TooLate,
    ZooError,
)
from service.wire.status import LONGEST_MESSAGE, code_of, status_of, trailers_of
from tests.support.wire.calls import (
    detail,
    request,
    status_in,
    wired,
)

Code = grpc.StatusCode
TABLE: list[tuple[ZooError, grpc.StatusCode, str]] = [
    (InvalidInput("a.b", "is wrong"), Code.INVALID_ARGUMENT, "INVALID_INPUT"),
    (NotFound("model", "x"), Code.NOT_FOUND, "NOT_FOUND"),
    (NotReady("loading", 1.5), Code.UNAVAILABLE, "NOT_READY"),
    (NotReady("failed"), Code.UNAVAILABLE, "NOT_READY"),
    (Draining(), Code.UNAVAILABLE, "DRAINING"),
    (QueueFull("m", 9, 8, 0.25), Code.RESOURCE_EXHAUSTED, "QUEUE_FULL"),
    (MemoryFull("no room", 1.0), Code.RESOURCE_EXHAUSTED, "MEMORY_FULL"),
    (MemoryFull("no room"), Code.RESOURCE_EXHAUSTED, "MEMORY_FULL"),
    (DeadlineExceeded("in the queue"), Code.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED"),
    (TooLate(0.25), Code.DEADLINE_EXCEEDED, "TOO_LATE"),
    (TooLate(), Code.DEADLINE_EXCEEDED, "TOO_LATE"),
    (OutOfMemory(), Code.RESOURCE_EXHAUSTED, "OUT_OF_MEMORY"),
    (IllegalMove("is LOADING"), Code.FAILED_PRECONDITION, "ILLEGAL_MOVE"),
    (StorageFull("no room"), Code.RESOURCE_EXHAUSTED, "STORAGE_FULL"),
    (InternalError("ab12"), Code.INTERNAL, "INTERNAL"),
    (ZooError("anything else"), Code.INTERNAL, "INTERNAL"),
]
EACH = pytest.mark.parametrize(("error", "code", "reason"), TABLE, ids=[type(e).__name__ for e, _, _ in TABLE])


@EACH
def test_each_error_has_its_place_in_the_table(error: ZooError, code: grpc.StatusCode, reason: str) -> None:
    assert code_of(error) is code
    status = status_of(error)
    assert (status.code, status.message) == (code.value[0], error.message)
    info = detail(status, details.ErrorInfo)
    assert info is not None
    assert (info.reason, info.domain) == (reason, "zoo")


def test_a_wrong_field_is_named_for_programs() -> None:
    bad = detail(status_of(InvalidInput("inputs[0].shape", "expected 3, got 4")), details.BadRequest)
    assert bad is not None
    (violation,) = bad.field_violations
    assert (violation.field, violation.description) == ("inputs[0].shape", "expected 3, got 4")
    assert detail(status_of(InvalidInput("", "is wrong")), details.BadRequest) is None


def test_not_found_status_names_the_resource() -> None:
    info = detail(status_of(NotFound("model", "cat", ["cut"])), details.ResourceInfo)
    assert info is not None
    assert (info.resource_type, info.resource_name) == ("model", "cat")


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (QueueFull("m", 9, 8, 0.25), 0.25),
        (TooLate(0.25), 0.25),
        (TooLate(), None),
        (DeadlineExceeded("in the queue"), None),
        (NotReady("loading", 1.5), 1.5),
        (NotReady("failed"), None),
        (Draining(), None),
    ],
)
def test_retry_info_is_sent_where_a_retry_helps(error: ZooError, seconds: float | None) -> None:
    info = detail(status_of(error), details.RetryInfo)
    assert (info.retry_delay.ToTimedelta().total_seconds() if info else None) == seconds


@EACH
@pytest.mark.asyncio
async def test_each_error_reaches_a_client_whole(error: ZooError, code: grpc.StatusCode, reason: str) -> None:
    def fail(_: Any) -> Any:
        raise error

    async with wired(fail) as w:
        with pytest.raises(aio.AioRpcError) as caught:
            await w.prediction.Predict(request(request_id="r-1"))
        assert caught.value.code() is code
        assert caught.value.details() == error.message
        assert status_in(caught.value) == status_of(error, "r-1")


LONG = 50_000


@pytest.mark.asyncio
@pytest.mark.parametrize("character", ["x", "ü", "世", "🐈", "\n", "%", "\x00"])
@pytest.mark.parametrize("kind", ["message", "field", "problem", "name"])
async def test_an_error_that_repeats_a_long_text_still_arrives(character: str, kind: str) -> None:
    """A status travels in headers, percent-encoded; one that is too large becomes another error on the way."""
    text = character * LONG
    error = {
        "message": IllegalMove(text),
        "field": InvalidInput(text, "is wrong"),
        "problem": InvalidInput("a", text),
        "name": NotFound("model", text, [text]),
    }[kind]

    def fail(_: Any) -> Any:
        raise error

    async with wired(fail) as w:
        with pytest.raises(aio.AioRpcError) as caught:
            await w.prediction.Predict(request(request_id=text[:256]))
        assert caught.value.code() is code_of(error)
        assert caught.value.details()
        status = status_in(caught.value)
        assert detail(status, details.ErrorInfo) is not None


@pytest.mark.parametrize("character", ["x", "世", "🐈"])
def test_a_status_is_bounded_in_bytes(character: str) -> None:
    text = character * LONG
    for error in (IllegalMove(text), InvalidInput(text, text), NotFound(text, text, [text])):
        value = dict(trailers_of(status_of(error, text)))["grpc-status-details-bin"]
        assert len(value) < 6000
        assert status_of(error).message.endswith("…")


def test_message_that_fits_is_sent_whole() -> None:
    text = "x" * LONGEST_MESSAGE
    assert status_of(IllegalMove(text)).message == text


def test_a_status_survives_its_trailer() -> None:
    status = status_of(QueueFull("m", 9, 8, 0.25))
    value = dict(trailers_of(status))["grpc-status-details-bin"]
    assert isinstance(value, bytes)
    assert status_pb2.Status.FromString(value) == status


@pytest.mark.parametrize(
    ("error", "pushback"),
    [
        (QueueFull("m", 9, 8, 0.25), "250"),
        (ServerBusy(0.5), "500"),
        (NotReady("it loads", 2.0), "2000"),
        (NotReady("it failed"), None),
        (OutOfMemory(), "-1"),
        (QuotaExceeded("too many"), "-1"),
        (InvalidInput("f", "p"), None),
    ],
)
def test_trailers_of_an_error_say_when_a_client_may_retry(error: ZooError, pushback: str | None) -> None:
    assert dict(trailers_of(status_of(error))).get("grpc-retry-pushback-ms") == pushback
