"""What nobody can do better than: an upper bound on the work that ends in time, for one who knows all that is to come.

The bound is that of a fluid relaxation. The device is one machine of `lanes` × its speed that can split work as it likes; a row
is as much work as it costs in the best batch for it (full, without padding, and no longer than its deadline allows), without
regard to whether there are others to fill that batch; and part of a row in time counts as that part. What a row is worth is its
work in the best batch there is, so the bound divided by lanes × seconds is a goodput.

Every real schedule is one of the relaxed ones: a row answered in time had its share of a batch's time between its arrival and its
deadline, and that share is no less than its best. So none does better but by luck: the noise on batches has mean 1, and the bound
takes the mean. Which part of the work is done is a linear programme over a polymatroid, which being greedy solves (Edmonds,
1970): the rows worth most for their work first, as much of them as can be. How much that is, earliest deadline first tells: it
serves the most work by its deadlines on a fluid machine (Glover, 1967, for matchings in convex bipartite graphs).
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence

from benchmarks.simulation.profiles import Network
from benchmarks.simulation.request_load import Load

STEPS = 10
"""Worth for work is rounded up to a tenth, which makes the bound no lower and the programme small."""


def most_in_time_s(networks: Sequence[Network], lanes: int, load: Load) -> float:
    """Device seconds of rows, each at its cost in the best batch, that can end by their deadlines and before `load.seconds`."""
    groups: list[list[tuple[float, float, float]]] = [[] for _ in range(STEPS + 1)]
    columns = (load.at.tolist(), load.network.tolist(), load.deadline.tolist(), load.length.tolist())
    for at, index, deadline, length in zip(*columns, strict=True):
        network = networks[index]
        within_s = deadline - at if deadline == math.inf else round(deadline - at, 9)
        work = network.best_s(length, within_s)
        if work < math.inf:
            worth = network.best_s(length) / work
            groups[math.ceil(worth * STEPS - 1e-9)].append((at, min(deadline, load.seconds), work / lanes))
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
    """Most work of (arrival, deadline, work), sorted by arrival, that one fluid machine serves in time: by earliest deadline."""
    waiting: list[tuple[float, float]] = []
    now = served = 0.0
    for number, (at, deadline, work) in enumerate(rows):
        now = max(now, at)
        heapq.heappush(waiting, (deadline, work))
        then = rows[number + 1][0] if number + 1 < len(rows) else math.inf
        while waiting and now < then:
            due, left = heapq.heappop(waiting)
            done = max(0.0, min(left, min(then, due) - now))
            now += done
            served += done
            if done < left and now < due:
                heapq.heappush(waiting, (due, left - done))
    return served
