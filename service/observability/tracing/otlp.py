"""Sends spans to a collector by OTLP over gRPC, with OpenTelemetry's own exporter.

The only module that imports OpenTelemetry's packages; it is imported where a collector is set. The exporter's variables of the
environment (`OTEL_EXPORTER_OTLP_HEADERS`, `…_CERTIFICATE`, `…_COMPRESSION`) hold, and so do `OTEL_SERVICE_NAME` and
`OTEL_RESOURCE_ATTRIBUTES`.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span as PbSpan
from opentelemetry.proto.trace.v1.trace_pb2 import SpanFlags, Status
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace.export import SpanExportResult

from service import __version__
from service.observability.tracing.library_log import keep_to_our_log
from service.observability.tracing.span import Attribute, Span

TIMEOUT_S = 10.0
"""Of one message to the collector, retries included."""
EXPORTER_LOG = "opentelemetry.exporter.otlp.proto.grpc.exporter"
"""The logger of the exporter, which would write a line for each retry."""
SCHEMA = "https://opentelemetry.io/schemas/1.44.0"
"""The release of the semantic conventions that the attributes follow."""

_FLAGS = 1 | SpanFlags.SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK
"""Of a sampled span that says whether its parent is of another process."""


class OtlpCollector:
    """See Collector. `send` is called by one thread."""

    def __init__(self, endpoint: str) -> None:
        """`endpoint`: `http://host:port`, or `https://…` for TLS. Nothing is connected yet."""
        keep_to_our_log()
        self._reasons = _Reasons()
        logs = logging.getLogger(EXPORTER_LOG)
        logs.handlers, logs.propagate = [self._reasons], False
        given = {"service.name": "zoo", "service.version": __version__, "service.instance.id": str(uuid.uuid4())}
        resource = Resource(given).merge(OTELResourceDetector().detect())  # the latter prevails
        self._exporter = _Exporter(endpoint, resource.attributes)

    def send(self, spans: Sequence[Span]) -> str:
        """See Collector."""
        self._reasons.latest = ""
        try:
            result = self._exporter.export(spans)  # type: ignore[arg-type]  # `_translate_data` takes ours
        except Exception as error:  # by design there is none
            return type(error).__name__
        return "" if result is SpanExportResult.SUCCESS else self._reasons.latest or "it gave no reason"

    def close(self) -> None:
        """See Collector."""
        self._exporter.shutdown()


class _Exporter(OTLPSpanExporter):
    """OpenTelemetry's exporter, with its connection and its retries, for our spans: theirs take four times as long to encode."""

    def __init__(self, endpoint: str, resource: Mapping[str, Any]) -> None:
        super().__init__(endpoint=endpoint, insecure=not endpoint.startswith("https:"), timeout=TIMEOUT_S)
        self._resource = _attributes(resource)

    def _translate_data(self, data: Sequence[Span]) -> ExportTraceServiceRequest:  # type: ignore[override]
        request = ExportTraceServiceRequest()
        ours = request.resource_spans.add()
        ours.resource.attributes.extend(self._resource)
        scope = ours.scope_spans.add(schema_url=SCHEMA)
        scope.scope.name, scope.scope.version = "zoo", __version__
        for span in data:
            _write(span, scope.spans.add())
        return request


def _write(span: Span, to: PbSpan) -> None:
    to.name, to.trace_id, to.span_id = span.name, bytes.fromhex(span.trace_id), bytes.fromhex(span.span_id)
    to.start_time_unix_nano, to.end_time_unix_nano = span.start_ns, span.end_ns
    to.kind = PbSpan.SPAN_KIND_SERVER if span.server else PbSpan.SPAN_KIND_INTERNAL
    to.flags = _FLAGS
    if span.parent_id:
        to.parent_span_id = bytes.fromhex(span.parent_id)
        if span.parent_is_remote:
            to.flags = _FLAGS | SpanFlags.SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK
    if span.state:
        to.trace_state = span.state
    if span.attributes:
        to.attributes.extend(_attributes(span.attributes))
    for event in span.events:
        to.events.add(name=event.name, time_unix_nano=event.time_ns, attributes=_attributes(event.attributes))
    for link in span.links:
        to.links.add(trace_id=bytes.fromhex(link.trace_id), span_id=bytes.fromhex(link.span_id), flags=_FLAGS)
    if span.error is not None:
        to.status.code, to.status.message = Status.STATUS_CODE_ERROR, span.error


def _attributes(attributes: Mapping[str, Attribute]) -> list[KeyValue]:
    return [_attribute(name, value, type(value).__name__) for name, value in attributes.items()]


@lru_cache(maxsize=1024)  # most values are those of the span before; the type tells 1 from True and from 1.0
def _attribute(name: str, value: Attribute, kind: str) -> KeyValue:
    if kind == "bool":
        return KeyValue(key=name, value=AnyValue(bool_value=bool(value)))
    if kind == "int":
        return KeyValue(key=name, value=AnyValue(int_value=int(value)))
    if kind == "float":
        return KeyValue(key=name, value=AnyValue(double_value=float(value)))
    return KeyValue(key=name, value=AnyValue(string_value=str(value)))


class _Reasons(logging.Handler):
    """Keeps the exporter's latest line, so that it is logged at intervals and not at every try."""

    def __init__(self) -> None:
        super().__init__()
        self.latest = ""

    def emit(self, record: logging.LogRecord) -> None:
        """Called for each line of the exporter."""
        self.latest = record.getMessage()[:500]
