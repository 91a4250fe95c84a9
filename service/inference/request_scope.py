"""One request in flight: its admission, its release, and the one place that counts its outcome, whatever happens to it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from service.engine.loaded_model import LoadedModel
from service.errors import DeadlineExceeded, InternalError, InvalidInput, OutOfMemory, QueueFull, TooLate, ZooError
from service.observability.recorder import Recorder
from service.types import Timing

_NO_TIMING = Timing()


class InFlight:
    """How many requests are in flight, of all models."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self.count = 0
        self.empty = asyncio.Event()
        self.empty.set()

    @contextmanager
    def one_more(self) -> Iterator[None]:
        """A request is in flight in the context: a drain waits for it."""
        self.begin()
        try:
            yield
        finally:
            self.end()

    def begin(self) -> None:
        """A request is in flight until `end`."""
        self.count += 1
        self.empty.clear()

    def end(self) -> None:
        """See `begin`."""
        self.count -= 1
        if not self.count:
            self.empty.set()


@dataclass(slots=True)
class RequestScope:
    """`admit` and `release`, or a context manager that does both. `settle` notes the outcomes in between; a request that ends
    without them counts as failed."""

    in_flight: InFlight
    model: LoadedModel
    rows: int
    began: float
    deadline: float
    priority: int
    length: float | None = None
    """Mean length of its rows, where that is known before they are preprocessed."""
    effective_deadline: float = 0.0
    """Orders its rows while they are preprocessed."""
    pending: int = 0
    """Rows that are not preprocessed yet."""
    ok: bool = False
    fault: bool = False
    """Whether something broke that is not the caller's doing."""
    answered: int = 0
    """Rows that got an answer."""
    timing: Timing | None = None
    """Noted by `settle`."""
    preprocess_began: float = 0.0
    """When the latest part of its rows began to be preprocessed; 0 where none did."""
    submitted: float = 0.0
    """When the latest part of its rows was queued; 0 where none was."""

    def admit(self) -> None:
        """Counts the request in. Raises QueueFull, TooLate."""
        in_flight, model = self.in_flight, self.model
        try:
            model.admit(self.rows, self.deadline, self.priority, self.length)
        except QueueFull:
            self.rejected("queue_full")
            raise
        except TooLate:
            self.rejected("too_late")
            raise
        in_flight.begin()
        in_flight.recorder.inference_started(model.name, model.version)

    def settle(self, outcomes: Sequence[object], timing: Timing, *, together: bool) -> ZooError | None:
        """Notes what became of each row; gives the first error. `together`: one failed row fails the request, as where rows are
        stacked into tensors; otherwise one answered row makes it a success."""
        self.timing = timing
        errors = [outcome for outcome in outcomes if isinstance(outcome, ZooError)]
        self.answered = len(outcomes) - len(errors)
        if not errors:
            self.ok = self.answered > 0
            return None
        self.ok = self.answered > 0 and not together
        self.fault = any(isinstance(error, InternalError | OutOfMemory) for error in errors)
        if not self.answered:
            late = next((error for error in errors if isinstance(error, DeadlineExceeded)), None)
            if late is not None:  # the queue found out
                self.rejected("too_late" if isinstance(late, TooLate) else "deadline")
        return errors[0]

    def elapsed(self) -> Timing:
        """Where its time went: as settled, or up to now for a request that ends without outcomes."""
        if self.timing is not None:
            return self.timing
        began, submitted, now = self.preprocess_began, self.submitted, time.monotonic()
        if not submitted:
            return Timing(preprocess_s=now - began, began=began) if began else Timing(began=now)
        return Timing(preprocess_s=submitted - (began or submitted), queue_s=now - submitted, began=began or submitted)

    def rejected(self, reason: str) -> None:
        """The request ends without an answer for this reason of `zoo_rejected_total`."""
        self.in_flight.recorder.rejected(self.model.name, self.model.version, reason)

    def release(self, error: BaseException | None = None) -> None:
        """Counts the request out. `error`: what ended it in place of outcomes."""
        in_flight, model = self.in_flight, self.model
        model.release(self.rows)
        in_flight.end()
        seconds = time.monotonic() - self.began
        timing = self.timing or _NO_TIMING
        in_flight.recorder.inference_finished(model.name, model.version, self.answered, self.ok, seconds, timing)
        if error is None:
            model.observe_outcome(self.fault, seconds)
        elif not isinstance(error, asyncio.CancelledError | InvalidInput):
            # A request that ran out of time counts as one that took all of it.
            model.observe_outcome(_is_fault(error), seconds)

    def preprocessed(self, rows: int) -> None:
        """So many rows are ready for their queue, or never will be."""
        self.model.preprocessing_ends(self.effective_deadline, rows)
        self.pending -= rows

    def __enter__(self) -> RequestScope:
        """For rows that are preprocessed inside; `preprocessed` says when they are."""
        self.admit()
        self.effective_deadline = self.model.effective_deadline(self.deadline, self.priority)
        self.pending = self.rows
        self.model.preprocessing_begins(self.effective_deadline, self.rows)
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if self.pending:
            self.preprocessed(self.pending)
        self.release(error)


def _is_fault(error: BaseException) -> bool:
    """Whether the error that ended a request is a fault of the model or of the server."""
    return isinstance(error, InternalError | OutOfMemory) or not isinstance(error, ZooError)
