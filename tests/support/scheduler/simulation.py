"""A device in virtual time: the real policy, arrivals from a list, batches as long as a law says. No threads, no sleep."""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from service.scheduler.cost import Law
from service.scheduler.policy import Batch, DevicePolicy, NetworkQueue, QueuedRow
from service.types import Item


@dataclass(frozen=True, slots=True)
class Arrival:
    """One row that comes at `at` and must be answered within `within_s`."""

    at: float
    queue: NetworkQueue
    within_s: float = 60.0
    length: int = 1
    priority: int = 0


@dataclass(slots=True)
class Outcome:
    """The outcome of one arrival."""

    arrival: Arrival
    fate: str = "waiting"
    """refused, late, too_late, answered"""
    started: float = 0.0
    ended: float = 0.0

    @property
    def good(self) -> bool:
        return self.fate == "answered" and self.ended <= self.arrival.at + self.arrival.within_s


@dataclass(slots=True)
class Run:
    """All that happened."""

    outcomes: list[Outcome]
    batches: list[tuple[str, int, int, float, float]] = field(default_factory=list)
    """Queue, rows, length, started, ended."""
    busy_s: dict[str, float] = field(default_factory=dict)
    padded: int = 0
    cells: int = 0

    @property
    def padding_ratio(self) -> float:
        return self.padded / max(1, self.cells)

    def good(self, begin: float = 0.0, end: float = float("inf")) -> int:
        return sum(o.good for o in self.outcomes if begin <= o.arrival.at + o.arrival.within_s < end)


def simulate(
    policy: DevicePolicy,
    arrivals: Iterable[Arrival],
    laws: dict[str, Law],
    *,
    admit: bool = True,
    noise: Callable[[], float] = lambda: 1.0,
    until: float = float("inf"),
) -> Run:
    """Runs until everything is answered, or until a moment."""
    run = Run([])
    counter = itertools.count()
    events: list[tuple[float, int, Arrival | Batch | None]] = []
    coming = iter(sorted(arrivals, key=lambda a: a.at))
    lanes = policy.lanes

    def come() -> None:
        if (arrival := next(coming, None)) is not None:
            heapq.heappush(events, (arrival.at, next(counter), arrival))

    def tell(entries: list[QueuedRow], fate: str, now: float) -> None:
        for entry in entries:
            outcome = entry.owner
            assert isinstance(outcome, Outcome)
            assert outcome.fate == "waiting", "a row has one fate"
            outcome.fate, outcome.ended = fate, now

    come()
    while events:
        now, _, event = heapq.heappop(events)
        if now > until:
            break
        if isinstance(event, Arrival):
            outcome = Outcome(event)
            run.outcomes.append(outcome)
            deadline = now + event.within_s
            if admit and policy.refuse(event.queue, 1, deadline, now, event.priority) is not None:
                outcome.fate, outcome.ended = "refused", now
            else:
                event.queue.push(Item({}, event.length), outcome, 0, deadline, now, event.priority)
            come()
        elif event is not None:
            lanes += 1
            policy.finished(event, now)
            tell([entry for entry, _ in event.rows], "answered", now)
        while lanes:
            step = policy.next(now)
            if not isinstance(step, Batch):
                if step < float("inf"):
                    heapq.heappush(events, (step, next(counter), None))
                break
            tell(step.expired, "late", now)
            tell(step.too_late, "too_late", now)
            if not step.rows:
                continue
            lanes -= 1
            name, rows = step.queue.name, len(step.rows)
            length = max(entry.length for entry, _ in step.rows)
            seconds = laws[name].seconds(rows, length) * noise()
            for entry, _ in step.rows:
                assert isinstance(entry.owner, Outcome)
                entry.owner.started = now
                run.padded += length - entry.length
                run.cells += length
            run.batches.append((name, rows, length, now, now + seconds))
            run.busy_s[name] = run.busy_s.get(name, 0.0) + seconds
            heapq.heappush(events, (now + seconds, next(counter), step))
    return run


def poisson(rng: random.Random, rate: float, seconds: float) -> list[float]:
    """Moments of a Poisson process of `rate` a second."""
    moments: list[float] = []
    at = rng.expovariate(rate)
    while at < seconds:
        moments.append(at)
        at += rng.expovariate(rate)
    return moments
