"""One request inside: counted in and out, whatever happens to it."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from service.engine.served_head import Served
from service.errors import InternalError, InvalidInput, OutOfMemory, QueueFull, TooLate, ZooError
from service.observability.recorder import Recorder
from service.types import Timing

_NO_TIMING = Timing()


class InFlight:
    """How many requests are inside, of all models."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self.inside = 0
        self.empty = asyncio.Event()
        self.empty.set()


@dataclass(slots=True)
class RequestScope:
    """`enter` and `leave`, or a context manager that does both; what leaves it says how the request ended."""

    house: InFlight
    served: Served
    rows: int
    began: float
    deadline: float
    priority: int
    length: float | None = None
    """Of each row in the mean, where that is known before anything is prepared."""
    claim: float = 0.0
    """By what its rows are ordered while they are prepared."""
    coming: int = 0
    """Rows that have yet to be prepared."""
    ok: bool = False
    fault: bool = False
    """Whether something broke that is not the caller's doing."""
    answered: int = 0
    """Rows that got an answer."""
    timing: Timing = _NO_TIMING

    def enter(self) -> None:
        """Raises QueueFull, TooLate."""
        house, served = self.house, self.served
        try:
            served.enter(self.rows, self.deadline, self.priority, self.length)
        except (QueueFull, TooLate) as error:
            reason = "queue_full" if isinstance(error, QueueFull) else "too_late"
            house.recorder.rejected(served.name, served.version, reason)
            raise
        house.inside += 1
        house.empty.clear()
        house.recorder.inference_started(served.name, served.version)

    def leave(self, error: BaseException | None = None) -> None:
        """`error`: what ended the request, where it was not its answer."""
        house, served = self.house, self.served
        served.leave(self.rows)
        house.inside -= 1
        if not house.inside:
            house.empty.set()
        seconds = time.monotonic() - self.began
        house.recorder.inference_finished(served.name, served.version, self.answered, self.ok, seconds, self.timing)
        if served.watch is not None and not isinstance(error, asyncio.CancelledError | InvalidInput):
            # A call that ran out of time counts as one that took all of it.
            served.watch(self.fault or _is_fault(error), seconds)

    def prepared(self, rows: int) -> None:
        """So many are ready for their queue, or will never be."""
        self.served.coming.remove(self.claim, rows)
        self.coming -= rows

    def __enter__(self) -> RequestScope:
        """For rows that are prepared inside; say when they are."""
        self.enter()
        self.claim, self.coming = self.served.claim(self.deadline, self.priority), self.rows
        self.served.coming.add(self.claim, self.rows)
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if self.coming:
            self.prepared(self.coming)
        self.leave(error)


def _is_fault(error: BaseException | None) -> bool:
    """Whether what ended a call is a mistake of the model's or of ours."""
    return error is not None and (isinstance(error, InternalError | OutOfMemory) or not isinstance(error, ZooError))
