"""What comes to a device, and when: seeded, and the same for every contender."""

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
    """What one network is asked for: its part of the requests, their deadlines and lengths."""

    share: float
    """Of all requests."""
    within_s: tuple[float, ...]
    """Deadlines after arrival, each as likely; infinity for none."""
    varies: bool = False
    """Log-normal lengths as of reviews, else 1."""
    stretch: float = 1.0
    """What those lengths are multiplied by, their bounds too."""


@dataclass(frozen=True)
class Load:
    """Requests in order of arrival. Seconds; deadlines are absolute; `seconds` is how long they keep coming."""

    at: Floats
    network: Integers
    deadline: Floats
    length: Integers
    seconds: float

    def __len__(self) -> int:
        return len(self.at)


def poisson(rate: float, count: int, generator: np.random.Generator) -> Floats:
    """Moments of `count` arrivals at `rate` a second, without memory."""
    moments: Floats = np.cumsum(generator.exponential(1.0 / rate, count))
    return moments


def bursty(rate: float, count: int, generator: np.random.Generator, cycle_s: float) -> Floats:
    """The same on the average, in bursts: a Poisson process whose rate is switched between two by a Markov chain (MMPP with
    two states: Fischer and Meier-Hellstern, 1993). A burst and the calm after it last `cycle_s` in the mean."""
    unit = poisson(1.0, count, generator)  # by the number expected so far; to be bent into time
    calm_factor = (1.0 - ON_SHARE * ON_FACTOR) / (1.0 - ON_SHARE)
    time, expected = [0.0], [0.0]
    on = bool(generator.random() < ON_SHARE)
    while expected[-1] < unit[-1]:
        lasts = generator.exponential(cycle_s * (ON_SHARE if on else 1.0 - ON_SHARE))
        time.append(time[-1] + lasts)
        expected.append(expected[-1] + rate * (ON_FACTOR if on else calm_factor) * lasts)
        on = not on
    moments: Floats = np.interp(unit, expected, time)
    return moments


def review_lengths(count: int, stretch: float, generator: np.random.Generator) -> Integers:
    """Tokens: log-normal as in `benchmarks.load.arrivals`, times `stretch`, those beyond its bounds drawn again."""
    kept = np.empty(0)
    while len(kept) < count:
        drawn = generator.lognormal(REVIEW_MEAN_LOG, REVIEW_SIGMA_LOG, count)
        kept = np.concatenate([kept, drawn[(drawn >= SHORTEST) & (drawn <= LONGEST)]])
    lengths: Integers = np.rint(kept[:count] * stretch).astype(np.int64)
    return lengths


def draw(
    streams: Sequence[Stream], rate: float, count: int, seed: int, *, pattern: str = "poisson", cycle_s: float = 1.0
) -> Load:
    """`count` requests at `rate` a second in the mean. `pattern`: poisson or bursty."""
    generator = np.random.default_rng(seed)
    at = poisson(rate, count, generator) if pattern == "poisson" else bursty(rate, count, generator, cycle_s)
    shares = np.array([stream.share for stream in streams])
    network = generator.choice(len(streams), count, p=shares / shares.sum())
    deadline, length = np.empty(count), np.ones(count, np.int64)
    for index, stream in enumerate(streams):
        mine = np.flatnonzero(network == index)
        deadline[mine] = at[mine] + generator.choice(np.array(stream.within_s), len(mine))
        if stream.varies:
            length[mine] = review_lengths(len(mine), stream.stretch, generator)
    return Load(at, network, deadline, length, float(at[-1]))
