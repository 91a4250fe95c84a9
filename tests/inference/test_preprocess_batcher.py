"""Callers who come together are prepared together, and each gets its own."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from types import SimpleNamespace
from typing import Any, cast

import pytest

from service.errors import InternalError, InvalidInput, ZooError
from service.inference.preprocess_batcher import PreprocessBatcher
from service.types import Instance, Item, TextInstance

pytestmark = pytest.mark.asyncio


class Panic(BaseException):
    """As a library in Rust raises it: no Exception."""


class Task:
    """Answers each text with an item of its length; a text `bad` is refused, `broken` and `panic` raise for all with them."""

    card = SimpleNamespace(name="lengths")
    chunk = 4

    def __init__(self) -> None:
        self.batches: list[list[bytes]] = []
        self.took: list[float] = []
        """The seconds of the calls, in the order in which the callers got them."""
        self.gate = threading.Event()
        self.gate.set()

    def preprocess(self, instances: Sequence[Instance], paths: Sequence[str]) -> list[Item | ZooError]:
        texts = [cast(TextInstance, instance).data for instance in instances]
        self.batches.append(texts)
        assert self.gate.wait(30)
        if b"broken" in texts:
            raise RuntimeError("a mistake")
        if b"panic" in texts:
            raise Panic
        return [
            InvalidInput(path, "bad") if text == b"bad" else Item({}, len(text))
            for text, path in zip(texts, paths, strict=True)
        ]


@pytest.fixture
def task() -> Task:
    return Task()


@pytest.fixture
def prepare(task: Task) -> Iterator[Callable[..., Any]]:
    with ThreadPoolExecutor(1) as pool:
        batcher = PreprocessBatcher(cast(Any, task), pool, 1)

        async def run(*texts: bytes, effective_deadline: float = 0.0) -> Sequence[Item | ZooError]:
            prepared = await batcher.prepare(
                [TextInstance(t) for t in texts], [t.decode() for t in texts], effective_deadline
            )
            task.took.append(prepared.seconds)
            return prepared.outcomes

        yield run
        task.gate.set()


async def settle() -> None:
    """Lets every callback that is due run."""
    for _ in range(3):
        await asyncio.sleep(0)


async def test_requests_of_one_moment_share_a_call(task: Task, prepare: Callable[..., Any]) -> None:
    one, two = await asyncio.gather(prepare(b"a", b"bb"), prepare(b"ccc"))
    assert [item.length for item in (*one, *two)] == [1, 2, 3]
    assert task.batches == [[b"a", b"bb", b"ccc"]]


async def test_requests_that_arrive_while_the_pool_is_busy_share_a_call(
    task: Task, prepare: Callable[..., Any]
) -> None:
    task.gate.clear()
    first = asyncio.create_task(prepare(b"first"))
    await settle()
    rest = [asyncio.create_task(prepare(b"x" * n)) for n in range(1, 7)]
    await settle()
    task.gate.set()
    assert [items[0].length for items in await asyncio.gather(first, *rest)] == [5, 1, 2, 3, 4, 5, 6]
    assert [len(trip) for trip in task.batches] == [1, 4, 2], "a chunk at most, in order"


async def test_request_that_waits_gets_the_seconds_of_its_own_call(task: Task, prepare: Callable[..., Any]) -> None:
    began = time.monotonic()
    task.gate.clear()
    calls = [asyncio.create_task(prepare(b"first"))]
    await settle()
    calls.append(asyncio.create_task(prepare(b"second")))
    await settle()
    task.gate.set()
    await asyncio.gather(*calls)
    first_s, second_s = task.took
    assert first_s > 0.0 < second_s
    assert first_s + second_s <= time.monotonic() - began


async def test_earliest_effective_deadlines_go_first_and_equal_ones_by_age(
    task: Task, prepare: Callable[..., Any]
) -> None:
    task.gate.clear()
    calls = [asyncio.create_task(prepare(b"first"))]
    await settle()
    calls += [asyncio.create_task(prepare(b"late %d" % n, effective_deadline=9.0)) for n in range(4)]
    await settle()
    calls += [asyncio.create_task(prepare(b"urgent %d" % n, effective_deadline=1.0)) for n in range(2)]
    await settle()
    task.gate.set()
    await asyncio.gather(*calls)
    assert task.batches[1:] == [[b"urgent 0", b"urgent 1", b"late 0", b"late 1"], [b"late 2", b"late 3"]]


async def test_a_caller_of_more_than_a_chunk_is_not_cut(task: Task, prepare: Callable[..., Any]) -> None:
    assert len(await prepare(*[b"x"] * 9)) == 9
    assert len(task.batches) == 1


async def test_bad_instance_fails_only_its_own_caller(task: Task, prepare: Callable[..., Any]) -> None:
    one, two = await asyncio.gather(prepare(b"bad", b"ok"), prepare(b"ok"))
    assert isinstance(one[0], InvalidInput)
    assert [item.length for item in (one[1], two[0])] == [2, 2]


@pytest.mark.parametrize("fault", [b"broken", b"panic"])
async def test_error_of_the_task_fails_only_the_instance_that_causes_it(
    prepare: Callable[..., Any], fault: bytes
) -> None:
    one, two = await asyncio.wait_for(asyncio.gather(prepare(b"ok", fault, b"fine"), prepare(b"other")), 30)
    assert isinstance(one[1], InternalError)
    assert [item.length for item in (one[0], one[2], two[0])] == [2, 4, 5]


async def test_request_cancelled_before_the_call_is_not_preprocessed(task: Task, prepare: Callable[..., Any]) -> None:
    task.gate.clear()
    first = asyncio.create_task(prepare(b"first"))
    await settle()
    left, stays = asyncio.create_task(prepare(b"left")), asyncio.create_task(prepare(b"stays"))
    await settle()
    left.cancel()
    with suppress(asyncio.CancelledError):
        await left
    task.gate.set()
    await asyncio.gather(first, stays)
    assert task.batches == [[b"first"], [b"stays"]]


async def test_cancelled_request_behind_others_frees_its_data(task: Task, prepare: Callable[..., Any]) -> None:
    class Photo:
        """As bytes, but weakly referenceable."""

        def decode(self) -> str:
            return "photo"

    task.gate.clear()
    first = asyncio.create_task(prepare(b"first"))
    await settle()
    photo = Photo()
    gone = weakref.ref(photo)
    left = asyncio.create_task(prepare(photo, effective_deadline=9.0))
    before = [asyncio.create_task(prepare(b"before")) for _ in range(8)]
    await settle()
    del photo
    left.cancel()
    await asyncio.wait([left])
    del left
    gc.collect()  # a cancelled future keeps the frames that it went through, and they keep it
    assert gone() is None
    task.gate.set()
    await asyncio.gather(first, *before)


async def test_too_few_outcomes_fail_the_callers(
    task: Task, prepare: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(task, "preprocess", lambda instances, _: [Item({}, 1) for _ in instances][1:])
    one, two = await asyncio.gather(prepare(b"one"), prepare(b"two", b"three"))
    assert [type(outcome) for outcome in (*one, *two)] == [InternalError] * 3


async def test_request_cancelled_during_the_call_leaves_the_others(task: Task, prepare: Callable[..., Any]) -> None:
    task.gate.clear()
    left, stays = asyncio.create_task(prepare(b"left")), asyncio.create_task(prepare(b"stays"))
    await settle()
    left.cancel()
    with suppress(asyncio.CancelledError):
        await left
    task.gate.set()
    assert [item.length for item in await stays] == [5]
