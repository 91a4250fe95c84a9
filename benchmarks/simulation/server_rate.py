"""The Server rate of MLPerf that the scheduler's policy reaches in the simulator with the costs of a real run.

The network's batches take the times that were measured in-process. The other costs of a call share the same cores, so they are
added to every row, and are chosen so that the simulated Offline rate is the measured one. The time that a single caller waits
beyond that is neither queue nor network, and is taken off the bound.
"""

from __future__ import annotations

import math
import statistics
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from benchmarks.load.arrivals import largest_rate
from benchmarks.simulation.contenders import Zoo
from benchmarks.simulation.engine import log_normal, simulate
from benchmarks.simulation.profiles import Network
from benchmarks.simulation.request_load import Load, poisson

PERCENTILE, CONFIDENCE = 0.99, 0.99
SEEDS = 9
"""A run of 500 queries is a small sample; the rate is the median over so many seeds."""
LARGEST_SIGMA = 0.5
"""Of the noise on a batch's time: more of it would be another program's work in the measurement."""


@dataclass(frozen=True)
class MeasuredBatches:
    """The time of a batch by its rows, interpolated between the measured sizes, plus what each row costs beside the network."""

    batch_s: Mapping[int, float]
    beside_s: float = 0.0

    def seconds(self, rows: int, length: float) -> float:
        """Seconds of a batch; all rows have the same length. Sizes beyond the largest follow its rate."""
        sizes = sorted(self.batch_s)
        if rows >= sizes[-1]:
            network = self.batch_s[sizes[-1]] * rows / sizes[-1]
        else:
            above = bisect_right(sizes, rows)
            few, many = sizes[max(above - 1, 0)], sizes[above]
            part = (rows - few) / (many - few)
            network = (1.0 - part) * self.batch_s[few] + part * self.batch_s[many]
        return network + rows * self.beside_s


@dataclass(frozen=True)
class ServerRun:
    """The figures of a real run: rates in calls a second, times in seconds."""

    batch_s: Mapping[int, float]
    sigma: float
    lanes: int
    max_batch_size: int
    offline_s: float
    offline_rows: float
    """Mean rows a batch at the Offline rate."""
    single_s: float
    bound_s: float
    queries: int
    """Least number of queries of a trial."""
    seconds: float
    """Least length of a trial."""
    probes: int
    lowest: float
    """Share of the Offline rate at which the search begins."""


def simulated_rate(run: ServerRun, seed: int) -> dict[str, float]:
    """The largest rate that LoadGen would call valid, as the median over SEEDS, and the two costs that were fitted."""
    bare = MeasuredBatches(run.batch_s)
    rows = max(1.0, run.offline_rows)
    beside_s = max(0.0, run.lanes / run.offline_s - _at(bare, rows) / rows)
    law = MeasuredBatches(run.batch_s, beside_s)
    waits_s = max(0.0, run.single_s - law.seconds(1, 1))
    network = Network("measured", law, run.max_batch_size, min(run.sigma, LARGEST_SIGMA))
    rates = [
        largest_rate(
            partial(_holds, run, network, run.bound_s - waits_s, seed + turn),
            run.lowest * run.offline_s,
            run.offline_s,
            run.probes,
        )
        for turn in range(SEEDS)
    ]
    return {"server_s": statistics.median(rates), "beside_ms": 1000.0 * beside_s, "waits_ms": 1000.0 * waits_s}


def _holds(run: ServerRun, network: Network, within_s: float, seed: int, rate: float) -> bool:
    count = max(run.queries, round(rate * run.seconds))
    at = poisson(rate, count, np.random.default_rng(seed))
    zeros = np.zeros(count, np.int64)
    load = Load(
        at, zeros, at + within_s, zeros + 1, float(at[-1]) + 1e9
    )  # answers after the last arrival count as well
    done = simulate([network], run.lanes, load, Zoo([network], run.lanes, [1.0]), log_normal([network], seed))
    return stops_early(count, count - done.tallies[0].in_time)


def stops_early(queries: int, late: int) -> bool:
    """LoadGen's early stopping (MLPerf inference rules): whether `late` of `queries` prove, with 99 % confidence, that at least
    99 % are in time. With none late it takes 459 queries."""
    miss = 1.0 - PERCENTILE
    log_terms = (
        math.lgamma(queries + 1)
        - math.lgamma(k + 1)
        - math.lgamma(queries - k + 1)
        + k * math.log(miss)
        + (queries - k) * math.log(PERCENTILE)
        for k in range(min(late, queries) + 1)
    )
    return sum(math.exp(term) for term in log_terms) <= 1.0 - CONFIDENCE


def _at(law: MeasuredBatches, rows: float) -> float:
    """A batch of a mean number of rows, between two whole numbers."""
    few = math.floor(rows)
    part = rows - few
    return (1.0 - part) * law.seconds(few, 1) + part * law.seconds(few + 1, 1)
