"""A discrete-event simulation: requests arrive, lanes take batches from a contender, batches end.

A lane calls the contender when it becomes free, and all free lanes call it after every event. The engine draws the time of a
batch from the law of its network times seeded log-normal noise of mean 1, so no contender knows it beforehand.
"""

from __future__ import annotations

import heapq
import math
import random
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from benchmarks.simulation.profiles import Network
from benchmarks.simulation.request_load import Load

INFINITY = math.inf
WAITING, ANSWERED, REFUSED, DROPPED = "waiting", "answered", "refused", "dropped"


class Request:
    """One row; its fate is set once."""

    __slots__ = ("at", "deadline", "fate", "length", "network")

    def __init__(self, network: int, at: float, deadline: float, length: int) -> None:
        self.network = network
        self.at = at
        self.deadline = deadline
        self.length = length
        self.fate = WAITING


@dataclass(slots=True)
class SimulatedBatch:
    """The answer of a contender to a free lane. A batch without rows needs no lane and only reports dropped rows."""

    network: int
    rows: list[Request]
    dropped: Sequence[Request] = ()
    token: object = None
    """For the contender's own use."""
    length: int = 0
    started: float = 0.0


class Contender(Protocol):
    """A batching policy. It sees requests when they arrive and batches when they end, and nothing of the future."""

    work_conserving: bool
    """Whether it leaves no lane idle while a row waits."""

    def arrive(self, request: Request, now: float) -> bool:
        """Admit a request, or refuse it (False)."""

    def next(self, now: float) -> SimulatedBatch | float:
        """The batch for a free lane, or the time of the next call (infinity: after the next event)."""

    def finished(self, job: SimulatedBatch, now: float) -> None:
        """A batch has ended."""

    @property
    def waiting(self) -> int:
        """Number of waiting rows."""


@dataclass(slots=True)
class Tally:
    """The counts and times of the requests to one network."""

    fates: dict[str, int] = field(default_factory=lambda: {ANSWERED: 0, REFUSED: 0, DROPPED: 0})
    in_time: int = 0
    """Answered by their deadline, and before the last arrival."""
    late: int = 0
    """Answered after their deadline."""
    in_time_s: float = 0.0
    """Device seconds of the rows in time, each at its cost in the best batch."""
    latencies_s: array[float] = field(default_factory=lambda: array("d"))
    """Of all answered requests, in time or late."""
    busy_s: float = 0.0
    batches: int = 0
    rows: int = 0
    cells: int = 0
    padded: int = 0


@dataclass(slots=True)
class Run:
    """One contender under one load."""

    tallies: list[Tally]
    idle_s: float = 0.0
    """Lane seconds of idle lanes while a row waited."""
    seconds: float = 0.0
    """Time of the last arrival."""

    @property
    def ended(self) -> int:
        """Requests with a fate."""
        return sum(sum(tally.fates.values()) for tally in self.tallies)


def log_normal(networks: Sequence[Network], seed: int) -> Callable[[int], float]:
    """Noise of mean 1 for a batch of network `index`."""
    rng = random.Random(seed)
    parameters = [(-0.5 * network.sigma**2, network.sigma) for network in networks]
    return lambda index: math.exp(rng.gauss(*parameters[index]))


def simulate(
    networks: Sequence[Network],
    lanes: int,
    load: Load,
    contender: Contender,
    noise: Callable[[int], float],
) -> Run:
    """Run until every request has ended. Raises RuntimeError if a request ends twice, or never."""
    tallies = [Tally() for _ in networks]
    run = Run(tallies, seconds=load.seconds)
    at, network, deadline, length = (
        load.at.tolist(),
        load.network.tolist(),
        load.deadline.tolist(),
        load.length.tolist(),
    )
    arrived, count, until = 0, len(at), load.seconds
    ends: list[tuple[float, int, SimulatedBatch]] = []
    started, free, wake, now = 0, lanes, INFINITY, 0.0
    laws = [one.law for one in networks]
    while True:
        then = at[arrived] if arrived < count else INFINITY
        if ends and ends[0][0] <= then:
            then = ends[0][0]
        then = max(now, min(then, wake))
        if free and then > now and contender.waiting:
            run.idle_s += free * ((then if then < INFINITY else now) - now)
        if then == INFINITY:
            break
        now = then
        if ends and ends[0][0] <= now:
            job = heapq.heappop(ends)[2]
            free += 1
            contender.finished(job, now)
            tally, best_s = tallies[job.network], networks[job.network].best_s
            for request in job.rows:
                _end(request, ANSWERED, tally)
                tally.latencies_s.append(now - request.at)
                if now > request.deadline:
                    tally.late += 1
                elif now <= until:
                    tally.in_time += 1
                    tally.in_time_s += best_s(request.length)
        elif arrived < count and at[arrived] <= now:
            request = Request(network[arrived], now, deadline[arrived], length[arrived])
            arrived += 1
            if not contender.arrive(request, now):
                _end(request, REFUSED, tallies[request.network])
        wake = INFINITY
        while free:
            step = contender.next(now)
            if not isinstance(step, SimulatedBatch):
                wake = step
                break
            for request in step.dropped:
                _end(request, DROPPED, tallies[request.network])
            rows = step.rows
            if not rows:
                continue
            free -= 1
            tally = tallies[step.network]
            step.started, step.length = now, max(request.length for request in rows)
            seconds = laws[step.network].seconds(len(rows), step.length) * noise(step.network)
            tally.busy_s += seconds
            tally.batches += 1
            tally.rows += len(rows)
            tally.cells += len(rows) * step.length
            tally.padded += len(rows) * step.length - sum(request.length for request in rows)
            started += 1
            heapq.heappush(ends, (now + seconds, started, step))
    if run.ended != count:
        raise RuntimeError(f"{count - run.ended} requests never ended")
    return run


def _end(request: Request, fate: str, tally: Tally) -> None:
    if request.fate is not WAITING:
        raise RuntimeError(f"a request that was {request.fate} is now {fate}")
    request.fate = fate
    tally.fates[fate] += 1
