"""A finished span as a value, and its attributes' names. No package of OpenTelemetry is needed for it.

Attributes follow OpenTelemetry's semantic conventions for RPC (https://opentelemetry.io/docs/specs/semconv/rpc/) and, for
models that generate text or embed it, for generative AI. Those that begin with `zoo.` are ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

Attribute = str | int | float | bool


@dataclass(frozen=True, slots=True)
class Link:
    """A span of any trace that a span is related to without being its child."""

    trace_id: str
    span_id: str


@dataclass(frozen=True, slots=True)
class SpanEvent:
    """Something that happened at one moment of a span."""

    name: str
    time_ns: int
    attributes: Mapping[str, Attribute] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class Span:
    """One finished span. Ids are hexadecimal; times are nanoseconds since 1970."""

    name: str
    trace_id: str
    span_id: str
    parent_id: str = ""
    parent_is_remote: bool = False
    start_ns: int
    end_ns: int
    server: bool = False
    """Whether it is of the kind SERVER; the others are INTERNAL."""
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    events: Sequence[SpanEvent] = ()
    links: Sequence[Link] = ()
    error: str | None = None
    """Why it failed; None where it did not."""
    state: str = ""
    """`tracestate` of its trace."""
