from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from google.rpc import status_pb2

from service.client import (
    AsyncClient,
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


def test_unavailable_is_retried_until_it_succeeds(zoo: Any, client: Client) -> None:
    zoo.fail_next("GetModel", "UNAVAILABLE", "loading", times=3)
    assert client.model("silero_vad").name == "silero_vad"
    assert len(zoo.calls["GetModel"]) == 4


def test_a_photo_of_megabytes_is_retried_too(zoo: Any, client: Client) -> None:
    zoo.fail_next("Predict", "UNAVAILABLE", "loading", times=2)
    client.predict("efficientnet_lite0", [b"x" * 3_000_000])
    assert len(zoo.calls["Predict"]) == 3


def test_after_five_attempts_the_reason_is_told(zoo: Any, client: Client) -> None:
    zoo.fail_next("GetModel", "UNAVAILABLE", "model 'm' is still loading", times=9, reason="NOT_READY", retry_s=2)
    with pytest.raises(Unavailable, match="still loading") as caught:
        client.model("m")
    assert (caught.value.reason, caught.value.retry_after_s) == ("NOT_READY", 2.0)
    assert len(zoo.calls["GetModel"]) == 5


def test_a_load_that_failed_is_not_done_over(zoo: Any, client: Client) -> None:
    zoo.fail_next("LoadModel", "UNAVAILABLE", "its weights do not fit")
    with pytest.raises(Unavailable, match="do not fit"):
        client.load("silero_vad")
    assert len(zoo.calls["LoadModel"]) == 1


def test_a_client_may_ask_for_no_retry(zoo: Any) -> None:
    zoo.fail_next("GetModel", "UNAVAILABLE", "loading")
    with Client(zoo.target, retry=Retry(attempts=1)) as client, pytest.raises(Unavailable):
        client.model("silero_vad")
    assert len(zoo.calls["GetModel"]) == 1


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("INVALID_ARGUMENT", InvalidRequest),
        ("NOT_FOUND", NotFound),
        ("RESOURCE_EXHAUSTED", Overloaded),
        ("DEADLINE_EXCEEDED", TimedOut),
        ("FAILED_PRECONDITION", IllegalMove),
        ("UNAUTHENTICATED", NotAllowed),
        ("PERMISSION_DENIED", NotAllowed),
        ("INTERNAL", ZooClientError),
    ],
)
def test_everything_else_is_called_once_and_told_as_it_came(
    zoo: Any, client: Client, code: str, kind: type[ZooClientError]
) -> None:
    zoo.fail_next("GetModel", code, "one sentence", reason="WHY", field="name", retry_s=3)
    with pytest.raises(kind) as caught:
        client.model("m")
    error = caught.value
    assert type(error) is kind
    assert (str(error), error.code, error.reason, error.retry_after_s) == ("one sentence", code, "WHY", 3.0)
    assert error.violations == (Violation("name", "one sentence"),)
    assert error.field == "name"
    assert len(zoo.calls["GetModel"]) == 1


def test_a_status_without_details_keeps_its_words(zoo: Any, client: Client) -> None:
    zoo.to_fail_bare["GetModel"] += [(grpc.StatusCode.NOT_FOUND, "no such thing")]
    with pytest.raises(NotFound, match="no such thing"):
        client.model("m")


def test_no_server_is_one_sentence_with_the_way_out(retry: Retry) -> None:
    with (
        Client("127.0.0.1:1", retry=retry) as client,
        pytest.raises(ServerUnreachable, match=r"^no server answers at 127\.0\.0\.1:1; start one with `zoo serve`$"),
    ):
        client.model("m")


def test_a_server_that_is_no_zoo_is_told_as_such(retry: Retry) -> None:
    other = grpc.server(ThreadPoolExecutor(1))
    port = other.add_insecure_port("127.0.0.1:0")
    other.start()
    with Client(f"127.0.0.1:{port}", retry=retry) as client, pytest.raises(ZooClientError, match="is it a Zoo server"):
        client.model("m")
    other.stop(None).wait()


def test_a_loopback_server_is_never_asked_through_a_proxy(
    zoo: Any, retry: Retry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with Client(zoo.target, retry=retry) as client:
        assert client.ready()


def test_a_timeout_is_told_as_one(zoo: Any, client: Client) -> None:
    zoo.gate.clear()  # no call is answered any more
    with pytest.raises(TimedOut, match="gave no answer within the timeout"):
        client.model("silero_vad", timeout=0.05)


@pytest.mark.asyncio
async def test_the_async_client_retries_and_raises_the_same(zoo: Any, retry: Retry) -> None:
    async with AsyncClient(zoo.target, retry=retry) as client:
        zoo.fail_next("GetModel", "UNAVAILABLE", "loading", times=2)
        assert (await client.model("silero_vad")).name == "silero_vad"
        assert len(zoo.calls["GetModel"]) == 3
        zoo.fail_next("GetModel", "NOT_FOUND", "unknown model", reason="NOT_FOUND")
        with pytest.raises(NotFound) as caught:
            await client.model("m")
        assert caught.value.reason == "NOT_FOUND"
        assert len(zoo.calls["GetModel"]) == 4
    async with AsyncClient("127.0.0.1:1", retry=retry) as client:
        with pytest.raises(ServerUnreachable):
            await client.model("m")


def test_a_status_of_unknown_code_or_no_words_is_still_readable() -> None:
    error = prediction_error(status_pb2.Status(code=99), 3)
    assert (error.code, error.index) == ("UNKNOWN", 3)
    assert str(error) == "the server answered UNKNOWN without an explanation"


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


def test_a_broken_connection_is_told_in_plain_words() -> None:
    assert str(call_error(_Broken("Socket closed"), "h:1")) == "the connection to h:1 broke before the answer was there"


def test_details_that_belong_to_another_status_are_not_believed() -> None:
    error = call_error(_Broken("be patient"), "h:1")
    assert isinstance(error, Unavailable)
    assert str(error) == "be patient"
