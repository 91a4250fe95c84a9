"""Decoded inputs reach the lanes in every arrangement of threads."""

import threading
from typing import Any

import numpy as np
import pytest

from benchmarks.participants.decoding import ARRANGEMENTS, Decoders
from service.types import Instance, Item, TextInstance

INSTANCES: list[Instance] = [TextInstance(b"a"), TextInstance(b"bb"), TextInstance(b"ccc")]


class FakeTask:
    """An item's length is that of the text."""

    def preprocess(self, instances: list[Any], paths: list[str]) -> list[Item]:
        return [Item({"x": np.zeros(1)}, len(instance.data)) for instance in instances]


def decoders(arrangement: str, rows: int) -> Decoders:
    task: Any = FakeTask()
    return Decoders(task, INSTANCES, arrangement, rows, cores=2)


@pytest.mark.parametrize("arrangement", ARRANGEMENTS)
def test_lanes_get_whole_batches_of_all_inputs(arrangement: str) -> None:
    with decoders(arrangement, rows=6) as made:
        batches = [made.take() for _ in range(3)]

    assert [len(batch) for batch in batches] == [6, 6, 6]
    assert {item.length for batch in batches for item in batch} == {1, 2, 3}


@pytest.mark.parametrize("arrangement", ARRANGEMENTS)
def test_decoders_end_with_the_block(arrangement: str) -> None:
    before = threading.active_count()
    with decoders(arrangement, rows=2) as made:
        made.take()
    assert threading.active_count() == before
