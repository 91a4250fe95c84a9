"""Predictions on a stream."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from service.client import (
    AsyncClient,
    Classification,
    Client,
    GeneratedText,
    Outcome,
    PredictionError,
    Retry,
    ServerUnreachable,
    TimedOut,
    Unavailable,
    ZooClientError,
)
from tests.support.fake_zoo.server import FakeZoo
from tests.support.wire.client_server import MODEL as ECHO
from tests.support.wire.client_server import EchoServer

MODEL = "efficientnet_lite0"
PHOTOS = [f"photo {i}".encode() for i in range(10)]


def _names(outcomes: list[Outcome]) -> list[str]:
    return [o.labels[0].name if isinstance(o, Classification) else str(o) for o in outcomes]


def test_results_are_in_the_order_of_inputs_if_replies_are_not(zoo: FakeZoo, client: Client) -> None:
    zoo.prediction.hold_back = 4
    assert _names(list(client.stream_predict(MODEL, PHOTOS))) == [photo.decode() for photo in PHOTOS]
    ids = [request.request_id for request in zoo.calls["StreamPredict.request"]]
    assert len(set(ids)) == len(PHOTOS)


def test_inputs_without_a_reply_never_exceed_in_flight(zoo: FakeZoo, client: Client) -> None:
    zoo.prediction.hold_back = 3
    list(client.stream_predict(MODEL, PHOTOS * 5, in_flight=3))
    assert zoo.prediction.most_unanswered <= 3


def test_failed_input_leaves_other_inputs_unaffected(client: Client, tmp_path: Path) -> None:
    inputs: list[Any] = [b"a cat", b"bad", tmp_path / "none.jpg", b"a dog"]
    cat, bad, none, dog = client.stream_predict(MODEL, inputs)
    assert _names([cat, dog]) == ["a cat", "a dog"]
    assert isinstance(bad, PredictionError)
    assert (bad.code, bad.reason, bad.index) == ("INVALID_ARGUMENT", "INVALID_INPUT", 1)
    assert isinstance(none, PredictionError)
    assert (none.reason, none.index) == ("UNREADABLE_FILE", 2)


def test_more_unreadable_files_than_in_flight_do_not_block_the_stream(client: Client, tmp_path: Path) -> None:
    outcomes = list(client.stream_predict(MODEL, [tmp_path / "none.jpg"] * 9, in_flight=2))
    assert [type(outcome) for outcome in outcomes] == [PredictionError] * 9


def test_stream_without_inputs_has_no_results(client: Client) -> None:
    assert list(client.stream_predict(MODEL, [])) == []


def test_result_is_returned_before_all_inputs_are_drawn(client: Client) -> None:
    drawn: list[str] = []

    def inputs() -> Iterator[bytes]:
        yield b"first"
        drawn.append("second")
        yield b"second"

    answers = client.stream_predict(MODEL, inputs(), in_flight=1)
    assert _names([next(answers)]) == ["first"]
    assert _names(list(answers)) == ["second"]
    assert drawn == ["second"]


def test_stream_of_endless_inputs_may_be_closed_early(client: Client) -> None:
    def endless() -> Iterator[bytes]:
        while True:
            yield b"again"

    answers = client.stream_predict(MODEL, endless())
    assert _names([next(answers)]) == ["again"]
    answers.close()  # type: ignore[attr-defined]


def test_exception_of_the_inputs_is_raised_after_the_results(client: Client) -> None:
    def inputs() -> Iterator[bytes]:
        yield b"a cat"
        raise LookupError("broken input")

    answers = client.stream_predict(MODEL, inputs())
    assert _names([next(answers)]) == ["a cat"]
    with pytest.raises(LookupError, match="broken input"):
        next(answers)


def test_input_without_a_reply_gets_an_error(zoo: FakeZoo, client: Client) -> None:
    zoo.prediction.hold_back, zoo.prediction.drop_last = 99, True
    *answered, last = client.stream_predict(MODEL, [b"a", b"b"])
    assert _names(answered) == ["a"]
    assert isinstance(last, PredictionError)
    assert "without an answer" in str(last)


def test_unknown_model_fails_each_input_with_a_hint(client: Client) -> None:
    [outcome] = client.stream_predict("silero", ["a text"])
    assert isinstance(outcome, PredictionError)
    assert (outcome.code, str(outcome)) == ("NOT_FOUND", "unknown model 'silero'; did you mean 'silero_vad'?")


def test_stream_is_opened_again_while_the_server_is_unavailable(zoo: FakeZoo, client: Client) -> None:
    zoo.fail_next("StreamPredict", "UNAVAILABLE", "starting", times=2)
    assert _names(list(client.stream_predict(MODEL, [b"a cat"]))) == ["a cat"]
    assert len(zoo.calls["StreamPredict"]) == 3


def test_stream_without_a_server_raises_one_error(retry: Retry) -> None:
    with Client("127.0.0.1:1", retry=retry) as client, pytest.raises(ServerUnreachable):
        list(client.stream_predict(MODEL, ["a text"]))


@pytest.mark.asyncio
async def test_async_stream_orders_results_and_raises_the_exception_of_the_inputs(
    zoo: FakeZoo, retry: Retry, tmp_path: Path
) -> None:
    zoo.prediction.hold_back = 4
    async with AsyncClient(zoo.target, retry=retry) as client:
        answers = [answer async for answer in client.stream_predict(MODEL, PHOTOS, in_flight=4)]
        assert _names(answers) == [photo.decode() for photo in PHOTOS]

        async def inputs() -> AsyncIterator[Any]:
            yield b"a cat"
            yield tmp_path / "none.jpg"
            yield b"bad"
            raise LookupError("broken input")

        given = client.stream_predict(MODEL, inputs())
        seen = [await anext(given) for _ in range(3)]
        assert [type(answer) for answer in seen] == [Classification, PredictionError, PredictionError]
        with pytest.raises(LookupError, match="broken input"):
            await anext(given)


# ── a server that is killed ───────────────────────────────────────────────────────────────────────────────────────


class Received:
    """Results that one client receives for `inputs`, and the error at the end."""

    def __init__(self, kind: str, target: str, inputs: Iterable[str], retry: Retry, **options: Any) -> None:
        self.texts: list[str] = []
        self.error: ZooClientError | None = None
        try:
            if kind == "sync":
                self._receive(target, inputs, retry, options)
            else:
                asyncio.run(self._receive_async(target, inputs, retry, options))
        except ZooClientError as error:
            self.error = error

    def _receive(self, target: str, inputs: Iterable[str], retry: Retry, options: Any) -> None:
        with Client(target, retry=retry) as client:
            for outcome in client.stream_predict(ECHO, inputs, **options):
                self._add(outcome)

    async def _receive_async(self, target: str, inputs: Iterable[str], retry: Retry, options: Any) -> None:
        async with AsyncClient(target, retry=retry) as client:
            async for outcome in client.stream_predict(ECHO, inputs, **options):
                self._add(outcome)

    def _add(self, outcome: Outcome) -> None:
        assert isinstance(outcome, GeneratedText)
        self.texts.append(outcome.text)


BOTH = pytest.mark.parametrize("kind", ["sync", "async"])
TEXTS = [f"text {i}" for i in range(100)]


@BOTH
@pytest.mark.parametrize("read", [1, 10, 32])
def test_server_killed_before_the_first_reply_raises_unavailable(kind: str, read: int, retry: Retry) -> None:
    with EchoServer(replies=0) as server, ThreadPoolExecutor(1) as killer:
        killed = killer.submit(lambda: (server.wait_for_requests(read), server.kill()))
        received = Received(kind, server.target, TEXTS, retry)
        killed.result()
    assert isinstance(received.error, Unavailable)
    assert received.texts == []


@BOTH
def test_server_killed_after_a_reply_raises_unavailable_after_the_results(kind: str, retry: Retry) -> None:
    with EchoServer(replies=5) as server, ThreadPoolExecutor(1) as killer:
        killed = killer.submit(lambda: (server.wait_for_requests(10), server.kill()))
        received = Received(kind, server.target, TEXTS, retry)
        killed.result()
    assert isinstance(received.error, Unavailable)
    assert "broke before the answer was there" in str(received.error)
    assert received.texts == TEXTS[: len(received.texts)]
    assert len(received.texts) <= 5


@BOTH
def test_server_restarted_before_the_first_reply_answers_every_input_once(kind: str) -> None:
    drawn: list[str] = []

    def inputs() -> Iterator[str]:
        for text in TEXTS:
            drawn.append(text)
            yield text

    def restart() -> None:
        first.wait_for_requests(20)
        first.kill()
        servers.enter_context(EchoServer(replies=-1, port=first.port))

    patient = Retry(attempts=1000, initial_backoff_s=0.05, max_backoff_s=0.05)
    with ExitStack() as servers, ThreadPoolExecutor(1) as operator:
        first = servers.enter_context(EchoServer(replies=0))
        restarting = operator.submit(restart)
        received = Received(kind, first.target, inputs(), patient)
        restarting.result()
        assert received.error is None
        assert received.texts == drawn == TEXTS


def test_inputs_that_wait_for_a_result_get_it_after_the_stream_is_opened_again(zoo: FakeZoo, client: Client) -> None:
    answered = threading.Event()

    def inputs() -> Iterator[bytes]:
        yield b"first"
        answered.wait()
        yield b"second"

    zoo.fail_next("StreamPredict", "UNAVAILABLE", "starting", times=2)
    answers = client.stream_predict(MODEL, inputs())
    assert _names([next(answers)]) == ["first"]
    answered.set()
    assert _names(list(answers)) == ["second"]


@pytest.mark.asyncio
async def test_async_inputs_that_wait_for_a_result_get_it_after_the_stream_is_opened_again(
    zoo: FakeZoo, retry: Retry
) -> None:
    answered = asyncio.Event()

    async def inputs() -> AsyncIterator[bytes]:
        yield b"first"
        await answered.wait()
        yield b"second"

    zoo.fail_next("StreamPredict", "UNAVAILABLE", "starting", times=2)
    async with AsyncClient(zoo.target, retry=retry) as client:
        answers = client.stream_predict(MODEL, inputs())
        assert _names([await anext(answers)]) == ["first"]
        answered.set()
        assert _names([answer async for answer in answers]) == ["second"]


@BOTH
def test_timeout_covers_all_attempts_of_a_stream(kind: str) -> None:
    endless = Retry(attempts=1_000_000, initial_backoff_s=0.01, max_backoff_s=0.01)
    received = Received(kind, "127.0.0.1:1", TEXTS, endless, timeout=0.3)
    assert isinstance(received.error, TimedOut)


def test_stream_is_not_opened_again_after_a_reply(zoo: FakeZoo, client: Client) -> None:
    zoo.prediction.break_streams_after.append(2)
    results = client.stream_predict(MODEL, PHOTOS)
    assert _names([next(results), next(results)]) == ["photo 0", "photo 1"]
    with pytest.raises(Unavailable, match="broke before the answer was there"):
        next(results)
    assert len(zoo.calls["StreamPredict"]) == 1


# ── a server that drains ──────────────────────────────────────────────────────────────────────────────────────────


def sent(zoo: FakeZoo) -> list[bytes]:
    """What the servers got to answer, in order."""
    return [request.instances[0].image for request in zoo.calls["StreamPredict.request"]]


@pytest.mark.parametrize("after", [0, 1, 5, 10])
def test_next_server_gets_what_a_draining_one_has_not_begun(after: int, zoo: FakeZoo, client: Client) -> None:
    zoo.prediction.drain_streams_after.extend([after, 3])
    assert _names(list(client.stream_predict(MODEL, PHOTOS))) == [photo.decode() for photo in PHOTOS]
    assert sent(zoo) == PHOTOS


@pytest.mark.parametrize("after", [0, 1, 5])
def test_requests_that_a_draining_server_refuses_one_by_one_go_to_the_next(
    after: int, zoo: FakeZoo, client: Client
) -> None:
    zoo.prediction.refuse_streams_after.extend([after, 3])
    assert _names(list(client.stream_predict(MODEL, PHOTOS, in_flight=2))) == [photo.decode() for photo in PHOTOS]
    assert sent(zoo) == PHOTOS


@pytest.mark.asyncio
async def test_async_stream_continues_at_the_next_server(zoo: FakeZoo, retry: Retry) -> None:
    zoo.prediction.refuse_streams_after.extend([4, 2])
    async with AsyncClient(zoo.target, retry=retry) as client:
        answers = [answer async for answer in client.stream_predict(MODEL, PHOTOS, in_flight=3)]
    assert _names(answers) == [photo.decode() for photo in PHOTOS]
    assert sent(zoo) == PHOTOS


def test_requests_that_the_restarted_server_refuses_while_it_loads_are_sent_again(zoo: FakeZoo, client: Client) -> None:
    zoo.prediction.drain_streams_after.append(2)
    zoo.prediction.loading_streams.extend([0, *[99] * 9, 1])
    answers = list(client.stream_predict(MODEL, PHOTOS, in_flight=3))
    assert _names(answers) == [photo.decode() for photo in PHOTOS]
    assert sorted(sent(zoo)) == PHOTOS


def test_model_that_loads_at_the_first_stream_is_the_result_of_the_input(zoo: FakeZoo, client: Client) -> None:
    zoo.prediction.loading_streams.append(1)
    first, *others = client.stream_predict(MODEL, PHOTOS)
    assert (type(first), getattr(first, "reason", "")) == (PredictionError, "NOT_READY")
    assert _names(others) == [photo.decode() for photo in PHOTOS[1:]]


def test_stream_outlives_more_drains_than_a_call_has_attempts(zoo: FakeZoo, client: Client) -> None:
    zoo.prediction.drain_streams_after.extend([1] * 9)
    assert _names(list(client.stream_predict(MODEL, PHOTOS))) == [photo.decode() for photo in PHOTOS]


def test_stream_that_breaks_while_requests_are_under_way_is_not_opened_again_although_others_were_refused(
    zoo: FakeZoo, client: Client
) -> None:
    zoo.prediction.hold_back = 2  # the third request stays without a reply
    zoo.prediction.refuse_streams_after.append(3)
    zoo.prediction.break_streams_after.append(5)
    results = client.stream_predict(MODEL, PHOTOS, in_flight=5)
    assert _names([next(results), next(results)]) == ["photo 0", "photo 1"]
    with pytest.raises(Unavailable, match="broke before the answer was there"):
        list(results)


def test_stream_without_retries_raises_that_the_server_drains(zoo: FakeZoo) -> None:
    zoo.prediction.drain_streams_after.append(2)
    with Client(zoo.target, retry=Retry(attempts=1)) as client:
        results = client.stream_predict(MODEL, PHOTOS)
        assert _names([next(results), next(results)]) == ["photo 0", "photo 1"]
        with pytest.raises(Unavailable) as caught:
            next(results)
    assert caught.value.reason == "DRAINING"


def test_stream_without_retries_shows_each_refusal(zoo: FakeZoo) -> None:
    zoo.prediction.refuse_streams_after.append(8)
    with Client(zoo.target, retry=Retry(attempts=1)) as client:
        results = list(client.stream_predict(MODEL, PHOTOS))
    refused = [(type(result), getattr(result, "reason", "")) for result in results[8:]]
    assert refused == [(PredictionError, "DRAINING")] * 2


def test_closing_a_stream_ends_the_iterator_that_waits_for_a_reply(retry: Retry) -> None:
    ended = threading.Event()

    class Endless:
        def __iter__(self) -> Iterator[str]:
            return self

        def __next__(self) -> str:
            return "again"

        def __del__(self) -> None:
            ended.set()

    with EchoServer(replies=1) as server, Client(server.target, retry=retry) as client:
        results = client.stream_predict(ECHO, Endless(), in_flight=1)
        next(results)
        server.wait_for_requests(2)
        results.close()  # type: ignore[attr-defined]
        del results
        assert ended.wait(60)
