from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from service.client import (
    AsyncClient,
    Classification,
    Client,
    Outcome,
    PredictionError,
    Retry,
    ServerUnreachable,
    ZooClientError,
)
from service.client.reorder_buffer import ReorderBuffer
from service.pb import prediction_pb2 as pb

MODEL = "efficientnet_lite0"
PHOTOS = [f"photo {i}".encode() for i in range(10)]


def _names(outcomes: list[Outcome]) -> list[str]:
    return [o.labels[0].name if isinstance(o, Classification) else str(o) for o in outcomes]


def test_answers_come_in_the_order_of_inputs_though_replies_do_not(zoo: Any, client: Client) -> None:
    zoo.hold_back = 4
    assert _names(list(client.stream_predict(MODEL, PHOTOS))) == [photo.decode() for photo in PHOTOS]
    ids = [request.request_id for request in zoo.calls["StreamPredict.request"]]
    assert len(set(ids)) == len(PHOTOS)


def test_no_more_than_so_many_inputs_wait_at_a_time(zoo: Any, client: Client) -> None:
    zoo.hold_back = 3
    list(client.stream_predict(MODEL, PHOTOS * 5, in_flight=3))
    assert zoo.most_unanswered <= 3


def test_one_failed_input_leaves_the_others_be(client: Client, tmp_path: Path) -> None:
    inputs: list[Any] = [b"a cat", b"bad", tmp_path / "none.jpg", b"a dog"]
    cat, bad, none, dog = client.stream_predict(MODEL, inputs)
    assert _names([cat, dog]) == ["a cat", "a dog"]
    assert isinstance(bad, PredictionError)
    assert (bad.code, bad.reason, bad.index) == ("INVALID_ARGUMENT", "INVALID_INPUT", 1)
    assert isinstance(none, PredictionError)
    assert (none.reason, none.index) == ("UNREADABLE_FILE", 2)


def test_more_unreadable_files_than_may_be_in_flight_do_not_stop_the_stream(client: Client, tmp_path: Path) -> None:
    outcomes = list(client.stream_predict(MODEL, [tmp_path / "none.jpg"] * 9, in_flight=2))
    assert [type(outcome) for outcome in outcomes] == [PredictionError] * 9


def test_nothing_in_gives_nothing_out(client: Client) -> None:
    assert list(client.stream_predict(MODEL, [])) == []


def test_answers_come_while_inputs_are_still_to_come(client: Client) -> None:
    heard: list[str] = []

    def inputs() -> Iterator[bytes]:
        yield b"first"
        heard.append("more was asked for")
        yield b"second"

    answers = client.stream_predict(MODEL, inputs(), in_flight=1)
    assert _names([next(answers)]) == ["first"]
    assert _names(list(answers)) == ["second"]
    assert heard == ["more was asked for"]


def test_a_caller_may_stop_early(client: Client) -> None:
    def endless() -> Iterator[bytes]:
        while True:
            yield b"again"

    answers = client.stream_predict(MODEL, endless())
    assert _names([next(answers)]) == ["again"]
    answers.close()  # type: ignore[attr-defined]


def test_what_the_inputs_raise_reaches_the_caller_after_the_answers(client: Client) -> None:
    def inputs() -> Iterator[bytes]:
        yield b"a cat"
        raise LookupError("my own trouble")

    answers = client.stream_predict(MODEL, inputs())
    assert _names([next(answers)]) == ["a cat"]
    with pytest.raises(LookupError, match="my own trouble"):
        next(answers)


def test_an_input_that_the_server_never_answers_is_told_so(zoo: Any, client: Client) -> None:
    zoo.hold_back, zoo.drop_last = 99, True
    *answered, last = client.stream_predict(MODEL, [b"a", b"b"])
    assert _names(answered) == ["a"]
    assert isinstance(last, PredictionError)
    assert "without an answer" in str(last)


def test_an_unknown_model_fails_each_text_with_the_near_name(client: Client) -> None:
    [outcome] = client.stream_predict("silero", ["a text"])
    assert isinstance(outcome, PredictionError)
    assert (outcome.code, str(outcome)) == ("NOT_FOUND", "unknown model 'silero'; did you mean 'silero_vad'?")


def test_a_stream_is_opened_anew_while_the_server_is_unavailable(zoo: Any, client: Client) -> None:
    zoo.fail_next("StreamPredict", "UNAVAILABLE", "starting", times=2)
    assert _names(list(client.stream_predict(MODEL, [b"a cat"]))) == ["a cat"]
    assert len(zoo.calls["StreamPredict"]) == 3


def test_a_stream_to_nowhere_is_one_error(retry: Retry) -> None:
    with Client("127.0.0.1:1", retry=retry) as client, pytest.raises(ServerUnreachable):
        list(client.stream_predict(MODEL, ["a text"]))


@pytest.mark.asyncio
async def test_the_async_stream_keeps_the_same_promises(zoo: Any, retry: Retry, tmp_path: Path) -> None:
    zoo.hold_back = 4
    async with AsyncClient(zoo.target, retry=retry) as client:
        answers = [answer async for answer in client.stream_predict(MODEL, PHOTOS, in_flight=4)]
        assert _names(answers) == [photo.decode() for photo in PHOTOS]

        async def inputs() -> AsyncIterator[Any]:
            yield b"a cat"
            yield tmp_path / "none.jpg"
            yield b"bad"
            raise LookupError("my own trouble")

        given = client.stream_predict(MODEL, inputs())
        seen = [await anext(given) for _ in range(3)]
        assert [type(answer) for answer in seen] == [Classification, PredictionError, PredictionError]
        with pytest.raises(LookupError, match="my own trouble"):
            await anext(given)


@pytest.mark.parametrize("request_id", ["1", "7", "-1", "", "abc", "²"])
def test_a_reply_to_no_request_is_an_error_not_an_answer(request_id: str) -> None:
    book = ReorderBuffer()
    book.add_request(pb.PredictRequest())
    with pytest.raises(ZooClientError, match="not waiting for an answer"):
        book.add_reply(pb.StreamPredictResponse(request_id=request_id))
