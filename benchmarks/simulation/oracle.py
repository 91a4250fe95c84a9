"""An upper bound on the work that ends in time, for a schedule that knows all future requests.

The bound is that of a fluid relaxation. The device is one machine of `lanes` × its speed that can split work arbitrarily. The
work of a row is its cost in the best batch (full, without padding, and within its deadline), whether or not other rows could
fill that batch. A part of a row in time counts as that part. The value of a row is its work in the best batch of any duration,
so the bound divided by lanes × seconds is a goodput.

Every real schedule is a relaxed schedule: a row answered in time had its share of a batch's time between its arrival and its
deadline, and that share is at least its best cost. A schedule can exceed the bound only through the noise on batches, which has
mean 1; the bound uses the mean. The choice of the work is a linear programme over a polymatroid, which the greedy algorithm
solves (Edmonds, 1970): the rows of the highest value for their work first, as many as possible. Earliest deadline first gives
their number: it serves the most work by its deadlines on a fluid machine (Glover, 1967, for matchings in convex bipartite
graphs).
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence

from benchmarks.simulation.profiles import Network
from benchmarks.simulation.request_load import Load

STEPS = 10
"""Value ÷ work is rounded up to a tenth, which does not lower the bound and keeps the programme small."""


def most_in_time_s(networks: Sequence[Network], lanes: int, load: Load) -> float:
    """Device seconds of rows, each at its cost in the best batch, that can end by their deadlines and before `load.seconds`."""
    groups: list[list[tuple[float, float, float]]] = [[] for _ in range(STEPS + 1)]
    columns = (load.at.tolist(), load.network.tolist(), load.deadline.tolist(), load.length.tolist())
    for at, index, deadline, length in zip(*columns, strict=True):
        network = networks[index]
        within_s = deadline - at if deadline == math.inf else round(deadline - at, 9)
        work = network.best_s(length, within_s)
        if work < math.inf:
            value = network.best_s(length) / work
            groups[math.ceil(value * STEPS - 1e-9)].append((at, min(deadline, load.seconds), work / lanes))
    best = before = 0.0
    chosen: list[tuple[float, float, float]] = []
    for step in range(STEPS, 0, -1):
        if groups[step]:
            chosen = list(heapq.merge(chosen, groups[step]))
            served = _served(chosen)
            best += (served - before) * step / STEPS
            before = served
    return best * lanes


def _served(rows: Sequence[tuple[float, float, float]]) -> float:
    """The most work of (arrival, deadline, work), sorted by arrival, that one fluid machine serves in time: earliest deadline
    first."""
    waiting: list[tuple[float, float]] = []
    now = served = 0.0
    for number, (at, deadline, work) in enumerate(rows):
        now = max(now, at)
        heapq.heappush(waiting, (deadline, work))
        then = rows[number + 1][0] if number + 1 < len(rows) else math.inf
        while waiting and now < then:
            due, remaining = heapq.heappop(waiting)
            done = max(0.0, min(remaining, min(then, due) - now))
            now += done
            served += done
            if done < remaining and now < due:
                heapq.heappush(waiting, (due, remaining - done))
    return served
