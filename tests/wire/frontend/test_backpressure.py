"""Where the memory of requests is used up, senders wait and clients that do not read lose their calls."""

from __future__ import annotations

from typing import Any, cast

import pytest

from service.errors import ServerBusy
from service.wire.frontend.backpressure import LOOK_S, MAX_STREAMS, WRITE_GRACE_S, Backpressure
from service.wire.frontend.credit import ReadCredit

MIB = 1 << 20


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Core:
    def name_of_peer(self) -> str:
        return "ipv4:10.0.0.1:5"


class FakeCall:
    """A call whose reply has waited for its client since a time, or a stream that wants to read."""

    method, core = "/s/m", Core()

    def __init__(self, since: float | None = None, fed: list[FakeCall] | None = None) -> None:
        self.since = since
        self.cancelled = False
        self._fed = fed

    def stalled(self, before: float) -> bool:
        return self.since is not None and self.since < before

    def cancel(self) -> None:
        self.cancelled = True

    def feed(self) -> None:
        assert self._fed is not None
        self._fed.append(self)


class World:
    def __init__(self) -> None:
        self.clock, self.calls, self.credit = Clock(), set[Any](), ReadCredit(MIB)
        self.backpressure = Backpressure(self.credit, self.calls, self.clock)

    def exhaust(self) -> None:
        self.credit.hold(MIB)
        assert self.credit.exhausted


@pytest.fixture
def w() -> World:
    return World()


def test_starved_streams_are_fed_in_order_once_there_is_room(w: World) -> None:
    fed: list[FakeCall] = []
    streams = [FakeCall(fed=fed) for _ in range(3)]
    w.exhaust()
    for stream in streams:
        w.backpressure.starve(stream)
    assert w.backpressure.due
    w.backpressure.relieve()
    assert fed == []
    w.credit.release(MIB)
    w.backpressure.relieve()
    assert fed == streams
    assert not w.backpressure.due


def test_feeding_stops_where_the_room_is_used_up_again(w: World) -> None:
    fed: list[FakeCall] = []

    class Hungry(FakeCall):
        def feed(self) -> None:
            super().feed()
            w.credit.hold(MIB)

    streams = [Hungry(fed=fed) for _ in range(2)]
    for stream in streams:
        w.backpressure.starve(stream)
    w.backpressure.relieve()
    assert fed == streams[:1]
    w.credit.release(MIB)
    w.backpressure.relieve()
    assert fed == streams


def test_stream_that_ends_is_fed_no_more(w: World) -> None:
    stream = FakeCall(fed=[])
    w.backpressure.stream_opened()
    w.exhaust()
    w.backpressure.starve(stream)
    w.backpressure.stream_ended(stream)
    w.credit.release(MIB)
    assert not w.backpressure.due
    w.backpressure.relieve()


def test_call_whose_client_does_not_read_is_ended_only_where_others_need_the_room(w: World) -> None:
    slow, quick, reading = FakeCall(w.clock.now), FakeCall(w.clock.now + WRITE_GRACE_S), FakeCall()
    w.calls.update({slow, quick, reading})
    w.clock.now += WRITE_GRACE_S + 1.0
    w.backpressure.relieve()
    assert not slow.cancelled
    w.exhaust()
    w.backpressure.relieve()
    assert (slow.cancelled, quick.cancelled, reading.cancelled) == (True, False, False)


def test_clients_are_looked_at_once_in_a_while(w: World) -> None:
    w.exhaust()
    w.clock.now += WRITE_GRACE_S + LOOK_S
    w.backpressure.relieve()
    slow = FakeCall(0.0)
    w.calls.add(slow)
    w.clock.now += LOOK_S / 2
    w.backpressure.relieve()
    assert not slow.cancelled
    w.clock.now += LOOK_S
    w.backpressure.relieve()
    assert slow.cancelled


def test_streams_beyond_the_limit_are_refused_and_an_end_makes_room(w: World) -> None:
    for _ in range(MAX_STREAMS):
        w.backpressure.stream_opened()
        w.backpressure.check_room()
    w.backpressure.stream_opened()
    with pytest.raises(ServerBusy):
        w.backpressure.check_room()
    w.backpressure.stream_ended(cast(Any, FakeCall()))
    w.backpressure.check_room()
