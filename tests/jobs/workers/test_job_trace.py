"""The trace of a job over real worker processes: one trace from the request to the version, whatever ends between."""

from __future__ import annotations

import json

import pytest

from service.jobs.types import JobState
from service.observability.tracing.job_spans import job_context
from service.observability.tracing.request_spans import FinishedRequest
from service.observability.tracing.request_tracing import Tracing
from service.observability.tracing.span import Span
from service.observability.tracing.trace_context import parse_traceparent
from service.observability.tracing.trace_settings import TraceSettings
from tests.support.jobs.fakes import JobSandbox, events_of, spec, until, until_step

pytestmark = pytest.mark.asyncio


class Sink:
    def __init__(self) -> None:
        self.spans: list[Span] = []

    def offer(self, finished: FinishedRequest | Span) -> None:
        assert isinstance(finished, Span)
        self.spans.append(finished)

    def one(self, name: str) -> Span:
        (found,) = [span for span in self.spans if span.name == name]
        return found


@pytest.fixture
def sink(sandbox: JobSandbox) -> Sink:
    made = Sink()
    sandbox.recorder.tracing = Tracing(TraceSettings(on=True, ratio=0.0), made)
    return made


async def test_phases_of_a_job_follow_each_other_in_one_trace(sandbox: JobSandbox, sink: Sink) -> None:
    async with sandbox.open() as jobs:
        job = await jobs.create(spec())
        await events_of(jobs, job)
    context = job_context(job.id)
    assert {span.trace_id for span in sink.spans} == {context.trace_id}
    root = sink.one("job")
    assert (root.span_id, root.parent_id, root.error) == (context.span_id, "", None)
    assert (root.attributes["zoo.job.state"], root.attributes["zoo.model.version"]) == ("succeeded", "1")
    order = ["validate", "wait", "attempt", "publish", "load"]
    steps = [sink.one(name) for name in order]
    assert {span.parent_id for span in steps} == {root.span_id}
    begins = [span.start_ns for span in steps[1:]]
    assert begins == sorted(begins)
    assert sink.one("wait").start_ns == root.start_ns
    for name in ("start", "training"):
        assert sink.one(name).parent_id == sink.one("attempt").span_id
    assert sink.one("start").end_ns == sink.one("training").start_ns
    assert sink.one("epoch").parent_id == sink.one("training").span_id
    assert {span.attributes["zoo.job.id"] for span in sink.spans} == {job.id}


async def test_order_of_the_worker_continues_the_trace(sandbox: JobSandbox, sink: Sink) -> None:
    async with sandbox.open() as jobs:
        job = await jobs.create(spec(wait="go"))
        await until_step(jobs, job, 4)
        order = json.loads((sandbox.folder(job) / "spec.json").read_text())
        sandbox.allow()
        await until(jobs, job, JobState.SUCCEEDED)
    parent = parse_traceparent(order["traceparent"])
    attempt = sink.one("attempt")
    assert parent is not None
    assert (parent.trace_id, parent.span_id, parent.sampled) == (attempt.trace_id, attempt.span_id, True)


async def test_worker_that_dies_leaves_an_attempt_that_failed_and_the_next_joins_the_trace(
    sandbox: JobSandbox, sink: Sink
) -> None:
    async with sandbox.open() as jobs:
        job = await jobs.create(spec(die_at=3))
        await events_of(jobs, job)
    attempts = [span for span in sink.spans if span.name == "attempt"]
    assert [(span.error, span.attributes["zoo.job.attempt"]) for span in attempts] == [("DIED", 1), (None, 2)]
    assert {span.trace_id for span in attempts} == {job_context(job.id).trace_id}
    assert sink.one("wait"), "the second wait does not tell since when"


async def test_job_that_fails_has_a_trace_that_failed(sandbox: JobSandbox, sink: Sink) -> None:
    async with sandbox.open() as jobs:
        job = await jobs.create(spec(fail="the data are wrong"))
        await events_of(jobs, job)
    assert sink.one("job").error == "failed"
    assert sink.one("attempt").error == "FAILED"
    assert not [span for span in sink.spans if "the data are wrong" in str(span)], "no texts of users"


async def test_job_that_is_cancelled_before_it_runs_ends_its_trace(sandbox: JobSandbox, sink: Sink) -> None:
    server = sandbox.server()
    job = await server.jobs.create(spec())
    await server.jobs.cancel(job.id)
    assert sink.one("job").attributes["zoo.job.state"] == "cancelled"
    assert sink.one("job").error is None


async def test_job_without_a_collector_makes_no_span_and_its_worker_gets_no_trace(sandbox: JobSandbox) -> None:
    assert sandbox.recorder.tracing is None
    async with sandbox.open() as jobs:
        job = await jobs.create(spec(wait="go"))
        await until_step(jobs, job, 4)
        order = json.loads((sandbox.folder(job) / "spec.json").read_text())
        sandbox.allow()
        await until(jobs, job, JobState.SUCCEEDED)
    assert order["traceparent"] == ""
