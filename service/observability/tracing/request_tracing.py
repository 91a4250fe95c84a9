"""The event loop's side of tracing: decides about each finished call, and offers those that are sampled to the export."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Protocol

from service.observability.log import logger
from service.observability.recorder import Call, CallContext
from service.observability.tracing.export import SpanExport
from service.observability.tracing.library_log import keep_to_our_log
from service.observability.tracing.request_spans import FinishedRequest
from service.observability.tracing.span import Span
from service.observability.tracing.trace_settings import TraceSettings

log = logger(__name__)


class SpanSink(Protocol):
    """Takes finished spans."""

    def offer(self, finished: FinishedRequest | Span) -> None:
        """Takes a request or a span. Never blocks; may be called from any thread."""


class Tracing:
    """See `recorder.CallTracing`. Belongs to the event loop."""

    def __init__(
        self,
        settings: TraceSettings,
        sink: SpanSink,
        task_of: Callable[[str], str] = lambda _model: "",
        clock: Callable[[], float] = time.monotonic,
        now_ns: Callable[[], int] = time.time_ns,
        *,
        asks_for_tokens: bool = False,
    ) -> None:
        """`task_of`: the task of a model that a request was answered by, or an empty text. `asks_for_tokens`: only callers with a
        token decide by their flag what is traced, or strangers would fill the export."""
        self.settings = settings
        self._sink, self._task_of = sink, task_of
        self._clock, self._now_ns = clock, now_ns
        self._asks_for_tokens = asks_for_tokens
        self._methods: dict[str, str] = {}

    def add_methods(self, service: str, methods: Iterable[str]) -> None:
        """See CallTracing."""
        if not service.startswith("grpc."):  # health and reflection: load balancers call them all the time
            self._methods |= {method: f"{service}/{method}" for method in methods}

    def call_finished(
        self, context: CallContext, call: Call, method: str, code: str, began: float, ended: float
    ) -> None:
        """See CallTracing."""
        name = self._methods.get(method)
        if name is None:  # a whole stream; each of its requests is traced
            return
        try:
            self._trace(name, context, call, code, began, ended)
        except Exception:  # the call has its answer
            log.exception("a call could not be traced", method=method)

    def _trace(self, name: str, context: CallContext, call: Call, code: str, began: float, ended: float) -> None:
        refused = self._asks_for_tokens and (not call.principal or code == "PERMISSION_DENIED")
        trace = self.settings.sample(context.invocation_metadata() or (), call.model, follow=not refused)
        if trace is None:
            return
        call.trace_id = trace.trace_id
        accepted = getattr(context, "accepted", None)
        self._sink.offer(
            FinishedRequest(
                trace,
                name,
                code,
                call,
                self._task_of(call.model) if call.model else "",
                began if accepted is None else min(accepted, began),
                ended,
                self.epoch_ns(),
            )
        )

    def offer_span(self, span: Span) -> None:
        """Takes a finished span that belongs to no request, as those of jobs, unless nothing is traced."""
        if self.settings.policy().on:
            self._sink.offer(span)

    def epoch_ns(self) -> int:
        """Nanoseconds since 1970 at 0 of the monotonic clock. The system's time may be set, so it is read again each time."""
        return self._now_ns() - int(self._clock() * 1e9)


class TracingService:
    """Tracing with its export thread: construct, `start`, `stop`."""

    def __init__(self, export: SpanExport, tracing: Tracing) -> None:
        self.export, self.tracing = export, tracing

    def spans_lost(self) -> float:
        """How many spans and requests did not reach the collector."""
        return float(self.export.lost)

    def start(self) -> None:
        """Begins to deliver spans."""
        self.export.start()

    def stop(self, timeout_s: float) -> None:
        """Delivers what waits, at most for `timeout_s` twice. Blocks."""
        self.export.stop(timeout_s)


def open_tracing(
    endpoint: str, ratio: float, task_of: Callable[[str], str], *, asks_for_tokens: bool
) -> TracingService:
    """Tracing to a collector; see Tracing. Raises ImportError where OpenTelemetry's packages are missing."""
    keep_to_our_log()  # before the packages are imported
    from service.observability.tracing.otlp import OtlpCollector

    export = SpanExport(OtlpCollector(endpoint))
    settings = TraceSettings(on=True, ratio=ratio)
    return TracingService(export, Tracing(settings, export, task_of, asks_for_tokens=asks_for_tokens))
