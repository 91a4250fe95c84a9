"""Spans on the wire: what a collector of OpenTelemetry gets."""

import logging
from collections.abc import Iterator

import grpc
import pytest
import structlog

from service import __version__
from service.observability.tracing.library_log import LIBRARY
from service.observability.tracing.otlp import EXPORTER_LOG, OtlpCollector
from service.observability.tracing.span import Link, Span, SpanEvent
from tests.support.tracing.otlp_receiver import Receiver, attributes_of, otlp_receiver

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with otlp_receiver() as found:
        yield found


@pytest.fixture(autouse=True)
def exporter_log() -> Iterator[None]:
    yield
    for name in (EXPORTER_LOG, LIBRARY):
        log = logging.getLogger(name)
        log.handlers, log.propagate = [], True


def test_span_arrives_whole(receiver: Receiver) -> None:
    collector = OtlpCollector(receiver.endpoint)
    server = Span(
        name="s/M",
        trace_id=TRACE,
        span_id="00f067aa0ba902b7",
        parent_id="b7ad6b7169203331",
        parent_is_remote=True,
        start_ns=10**18,
        end_ns=10**18 + 5,
        server=True,
        attributes={"text": "ü", "whole": 3, "part": 0.5, "yes": True},
        events=(SpanEvent("e", 10**18 + 1, {"n": 1}),),
        links=(Link("0af7651916cd43dd8448eb211c80319c", "00f067aa0ba902b8"),),
        error="INTERNAL",
        state="a=1,b=2",
    )
    inner = Span(
        name="queue", trace_id=TRACE, span_id="00f067aa0ba902b9", parent_id=server.span_id, start_ns=1, end_ns=2
    )
    assert collector.send([server, inner]) == ""
    collector.close()
    first, second = receiver.spans
    assert (first.name, first.trace_id.hex(), first.span_id.hex()) == ("s/M", TRACE, server.span_id)
    assert first.parent_span_id.hex() == server.parent_id
    assert (first.start_time_unix_nano, first.end_time_unix_nano) == (10**18, 10**18 + 5)
    assert (first.kind, second.kind) == (first.SPAN_KIND_SERVER, first.SPAN_KIND_INTERNAL)
    assert attributes_of(first) == server.attributes
    assert [(event.name, event.time_unix_nano) for event in first.events] == [("e", 10**18 + 1)]
    assert [link.span_id.hex() for link in first.links] == ["00f067aa0ba902b8"]
    assert (first.status.code, first.status.message) == (first.status.STATUS_CODE_ERROR, "INTERNAL")
    assert second.status.code == first.status.STATUS_CODE_UNSET
    assert first.trace_state == "a=1,b=2"
    assert first.flags & 0x200, "the parent is of another process"
    assert not second.flags & 0x200
    assert second.parent_span_id.hex() == server.span_id


def test_resource_names_the_service_and_the_environment_may_rename_it(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    span = Span(name="s", trace_id=TRACE, span_id="00f067aa0ba902b7", start_ns=1, end_ns=2)
    assert OtlpCollector(receiver.endpoint).send([span]) == ""
    monkeypatch.setenv("OTEL_SERVICE_NAME", "pets")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
    assert OtlpCollector(receiver.endpoint).send([span]) == ""
    plain, named = (attributes_of(request.resource_spans[0].resource) for request in receiver.requests)
    assert (plain["service.name"], plain["service.version"]) == ("zoo", __version__)
    assert plain["service.instance.id"]
    assert (named["service.name"], named["deployment.environment.name"]) == ("pets", "test")


def test_lines_of_opentelemetrys_packages_are_logged_once_without_their_text(
    receiver: Receiver, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    OtlpCollector(receiver.endpoint)
    with structlog.testing.capture_logs() as lines:
        for _ in range(3):
            logging.getLogger("opentelemetry.trace.span").warning("Invalid key/value: %s", "a secret")
    assert [(line["event"], line["package"]) for line in lines] == [
        ("a package of OpenTelemetry has a problem", "opentelemetry.trace.span")
    ]
    assert "a secret" not in str(lines)
    assert not caplog.records
    assert "a secret" not in capfd.readouterr().err


def test_refusal_is_given_back_and_not_logged_by_the_exporter(
    receiver: Receiver, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    receiver.code = grpc.StatusCode.UNAUTHENTICATED
    span = Span(name="s", trace_id=TRACE, span_id="00f067aa0ba902b7", start_ns=1, end_ns=2)
    reason = OtlpCollector(receiver.endpoint).send([span])
    assert "UNAUTHENTICATED" in reason
    assert not caplog.records
    assert "UNAUTHENTICATED" not in capfd.readouterr().err
