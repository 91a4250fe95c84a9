"""The trace of a job, where the server has a collector of traces."""

from __future__ import annotations

from collections.abc import Callable

from service.jobs.types import Job, JobState
from service.observability.recorder import Recorder
from service.observability.tracing.job_spans import JobTrace


def trace_of(job: Job, recorder: Recorder, clock: Callable[[], float]) -> JobTrace | None:
    """The trace that this server adds to; None where it has no collector. `clock` gives seconds since 1970."""
    if recorder.tracing is None:
        return None
    spec = job.spec
    about = {
        "zoo.model.name": spec.model,
        "zoo.job.base": spec.base,
        "zoo.job.task": spec.task,
        "zoo.job.method": spec.method.value,
    }
    return JobTrace(job.id, about, recorder.tracing.offer_span, clock)


def end_trace(job: Job, recorder: Recorder, clock: Callable[[], float]) -> None:
    """Ends the trace of a job that has ended; does nothing for another."""
    trace = trace_of(job, recorder, clock) if job.state.ended else None
    if trace is not None:
        ended = clock() if job.ended is None else job.ended.timestamp()
        trace.job_ended(job.created.timestamp(), ended, job.state.value, job.state is JobState.FAILED, job.version)
