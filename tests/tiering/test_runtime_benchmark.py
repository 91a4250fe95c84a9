"""Texts are padded to a whole vector only where that was measured to be faster."""

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from service.tiering.runtime_benchmark import _padding_gains, padding_gains
from service.types import Array, Item, Tensors


class Network:
    """Takes as many seconds as `cost` says for a length, or for one row of it `alone`, on its own clock."""

    device, precision, memory_bytes = "cpu", "bf16", 0

    def __init__(self, cost: dict[int, float], alone: dict[int, float]) -> None:
        self.cost, self.alone = cost, alone
        self.now = 0.0

    def run(self, tensors: Tensors) -> dict[str, Array]:
        rows, length = tensors["ids"].shape
        self.now += self.alone.get(length, self.cost[length]) if rows == 1 else self.cost[length]
        return {}

    def free(self) -> None:
        raise AssertionError("it goes on")


def gains(
    cost: dict[int, float],
    longest: int = 9,
    most: int | None = 256,
    heeds: bool = True,
    alone: dict[int, float] | None = None,
    how: Callable[..., bool] = padding_gains,
) -> bool:
    def collate(items: Sequence[Item], least_length: int = 0) -> tuple[dict[str, Array], float]:
        length = max(longest, least_length) if heeds else longest
        return {"ids": np.zeros((len(items), length), np.int64)}, 0.0

    network = Network(cost, alone or {})
    card = SimpleNamespace(name="tiny", batching=SimpleNamespace(max_length=most))
    task: Any = SimpleNamespace(collate=collate, card=card)
    items = [Item({}, length) for length in (3, longest)]
    return how(task, network, items, lambda: network.now)


@pytest.mark.parametrize(("padded_s", "gained"), [(0.8, True), (0.94, True), (0.96, False), (1.2, False)])
def test_padding_gain_is_decided_by_the_clock(padded_s: float, gained: bool) -> None:
    assert gains({28: 1.0, 32: padded_s}) is gained


@pytest.mark.parametrize(("alone_s", "gained"), [(1.05, True), (1.2, False)])
def test_padding_that_slows_single_rows_is_refused(alone_s: float, gained: bool) -> None:
    assert gains({28: 1.0, 32: 0.8}, alone={28: 1.0, 32: alone_s}) is gained


def test_network_at_its_longest_text_gets_no_padding() -> None:
    assert not gains({28: 1.0, 32: 0.1}, most=30)


def test_inputs_unchanged_by_padding_are_not_timed() -> None:
    assert not gains({}, heeds=False)


@pytest.mark.parametrize(("longest", "timed_at"), [(1, 28), (28, 28), (29, 44), (40, 44)])
def test_padding_is_timed_at_the_length_of_the_items(longest: int, timed_at: int) -> None:
    assert gains({timed_at: 1.0, timed_at + 4: 0.5}, longest=longest)


def test_network_that_fails_on_padded_batches_gets_no_padding() -> None:
    fails_at_32 = {28: 1.0}
    with pytest.raises(KeyError):
        gains(fails_at_32)
    assert gains(fails_at_32, how=_padding_gains) is False
