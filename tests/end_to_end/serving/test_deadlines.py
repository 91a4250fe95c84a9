"""Callers who leave and callers who are late: the right status, unharmed neighbours, and nothing left behind."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import numpy as np
import pytest

from tests.support.end_to_end.server_process import ServerProcess, until
from tests.support.end_to_end.stubs import (
    RNN,
    TRANSFORMER,
    Scrape,
    Stubs,
    ask,
    expect_error,
    infer,
    outputs,
    read_error,
)

SHORT = infer(RNN, samples=np.zeros((1, 512), np.float32))
LONG = infer(RNN, samples=np.zeros((1, 600 * 16_000), np.float32))
"""Ten minutes of sound, the most that the model takes: one batch that keeps the device busy for half a second. A busy machine
delays this process as well as the server, so the tests count the rows that were executed; they do not ask who was faster."""


def in_flight(server: ServerProcess, model: str = RNN) -> float:
    return Scrape(server).value("zoo_in_flight_requests", model=model)


def executed_rows(server: ServerProcess) -> float:
    return Scrape(server).value("zoo_batch_size_sum", model=RNN)


def executed_with_the_neighbour(server: ServerProcess, busy: grpc.Future) -> float:
    """`executed_rows` once the neighbour is answered and nothing is in flight any more."""
    busy.result()
    until(lambda: in_flight(server) == 0, "nothing in flight")
    return executed_rows(server)


@pytest.fixture
def busy(server: ServerProcess, stubs: Stubs) -> Iterator[grpc.Future]:
    """A call that has the device to itself for a while, and is answered in the end."""
    until(lambda: in_flight(server) == 0, "an idle server")
    neighbour = stubs.inference.ModelInfer.future(LONG, timeout=120)
    until(lambda: in_flight(server) == 1, "a busy device")
    yield neighbour
    assert outputs(neighbour.result())["probabilities"].shape == (1, 18_750)
    until(lambda: in_flight(server) == 0, "nothing in flight")
    assert Scrape(server).value("zoo_queue_depth", model=RNN) == 0


def test_cancelled_call_is_not_executed_and_others_are_answered(
    server: ServerProcess, stubs: Stubs, busy: grpc.Future
) -> None:
    before = executed_rows(server)
    leaver = stubs.inference.ModelInfer.future(SHORT)
    stayer = stubs.inference.ModelInfer.future(SHORT)
    until(lambda: in_flight(server) == 3, "three calls in flight")
    leaver.cancel()
    until(lambda: in_flight(server) < 3, "the server to notice")
    assert leaver.cancelled()
    assert outputs(stayer.result())["frames"].tolist() == [[1]]
    assert executed_with_the_neighbour(server, busy) == before + 2  # of the neighbour and of the caller who stayed
    sizes = Scrape(server).value("zoo_requests_total", model=RNN, method="ModelInfer", code="CANCELLED")
    assert sizes >= 1


def test_call_whose_deadline_passes_in_the_queue_is_not_executed(
    server: ServerProcess, stubs: Stubs, busy: grpc.Future
) -> None:
    # Whether the server's own clock or the client's farewell comes first, it is one of these two codes, once a call.
    def counted() -> float:
        scrape, labels = Scrape(server), {"model": RNN, "method": "ModelInfer"}
        return sum(
            scrape.value("zoo_requests_total", code=code, **labels) for code in ("DEADLINE_EXCEEDED", "CANCELLED")
        )

    before, executed = counted(), executed_rows(server)
    late = [stubs.inference.ModelInfer.future(SHORT, timeout=0.1) for _ in range(5)]
    assert {call.exception().code() for call in late} == {grpc.StatusCode.DEADLINE_EXCEEDED}
    until(lambda: in_flight(server) <= 1, "the server to notice")
    until(lambda: counted() == before + 5, "five calls to be counted")
    assert executed_with_the_neighbour(server, busy) == executed + 1  # of the neighbour alone


def test_timeout_parameter_sets_the_deadline(server: ServerProcess, stubs: Stubs, busy: grpc.Future) -> None:
    before = executed_rows(server)
    late = stubs.inference.ModelInfer.future(infer(RNN, 100_000, samples=np.zeros((1, 512), np.float32)), timeout=120)
    refusal = read_error(late.exception())
    # Told at once, where the server knows that the batch before takes longer; else when the time is over.
    assert refusal.code == "DEADLINE_EXCEEDED"
    reason = {"TOO_LATE": "too_late", "DEADLINE_EXCEEDED": "deadline"}[refusal.reason]
    assert Scrape(server).value("zoo_rejected_total", model=RNN, version="1", reason=reason) >= 1
    assert executed_with_the_neighbour(server, busy) == before + 1


def test_timeout_that_has_passed_on_arrival_is_rejected(server: ServerProcess, stubs: Stubs) -> None:
    refusal = expect_error(lambda: stubs.infer(infer(TRANSFORMER, 1, text=[b"hello"])))
    assert refusal.code == "DEADLINE_EXCEEDED"


def test_long_timeout_has_no_effect(stubs: Stubs) -> None:
    patient = outputs(stubs.infer(infer(TRANSFORMER, 60_000_000, text=[b"hello"])))
    plain = outputs(stubs.infer(infer(TRANSFORMER, text=[b"hello"])))
    np.testing.assert_allclose(patient["embedding"], plain["embedding"], atol=1e-5)


def test_cancelled_stream_leaves_nothing_in_flight(server: ServerProcess, stubs: Stubs, busy: grpc.Future) -> None:
    before = executed_rows(server)
    stream = stubs.inference.ModelStreamInfer(iter([SHORT, SHORT, SHORT]))
    until(lambda: in_flight(server) == 4, "four calls in flight")
    stream.cancel()
    until(lambda: in_flight(server) <= 1, "the server to notice")
    assert executed_with_the_neighbour(server, busy) == before + 1


def test_row_beyond_the_queue_limit_is_rejected_with_a_retry_delay(
    server: ServerProcess, stubs: Stubs, busy: grpc.Future
) -> None:
    limit = 512
    rows = infer(RNN, samples=np.zeros((limit - 1, 512), np.float32))
    filler = stubs.inference.ModelInfer.future(rows, timeout=120)
    until(lambda: in_flight(server) == 2, "a full queue")
    refusal = expect_error(lambda: stubs.infer(SHORT))
    assert (refusal.code, refusal.reason) == ("RESOURCE_EXHAUSTED", "QUEUE_FULL")
    assert refusal.message == "model 'silero_vad' has 512 rows in flight and its limit is 512; try again later"
    assert refusal.retry_s is not None
    assert refusal.retry_s > 0
    assert stubs.predict(ask(TRANSFORMER, {"text": "another model has its own queue"})).version == 1
    assert Scrape(server).value("zoo_rejected_total", model=RNN, version="1", reason="queue_full") >= 1
    assert outputs(filler.result())["frames"].shape == (limit - 1, 1)
