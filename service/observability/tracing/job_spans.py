"""The spans of a fine-tune job, made by the server from what it does and from the events of the worker.

    job            from its creation to its end
      validate     the request is checked and stored
      wait         the job waits for a server with room
      attempt      one worker, from its start to its end
        start      until the worker's first message
        features, training, evaluation
          epoch    of the training, as far as the worker tells of it
      publish      the result becomes a version
      load         the version is loaded and checked

The ids of the trace and of the span `job` follow from the job's id. So every server that works on the job, before and after a
restart, adds to the same trace, and nothing has to be stored.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from service.observability.tracing.span import Attribute, Span
from service.observability.tracing.trace_context import TraceContext, new_span_id

MOST_EPOCHS = 200
"""Spans of epochs of one attempt; a table may be trained for thousands."""

Offer = Callable[[Span], None]
"""Takes a finished span."""


def job_context(job_id: str) -> TraceContext:
    """The trace of a job, and its span `job`."""
    digest = hashlib.sha256(f"zoo job {job_id}".encode()).hexdigest()
    return TraceContext(digest[:32], digest[32:48])


class JobTrace:
    """Makes the spans of one job on one server. Belongs to the event loop; times are seconds since 1970."""

    def __init__(
        self, job_id: str, attributes: Mapping[str, Attribute], offer: Offer, clock: Callable[[], float]
    ) -> None:
        """`attributes`: of every span of the job, beside its id."""
        self._context = job_context(job_id)
        self._attributes = {"zoo.job.id": job_id, **attributes}
        self._offer, self._clock = offer, clock
        self._attempt: tuple[str, float, int] | None = None  # span id, begin, number
        self._phase: tuple[str, str, float] | None = None  # span id, name, begin
        self._epoch: tuple[int, float] | None = None  # number, begin
        self._epochs = 0

    @property
    def traceparent(self) -> str:
        """What continues the trace in the worker: its parent is the attempt, or else the job."""
        parent = self._context.span_id if self._attempt is None else self._attempt[0]
        return f"00-{self._context.trace_id}-{parent}-01"

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """A step of the server as a span, which has failed if it raises."""
        began = self._clock()
        try:
            yield
        except BaseException as error:
            self._emit(name, self._context.span_id, began, error=type(error).__name__)
            raise
        self._emit(name, self._context.span_id, began)

    def passed(self, name: str, began: float) -> None:
        """A step that ends now."""
        self._emit(name, self._context.span_id, began)

    def attempt_began(self, number: int) -> None:
        """A worker is about to be started, for the `number`th time."""
        now = self._clock()
        self._attempt, self._epochs = (new_span_id(), now, number), 0
        self._begin_phase("start", now)

    def progress(self, phase: str, epoch: int) -> None:
        """The worker has told of its phase. An epoch of 0 tells nothing."""
        if self._attempt is None or self._phase is None:
            return
        now = self._clock()
        if phase and phase != self._phase[1]:
            self._begin_phase(phase, now)
        if epoch and self._phase[1] == "training" and (self._epoch is None or epoch > self._epoch[0]):
            began = self._phase[2] if self._epoch is None else now
            self._end_epoch(now)
            self._epoch = (epoch, began)

    def attempt_ended(self, error: str | None) -> None:
        """The worker has ended; `error` is why, where it did not finish."""
        if self._attempt is None:
            return
        now = self._clock()
        self._end_phase(now)
        span_id, began, number = self._attempt
        self._attempt = None
        self._emit("attempt", self._context.span_id, began, span_id, error, {"zoo.job.attempt": number}, now)

    def job_ended(self, created: float, ended: float, state: str, failed: bool, version: int | None) -> None:
        """The job is in its last state; a job that ends again after it was resumed has its span made anew."""
        more: dict[str, Attribute] = {"zoo.job.state": state}
        if version is not None:
            more["zoo.model.version"] = str(version)
        self._emit("job", "", created, self._context.span_id, state if failed else None, more, ended)

    def _begin_phase(self, name: str, now: float) -> None:
        self._end_phase(now)
        self._phase = (new_span_id(), name, now)

    def _end_phase(self, now: float) -> None:
        self._end_epoch(now)
        if self._phase is not None and self._attempt is not None:
            span_id, name, began = self._phase
            self._emit(name, self._attempt[0], began, span_id, ended=now)
        self._phase = None

    def _end_epoch(self, now: float) -> None:
        if self._epoch is not None and self._phase is not None:
            self._epochs += 1
            if self._epochs <= MOST_EPOCHS:
                number, began = self._epoch
                self._emit("epoch", self._phase[0], began, more={"zoo.job.epoch": number}, ended=now)
        self._epoch = None

    def _emit(
        self,
        name: str,
        parent_id: str,
        began: float,
        span_id: str = "",
        error: str | None = None,
        more: Mapping[str, Attribute] | None = None,
        ended: float | None = None,
    ) -> None:
        self._offer(
            Span(
                name=name,
                trace_id=self._context.trace_id,
                span_id=span_id or new_span_id(),
                parent_id=parent_id,
                start_ns=int(began * 1e9),
                end_ns=int((self._clock() if ended is None else ended) * 1e9),
                attributes={**self._attributes, **(more or {})},
                error=error,
            )
        )
