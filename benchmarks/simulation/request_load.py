"""The requests to a simulated device: seeded, and equal for every contender."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.load.arrivals import LONGEST, REVIEW_MEAN_LOG, REVIEW_SIGMA_LOG, SHORTEST

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

ON_SHARE, ON_FACTOR = 0.25, 3.0
"""Bursty traffic is three times the mean rate a quarter of the time, and a third of it for the rest."""


@dataclass(frozen=True)
class Stream:
    """The requests to one network: their share, deadlines and lengths."""

    share: float
    """Of all requests."""
    within_s: tuple[float, ...]
    """Deadlines after arrival, equally likely; infinity for none."""
    varies: bool = False
    """Whether lengths are log-normal as of reviews; else 1."""
    stretch: float = 1.0
    """Factor of these lengths and their bounds."""


@dataclass(frozen=True)
class Load:
    """Requests in order of arrival. Times in seconds; deadlines are absolute; `seconds` is the time of the last arrival."""

    at: Floats
    network: Integers
    deadline: Floats
    length: Integers
    seconds: float

    def __len__(self) -> int:
        return len(self.at)


def poisson(rate: float, count: int, generator: np.random.Generator) -> Floats:
    """Times of `count` arrivals of a Poisson process at `rate` a second."""
    times: Floats = np.cumsum(generator.exponential(1.0 / rate, count))
    return times


def bursty(rate: float, count: int, generator: np.random.Generator, cycle_s: float) -> Floats:
    """Arrivals at the same mean rate in bursts: a Poisson process whose rate a Markov chain switches between two values (MMPP
    with two states: Fischer and Meier-Hellstern, 1993). A burst and the calm after it last `cycle_s` on average."""
    unit = poisson(1.0, count, generator)  # in units of the expected number of arrivals; mapped to time below
    calm_factor = (1.0 - ON_SHARE * ON_FACTOR) / (1.0 - ON_SHARE)
    time, expected = [0.0], [0.0]
    on = bool(generator.random() < ON_SHARE)
    while expected[-1] < unit[-1]:
        duration = generator.exponential(cycle_s * (ON_SHARE if on else 1.0 - ON_SHARE))
        time.append(time[-1] + duration)
        expected.append(expected[-1] + rate * (ON_FACTOR if on else calm_factor) * duration)
        on = not on
    times: Floats = np.interp(unit, expected, time)
    return times


def review_lengths(count: int, stretch: float, generator: np.random.Generator) -> Integers:
    """Tokens: log-normal as in `benchmarks.load.arrivals`, times `stretch`; lengths outside of the bounds are drawn again."""
    drawn_lengths = np.empty(0)
    while len(drawn_lengths) < count:
        drawn = generator.lognormal(REVIEW_MEAN_LOG, REVIEW_SIGMA_LOG, count)
        drawn_lengths = np.concatenate([drawn_lengths, drawn[(drawn >= SHORTEST) & (drawn <= LONGEST)]])
    lengths: Integers = np.rint(drawn_lengths[:count] * stretch).astype(np.int64)
    return lengths


def draw(
    streams: Sequence[Stream], rate: float, count: int, seed: int, *, pattern: str = "poisson", cycle_s: float = 1.0
) -> Load:
    """`count` requests at `rate` a second on average. `pattern`: poisson or bursty."""
    generator = np.random.default_rng(seed)
    at = poisson(rate, count, generator) if pattern == "poisson" else bursty(rate, count, generator, cycle_s)
    shares = np.array([stream.share for stream in streams])
    network = generator.choice(len(streams), count, p=shares / shares.sum())
    deadline, length = np.empty(count), np.ones(count, np.int64)
    for index, stream in enumerate(streams):
        own = np.flatnonzero(network == index)
        deadline[own] = at[own] + generator.choice(np.array(stream.within_s), len(own))
        if stream.varies:
            length[own] = review_lengths(len(own), stream.stretch, generator)
    return Load(at, network, deadline, length, float(at[-1]))
