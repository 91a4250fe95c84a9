"""Retries, proxies, message sizes."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from service.client import AsyncClient, Client, NotFound, Retry, ServerUnreachable, Tensors, Unavailable
from tests.support.end_to_end.server_process import until
from tests.support.fake_zoo.server import FakeZoo


def test_unavailable_call_is_retried_until_it_succeeds(zoo: FakeZoo, client: Client) -> None:
    zoo.fail_next("GetModel", "UNAVAILABLE", "loading", times=3)
    assert client.model("silero_vad").name == "silero_vad"
    assert len(zoo.calls["GetModel"]) == 4


@pytest.mark.parametrize("method", ["GetModel", "Predict"])
def test_call_beyond_the_rate_of_its_token_is_retried(zoo: FakeZoo, client: Client, method: str) -> None:
    zoo.fail_next(method, "RESOURCE_EXHAUSTED", "too many", reason="RATE_LIMITED", times=3)
    if method == "Predict":
        client.predict("all_minilm_l6_v2", "a text")
    else:
        client.model("all_minilm_l6_v2")
    assert len(zoo.calls[method]) == 4


def test_large_request_is_retried(zoo: FakeZoo, client: Client) -> None:
    zoo.fail_next("Predict", "UNAVAILABLE", "loading", times=2)
    client.predict("efficientnet_lite0", [b"x" * 3_000_000])
    assert len(zoo.calls["Predict"]) == 3


def test_call_unavailable_at_all_attempts_raises_the_last_reason(zoo: FakeZoo, client: Client) -> None:
    zoo.fail_next("GetModel", "UNAVAILABLE", "model 'm' is still loading", times=9, reason="NOT_READY", retry_s=2)
    with pytest.raises(Unavailable, match="still loading") as caught:
        client.model("m")
    assert (caught.value.reason, caught.value.retry_after_s) == ("NOT_READY", 2.0)
    assert len(zoo.calls["GetModel"]) == 5


def test_failed_load_is_not_retried(zoo: FakeZoo, client: Client) -> None:
    zoo.fail_next("LoadModel", "UNAVAILABLE", "its weights do not fit")
    with pytest.raises(Unavailable, match="do not fit"):
        client.load("silero_vad")
    assert len(zoo.calls["LoadModel"]) == 1


def test_client_with_one_attempt_does_not_retry(zoo: FakeZoo) -> None:
    zoo.fail_next("GetModel", "UNAVAILABLE", "loading")
    with Client(zoo.target, retry=Retry(attempts=1)) as client, pytest.raises(Unavailable):
        client.model("silero_vad")
    assert len(zoo.calls["GetModel"]) == 1


@pytest.mark.asyncio
async def test_async_client_retries_unavailable_and_raises_other_errors(zoo: FakeZoo, retry: Retry) -> None:
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


def test_loopback_server_is_reached_without_the_proxy(
    zoo: FakeZoo, retry: Retry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with Client(zoo.target, retry=retry) as client:
        assert client.ready()


def test_messages_above_four_megabytes_pass_in_both_directions(client: Client) -> None:
    large = np.zeros(1_000_000, np.float64)
    [answer] = client.predict("efficientnet_lite0", {"x": large})
    assert isinstance(answer, Tensors)
    assert answer.tensors["x"].shape == large.shape


def test_call_that_a_closing_port_cancelled_is_retried(zoo: FakeZoo, client: Client) -> None:
    zoo.fail_next("GetModel", "CANCELLED", "", times=2)
    assert client.model("silero_vad").name == "silero_vad"
    assert len(zoo.calls["GetModel"]) == 3


def test_calls_to_several_servers_go_to_those_that_are_ready(zoo: FakeZoo, retry: Retry) -> None:
    other = FakeZoo()
    other.start()
    with closing_zoo(other), Client(f"ipv4:{zoo.target},{other.target}", retry=retry) as client:
        for _ in range(50):
            client.model("silero_vad")
        first, second = len(zoo.calls["GetModel"]), len(other.calls["GetModel"])
        assert min(first, second) > 0
        other.set_ready(False)
        until(lambda: goes_to_one(client, zoo, other), "the client's notice of it")
        zoo.set_ready(False)
        other.set_ready(True)
        until(lambda: goes_to_one(client, other, zoo), "the client's notice of it")


@contextmanager
def closing_zoo(zoo: FakeZoo) -> Iterator[None]:
    try:
        yield
    finally:
        zoo.stop()


def goes_to_one(client: Client, one: FakeZoo, other: FakeZoo) -> bool:
    """Whether all of ten calls reach one of two servers."""
    before, of_other = len(one.calls["GetModel"]), len(other.calls["GetModel"])
    try:
        for _ in range(10):
            client.model("silero_vad")
    except Unavailable:  # neither looks ready for a moment
        return False
    return (len(one.calls["GetModel"]) - before, len(other.calls["GetModel"]) - of_other) == (10, 0)
