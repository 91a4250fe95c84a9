"""Checks pause while requests are served, in proportion to their time."""

from collections.abc import Callable

import numpy as np
import pytest

from service.tiering import pacing as module
from service.tiering.pacing import PAUSE, POLL_S, PacedRuntime, Pacing
from tests.support.registry.fakes import FakeRuntime


class Waits:
    """In place of an event: notes how long it was waited for."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.ended = False

    def wait(self, seconds: float) -> None:
        self.seconds.append(seconds)

    def is_set(self) -> bool:
        return self.ended

    def set(self) -> None:
        self.ended = True


@pytest.fixture
def waits() -> Waits:
    return Waits()


def paced(waits: Waits, busy: Callable[[], bool]) -> Pacing:
    made = Pacing(busy)
    made._stopped = waits  # type: ignore[assignment]
    return made


def test_idle_server_is_not_waited_for(waits: Waits) -> None:
    it = paced(waits, lambda: False)
    it.pause(1.0)
    assert (waits.seconds, it.paused) == ([], False)


def test_pause_beside_requests_is_in_proportion_to_the_check(waits: Waits) -> None:
    it = paced(waits, lambda: True)
    it.pause(0.1)
    assert sum(waits.seconds) == pytest.approx(0.1 * PAUSE, abs=POLL_S)
    assert it.paused


def test_pause_ends_with_the_last_request(waits: Waits) -> None:
    it = paced(waits, lambda: len(waits.seconds) < 3)
    it.pause(1.0)
    assert len(waits.seconds) == 3


def test_stop_ends_the_pauses(waits: Waits) -> None:
    it = paced(waits, lambda: True)
    it.stop()
    it.pause(1.0)
    assert waits.seconds == []


def test_paced_runtime_pauses_after_a_batch(waits: Waits, monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter((10.0, 10.25))
    monkeypatch.setattr(module, "time", type("Clock", (), {"monotonic": staticmethod(lambda: next(times))}))
    runtime = PacedRuntime(FakeRuntime(), paced(waits, lambda: True))
    got = runtime.run({"x": np.ones((2, 1), np.float32)})
    assert len(got["y"]) == 2
    assert sum(waits.seconds) == pytest.approx(0.25 * PAUSE, abs=POLL_S)
