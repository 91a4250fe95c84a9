"""A clock that a test moves, rows that carry a number, and waiting for a condition."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence

import numpy as np

from service.types import BatchReport, Item, Row

REPORT = BatchReport(0.0, 0.0, 1, 0.0, "cpu", "fp32")
PATIENCE_S = 20.0


class Clock:
    """Seconds, as a test sets them."""

    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def item(value: float) -> Item:
    return Item({"x": np.array([value], np.float32)})


def value_of(row: object) -> float:
    assert isinstance(row, Row), row
    return float(row.tensors["y"][0])


def double(items: Sequence[Item], _: float | None = None) -> list[Row]:
    """The fake network: y = 2 x."""
    return [Row({"y": i.tensors["x"] * 2}, REPORT) for i in items]


QUICK_LOOKS = 50


async def until(condition: Callable[[], object]) -> None:
    """Yields to other tasks and threads until a condition is true. Where there is an event, use `happened`."""
    async with asyncio.timeout(PATIENCE_S):
        looks = 0
        while not condition():
            looks += 1
            await asyncio.sleep(0 if looks < QUICK_LOOKS else 0.001)  # what takes longer is in another thread


async def happened(event: threading.Event) -> None:
    """Waits for an event that another thread sets."""
    assert await asyncio.to_thread(event.wait, PATIENCE_S)
