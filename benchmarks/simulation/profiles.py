"""Devices: the number of lanes, and the times of the networks' batches on a lane, measured or published by the vendor.

The CPU: `measured.py`. The accelerator: `published.py`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from benchmarks.simulation import measured, published
from benchmarks.simulation.table import Table

INFINITY = math.inf
LUCK = 3.0
"""The bound assumes that no batch is faster than its mean by more than so many deviations."""


class BatchTimes(Protocol):
    """The mean time of a batch on a lane."""

    def seconds(self, rows: int, length: float) -> float:
        """Seconds of `rows` rows padded to `length`."""


@dataclass(frozen=True)
class Network:
    """The profile of a network on a device."""

    name: str
    law: BatchTimes
    max_batch_size: int
    sigma: float
    """Of the log-normal noise on a batch's time."""
    varies: bool = False
    """Whether rows differ in length, and are padded to the longest of their batch."""
    usual_length: int = 1

    @cached_property
    def full_s(self) -> float:
        """A full batch of the usual length."""
        return self.law.seconds(self.max_batch_size, self.usual_length)

    @cached_property
    def _best(self) -> dict[tuple[int, float], float]:
        return {}

    def best_s(self, length: int, within_s: float = INFINITY) -> float:
        """The least device seconds of a row of this length in a batch of equal rows that takes at most `within_s`; infinity if
        there is no such batch."""
        found = self._best.get((length, within_s))
        if found is None:
            lucky = math.exp(-LUCK * self.sigma)
            times = ((rows, self.law.seconds(rows, length)) for rows in range(1, self.max_batch_size + 1))
            fitting = [seconds / rows for rows, seconds in times if seconds * lucky <= within_s]
            found = self._best[length, within_s] = min(fitting, default=INFINITY)
        return found


@dataclass(frozen=True)
class Device:
    """Lanes that run batches concurrently, each with the times of the profiles."""

    name: str
    lanes: int
    networks: tuple[Network, ...]

    def __getitem__(self, name: str) -> Network:
        return next(network for network in self.networks if network.name == name)


MEAN_REVIEW = 55
"""Tokens, of `benchmarks.load.arrivals.review_lengths`."""


def _measured(name: str, table: Table, rows: int, sigma: float) -> Network:
    return Network(name, table, rows, sigma, len(table.lengths) > 1, MEAN_REVIEW if len(table.lengths) > 1 else 1)


def _published(name: str, table: Table, rows: int) -> Network:
    return Network(name, table, rows, table.sigma, len(table.lengths) > 1, table.lengths[0])


CPU = Device(
    "cpu",
    lanes=2,
    networks=(
        _measured("image", measured.IMAGE, 8, 0.05),
        _measured("image-eager", measured.IMAGE_EAGER, 8, 0.05),
        _measured("text", measured.TEXT, 16, 0.065),
        _measured("text-eager", measured.TEXT_EAGER, 16, 0.075),
        _measured("sound", measured.SOUND, 8, 0.05),
    ),
)
"""Two cores, one lane each; batch limits as the server sets them."""

A100 = Device(
    "a100",
    lanes=1,
    networks=(
        _published("bert-base", published.BERT_BASE_FP16, 32),
        _published("bert-base-int8", published.BERT_BASE_INT8, 32),
        _published("bert-large", published.BERT_LARGE_FP16, 32),
        _published("bert-large-int8", published.BERT_LARGE_INT8, 32),
        _published("resnet50", published.RESNET50_MIXED, 64),
    ),
)
"""NVIDIA A100 with 40 GB. Larger batches give at most a tenth more rows a second, and wait two or four times as long."""

DEVICES = {device.name: device for device in (CPU, A100)}
