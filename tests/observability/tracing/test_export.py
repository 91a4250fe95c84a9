"""The export's queue and thread, with a collector that takes, refuses or hangs."""

import threading
from collections.abc import Sequence

from structlog.testing import capture_logs

from service.observability.tracing.export import BATCH, LOG_INTERVAL_S, SpanExport
from service.observability.tracing.span import Span

PATIENCE_S = 60.0


class FakeCollector:
    def __init__(self) -> None:
        self.reason = ""
        self.batches: list[Sequence[Span]] = []
        self.hang: threading.Event | None = None
        self.inside, self.taken = threading.Event(), threading.Event()

    def send(self, spans: Sequence[Span]) -> str:
        self.inside.set()
        if self.hang is not None:
            assert self.hang.wait(PATIENCE_S)
            return "closed"
        if not self.reason:
            self.batches.append(spans)
        self.taken.set()
        return self.reason

    def close(self) -> None:
        if self.hang is not None:
            self.hang.set()


def span(name: str = "s") -> Span:
    return Span(name=name, trace_id="1" * 32, span_id="2" * 16, start_ns=1, end_ns=2)


def test_spans_are_delivered_in_their_order_by_bounded_messages() -> None:
    collector = FakeCollector()
    export = SpanExport(collector, most_waiting=BATCH + 10)
    for i in range(BATCH + 10):
        export.offer(span(f"{i}"))
    export.deliver()
    assert [len(batch) for batch in collector.batches] == [BATCH, 10]
    assert [each.name for batch in collector.batches for each in batch] == [f"{i}" for i in range(BATCH + 10)]
    export.deliver()
    assert len(collector.batches) == 2, "nothing is sent twice"


def test_full_queue_refuses_at_once_and_counts_what_is_lost() -> None:
    collector = FakeCollector()
    export = SpanExport(collector, most_waiting=3)
    for i in range(10):
        export.offer(span(f"{i}"))
    assert export.lost == 7
    export.deliver()
    assert [each.name for each in collector.batches[0]] == ["0", "1", "2"]


def test_dead_collector_costs_spans_and_one_line_a_minute() -> None:
    now = [1000.0]
    collector = FakeCollector()
    export = SpanExport(collector, clock=lambda: now[0])
    collector.reason = "nobody is there"
    with capture_logs() as lines:
        for _ in range(100):
            export.offer(span())
            export.deliver()
        assert len(lines) == 1
        assert (lines[0]["log_level"], lines[0]["reason"]) == ("warning", "nobody is there")
        now[0] += LOG_INTERVAL_S
        export.offer(span())
        export.deliver()
        assert [line["lost"] for line in lines] == [1, 100]
        collector.reason = ""
        export.offer(span())
        export.deliver()
        assert lines[-1]["event"] == "the collector takes spans again"
        export.offer(span())
        export.deliver()
    assert len(lines) == 3
    assert export.lost == 101


def test_collector_that_hangs_blocks_no_caller_and_not_the_end() -> None:
    collector = FakeCollector()
    collector.hang = threading.Event()
    export = SpanExport(collector, interval_s=0.001, most_waiting=5)
    export.start()
    export.offer(span())
    assert collector.inside.wait(PATIENCE_S)
    for _ in range(100):
        export.offer(span())
    assert export.lost == 95
    export.stop(0.01)  # closes the collector, which ends the wait
    assert export._thread.join(PATIENCE_S) is None
    assert not export._thread.is_alive()


def test_stop_delivers_what_waits() -> None:
    collector = FakeCollector()
    export = SpanExport(collector, interval_s=3600.0)
    export.start()
    export.offer(span())
    export.stop(PATIENCE_S)
    assert len(collector.batches) == 1


def test_span_that_cannot_be_delivered_does_not_end_the_thread() -> None:
    class Broken(FakeCollector):
        def send(self, spans: Sequence[Span]) -> str:
            if spans[0].name == "bad":
                self.inside.set()
                raise ValueError("bad")
            return super().send(spans)

    collector = Broken()
    export = SpanExport(collector, interval_s=0.001)
    export.offer(span("bad"))
    with capture_logs() as lines:
        export.start()
        assert collector.inside.wait(PATIENCE_S)
        export.offer(span("good"))
        assert collector.taken.wait(PATIENCE_S)
        export.stop(PATIENCE_S)
    assert [line["event"] for line in lines] == ["spans could not be delivered"]
