"""Statuses as exceptions."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from google.rpc import status_pb2

from service.client import (
    Client,
    IllegalMove,
    InvalidRequest,
    NotAllowed,
    NotFound,
    Overloaded,
    Retry,
    ServerUnreachable,
    TimedOut,
    Unavailable,
    Violation,
    ZooClientError,
)
from service.client.errors import call_error, prediction_error
from tests.support.fake_zoo.server import FakeZoo


class _Broken(grpc.RpcError):
    def __init__(self, details: str) -> None:
        self._details = details

    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.UNAVAILABLE

    def details(self) -> str:
        return self._details

    def trailing_metadata(self) -> Any:
        status = status_pb2.Status(code=5, message="of another call").SerializeToString()
        return (("grpc-status-details-bin", status),)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("INVALID_ARGUMENT", InvalidRequest),
        ("NOT_FOUND", NotFound),
        ("DEADLINE_EXCEEDED", TimedOut),
        ("FAILED_PRECONDITION", IllegalMove),
        ("UNAUTHENTICATED", NotAllowed),
        ("PERMISSION_DENIED", NotAllowed),
        ("INTERNAL", ZooClientError),
    ],
)
def test_status_that_no_retry_helps_is_raised_after_one_call(
    zoo: FakeZoo, client: Client, code: str, kind: type[ZooClientError]
) -> None:
    zoo.fail_next("GetModel", code, "one sentence", reason="WHY", field="name", retry_s=3, request_id="r-1")
    with pytest.raises(kind) as caught:
        client.model("m")
    error = caught.value
    assert type(error) is kind
    assert (str(error), error.code, error.reason, error.retry_after_s) == ("one sentence", code, "WHY", 3.0)
    assert error.request_id == "r-1"
    assert error.violations == (Violation("name", "one sentence"),)
    assert error.field == "name"
    assert len(zoo.calls["GetModel"]) == 1


def test_call_that_stays_beyond_a_limit_raises_overloaded_with_the_time_to_wait(zoo: FakeZoo, client: Client) -> None:
    zoo.fail_next("GetModel", "RESOURCE_EXHAUSTED", "too many", reason="RATE_LIMITED", retry_s=3, times=5)
    with pytest.raises(Overloaded) as caught:
        client.model("m")
    assert (caught.value.reason, caught.value.retry_after_s) == ("RATE_LIMITED", 3.0)


def test_status_without_details_keeps_its_message(zoo: FakeZoo, client: Client) -> None:
    zoo.call_control.to_fail_bare["GetModel"] += [(grpc.StatusCode.NOT_FOUND, "no such thing")]
    with pytest.raises(NotFound, match="no such thing"):
        client.model("m")


def test_call_without_a_server_raises_server_unreachable_with_a_hint(retry: Retry) -> None:
    with (
        Client("127.0.0.1:1", retry=retry) as client,
        pytest.raises(ServerUnreachable, match=r"^no server answers at 127\.0\.0\.1:1; start one with `zoo serve`$"),
    ):
        client.model("m")


def test_call_to_another_grpc_server_asks_if_it_is_zoo(retry: Retry) -> None:
    other = grpc.server(ThreadPoolExecutor(1))
    port = other.add_insecure_port("127.0.0.1:0")
    other.start()
    with Client(f"127.0.0.1:{port}", retry=retry) as client, pytest.raises(ZooClientError, match="is it a Zoo server"):
        client.model("m")
    other.stop(None).wait()


def test_call_beyond_its_timeout_raises_timed_out(zoo: FakeZoo, client: Client) -> None:
    zoo.call_control.gate.clear()  # calls wait for it
    with pytest.raises(TimedOut, match="gave no answer within the timeout"):
        client.model("silero_vad", timeout=0.05)


def test_status_of_unknown_code_without_message_gives_a_readable_error() -> None:
    error = prediction_error(status_pb2.Status(code=99), 3)
    assert (error.code, error.index) == ("UNKNOWN", 3)
    assert str(error) == "the server answered UNKNOWN without an explanation"


def test_broken_connection_gives_a_readable_message() -> None:
    assert str(call_error(_Broken("Socket closed"), "h:1")) == "the connection to h:1 broke before the answer was there"


def test_details_of_another_status_are_ignored() -> None:
    error = call_error(_Broken("wait a while"), "h:1")
    assert isinstance(error, Unavailable)
    assert str(error) == "wait a while"
