"""The spans of a job, from what its server tells under a clock of the test."""

import pytest

from service.observability.tracing.job_spans import MOST_EPOCHS, JobTrace, job_context
from service.observability.tracing.span import Span
from service.observability.tracing.trace_context import parse_traceparent

JOB = "0123456789abcdef"


class World:
    def __init__(self) -> None:
        self.now = 1000.0
        self.spans: list[Span] = []
        self.trace = self.server()

    def server(self) -> JobTrace:
        """Another server that works on the same job."""
        return JobTrace(JOB, {"zoo.job.method": "full"}, self.spans.append, lambda: self.now)

    def named(self, name: str) -> list[Span]:
        return [span for span in self.spans if span.name == name]

    def seconds(self, name: str) -> list[tuple[float, float]]:
        return [(span.start_ns / 1e9, span.end_ns / 1e9) for span in self.named(name)]


@pytest.fixture
def world() -> World:
    return World()


def test_every_server_adds_to_the_same_trace(world: World) -> None:
    world.trace.passed("wait", 990.0)
    world.server().passed("publish", 995.0)
    context = job_context(JOB)
    assert {(span.trace_id, span.parent_id) for span in world.spans} == {(context.trace_id, context.span_id)}
    assert job_context("fedcba9876543210").trace_id != context.trace_id
    assert parse_traceparent(world.trace.traceparent) == context


def test_phases_and_epochs_of_a_worker_are_its_attempts_children(world: World) -> None:
    trace = world.trace
    trace.attempt_began(1)
    for at, phase, epoch in [
        (1003.0, "training", 0),
        (1004.0, "training", 1),
        (1005.0, "", 1),
        (1006.0, "training", 2),
        (1009.0, "evaluation", 2),
        (1010.0, "publishing", 2),
    ]:
        world.now = at
        trace.progress(phase, epoch)
    world.now = 1011.0
    trace.attempt_ended(None)
    assert world.seconds("start") == [(1000.0, 1003.0)]
    assert world.seconds("training") == [(1003.0, 1009.0)]
    assert world.seconds("epoch") == [(1003.0, 1006.0), (1006.0, 1009.0)]
    assert [span.attributes["zoo.job.epoch"] for span in world.named("epoch")] == [1, 2]
    assert world.seconds("evaluation") == [(1009.0, 1010.0)]
    assert world.seconds("attempt") == [(1000.0, 1011.0)]
    (attempt,), (training,) = world.named("attempt"), world.named("training")
    assert attempt.parent_id == job_context(JOB).span_id
    assert training.parent_id == attempt.span_id
    assert {span.parent_id for span in world.named("epoch")} == {training.span_id}
    assert attempt.error is None
    assert attempt.attributes == {"zoo.job.id": JOB, "zoo.job.method": "full", "zoo.job.attempt": 1}


def test_worker_continues_the_trace_below_its_attempt(world: World) -> None:
    world.trace.attempt_began(1)
    parent = parse_traceparent(world.trace.traceparent)
    world.trace.attempt_ended("DIED")
    (attempt,) = world.named("attempt")
    assert parent is not None
    assert (parent.trace_id, parent.span_id, parent.sampled) == (attempt.trace_id, attempt.span_id, True)
    assert attempt.error == "DIED"


def test_what_a_worker_tells_after_its_end_makes_no_span(world: World) -> None:
    world.trace.progress("training", 1)
    world.trace.attempt_ended(None)
    assert not world.spans


def test_step_that_raises_has_failed(world: World) -> None:
    def publish() -> None:
        with world.trace.step("publish"):
            world.now += 1.0
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        publish()
    with world.trace.step("load"):
        world.now += 2.0
    assert [(span.name, span.error) for span in world.spans] == [("publish", "OSError"), ("load", None)]
    assert world.seconds("load") == [(1001.0, 1003.0)]


@pytest.mark.parametrize(("state", "failed", "error"), [("succeeded", False, None), ("failed", True, "failed")])
def test_job_lasts_from_its_creation_to_its_end(world: World, state: str, failed: bool, error: str | None) -> None:
    world.trace.job_ended(900.0, 1000.0, state, failed, None if failed else 4)
    (job,) = world.spans
    assert (job.name, job.parent_id, job.span_id) == ("job", "", job_context(JOB).span_id)
    assert world.seconds("job") == [(900.0, 1000.0)]
    assert job.error == error
    assert job.attributes["zoo.job.state"] == state
    assert job.attributes.get("zoo.model.version") == (None if failed else "4")


def test_number_of_epochs_is_bounded(world: World) -> None:
    world.trace.attempt_began(1)
    world.trace.progress("training", 0)
    for epoch in range(1, 5000):
        world.now += 0.01
        world.trace.progress("training", epoch)
    world.trace.attempt_ended(None)
    assert len(world.named("epoch")) == MOST_EPOCHS
    assert len(world.named("training")) == 1
