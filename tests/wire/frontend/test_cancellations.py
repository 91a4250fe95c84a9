"""Cancellations at random moments leave nothing behind."""

import asyncio
import gc
import random
import tracemalloc
from collections import Counter
from collections.abc import Callable

import pytest

from service.wire.frontend import frontend
from service.wire.frontend.calls import UnaryCall
from service.wire.frontend.streams import StreamCall
from tests.support.descriptors import open_descriptors
from tests.support.wire.calls import until
from tests.support.wire.frontend_methods import STREAM, UNARY, Bytes, EchoStream, Methods, Served, served
from tests.support.wire.raw_http2 import END_STREAM, RawConnection, connected, message

pytestmark = [pytest.mark.asyncio, pytest.mark.slow]
ROUND = 1000
CONNECTIONS = 4
WARM_UP, CANCELLATIONS = 2 * ROUND, 10 * ROUND


class Handlers:
    """Answer at random: at once, after some turns of the loop, or never. They count how calls ended."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self.waiting = 0
        self.ends = Counter[str]()

    def unary(self, call: UnaryCall) -> None:
        call.on_cancel = lambda: self.ends.update(["cancelled"])
        self._later(lambda: call.reply(call.message))

    def open(self, call: StreamCall) -> EchoStream:
        handlers = self

        class Later(EchoStream):
            def begin(self, data: bytes) -> None:
                handlers._later(lambda: call.reply(Bytes(data)))

            def ended(self, error: BaseException | None) -> None:
                handlers.ends.update(["left" if error else "complete"])

        return Later(call)

    def _later(self, answer: Callable[[], None]) -> None:
        delay = self._chance.choice((0.0, 0.0005, 0.002, None))
        if delay == 0.0:
            answer()
        elif delay is not None:
            self.waiting += 1
            asyncio.get_running_loop().call_later(delay, self._answer, answer)

    def _answer(self, answer: Callable[[], None]) -> None:
        self.waiting -= 1
        answer()


async def _play(raw: RawConnection, stream: int, chance: random.Random) -> None:
    """One call that is cancelled after its headers, within its message, after it, or after its reply."""
    path = chance.choice((UNARY, STREAM))
    whole = message(bytes(chance.randrange(2000)))
    raw.headers(stream, path)
    steps = [lambda: raw.data(stream, whole[:20]), lambda: raw.data(stream, whole[20:])]
    if path == UNARY or chance.random() < 0.3:
        steps.append(lambda: raw.data(stream, b"", END_STREAM))
    for step in steps[: chance.randrange(len(steps) + 1)]:
        if chance.random() < 0.5:
            await asyncio.sleep(chance.choice((0.0, 0.0003, 0.001)))
        if stream in raw.statuses:
            return
        step()
    if chance.random() < 0.5:
        await asyncio.sleep(chance.choice((0.0, 0.001, 0.003)))
    raw.reset(stream)


async def _cancel_at_random(s: Served, count: int, chance: random.Random) -> None:
    for _ in range(0, count, ROUND):
        async with asyncio.TaskGroup() as group:
            for _ in range(CONNECTIONS):
                group.create_task(_connection(s, ROUND // CONNECTIONS, random.Random(chance.random())))
        await s.until_idle()


async def _connection(s: Served, count: int, chance: random.Random) -> None:
    async with connected(s.port.number) as raw:
        for start in range(0, count, 50):
            await asyncio.gather(*(_play(raw, 2 * i + 1, chance) for i in range(start, start + 50)))
        if chance.random() < 0.5:  # else the connection breaks with calls on it
            async with asyncio.timeout(20.0):
                raw.call(2 * count + 1, UNARY, b"", grpc_timeout="1S")
                await raw.status(2 * count + 1)


def _descriptors() -> int:
    return open_descriptors()


async def test_cancellations_at_random_moments_leave_memory_descriptors_and_credit_unchanged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(frontend, "ARMED", 32)  # all of them are used, and counted, in the warm-up
    chance = random.Random(16)
    handlers = Handlers(chance)
    async with served(Methods(handlers.unary, handlers.open)) as s:
        tracemalloc.start()
        try:
            await _cancel_at_random(s, WARM_UP, chance)
            await until(lambda: not handlers.waiting)
            gc.collect()
            descriptors, before = _descriptors(), tracemalloc.take_snapshot()
            await _cancel_at_random(s, CANCELLATIONS, chance)
            await until(lambda: not handlers.waiting)
            gc.collect()
            after = tracemalloc.take_snapshot()
        finally:
            tracemalloc.stop()
    grown = after.compare_to(before, "filename")
    assert sum(each.size_diff for each in grown) < 100_000, grown[:10]
    assert (
        sum(each.count_diff for each in grown if "service/wire/frontend" in each.traceback[0].filename)
        < CANCELLATIONS / 20
    )
    assert _descriptors() <= descriptors
    assert handlers.ends["cancelled"] > CANCELLATIONS / 20  # the moments are of every kind
    assert handlers.ends["left"] > CANCELLATIONS / 20
