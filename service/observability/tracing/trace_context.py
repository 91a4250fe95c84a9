"""W3C Trace Context: the metadata `traceparent` and `tracestate` of a call. See https://www.w3.org/TR/trace-context/."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable
from dataclasses import dataclass

TRACEPARENT, TRACESTATE = "traceparent", "tracestate"
LONGEST_STATE = 512
"""Characters of `tracestate`, the least that the specification has everyone pass on. A longer one is left out."""
MOST_MEMBERS = 32
"""Of a `tracestate`, empty ones included. One with more is left out."""
SAMPLED = 1
"""Bit of the trace flags."""

Metadata = Iterable[tuple[str, str | bytes]]
"""Of a call: keys in lower case, each with its value."""

# Version 00 has these four fields; later versions may have more behind them.
_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII)
# One member of a state: a key of one system or of a tenant of it, and a value that does not end with a space.
_MEMBER = re.compile(
    r"([a-z][a-z0-9_\-*/]{0,255}|[a-z0-9][a-z0-9_\-*/]{0,240}@[a-z][a-z0-9_\-*/]{0,13})"
    r"=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]"
)
_NO_TRACE, _NO_SPAN = "0" * 32, "0" * 16


@dataclass(frozen=True, slots=True)
class TraceContext:
    """A trace, and the span in it that the next span is a child of."""

    trace_id: str
    """32 hexadecimal digits."""
    span_id: str = ""
    """16 hexadecimal digits; empty for a new trace."""
    sampled: bool = True
    state: str = ""
    """`tracestate` of the caller, checked by `parse_tracestate`."""


def parse_traceparent(text: object) -> TraceContext | None:
    """The context of one value of `traceparent`; None for a value that the specification has receivers ignore."""
    found = _TRACEPARENT.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        return None
    version, trace_id, span_id, flags, more = found.groups()
    if version == "ff" or (more and version == "00") or trace_id == _NO_TRACE or span_id == _NO_SPAN:
        return None
    return TraceContext(trace_id, span_id, bool(int(flags, 16) & SAMPLED))


def parse_tracestate(text: str) -> str:
    """The members of a state, joined by commas; empty for a value that the specification has receivers drop. Nothing is logged:
    the text is the caller's."""
    if len(text) > LONGEST_STATE:
        return ""
    members = [member.strip(" \t") for member in text.split(",")]
    if len(members) > MOST_MEMBERS:
        return ""
    keys = set()
    for member in filter(None, members):  # empty ones are allowed
        found = _MEMBER.fullmatch(member)
        if found is None or found[1] in keys:
            return ""
        keys.add(found[1])
    return ",".join(filter(None, members))


def trace_context(metadata: Metadata) -> TraceContext | None:
    """The context that the caller sent, with its state; None where it sent none, or a wrong one."""
    found: TraceContext | None = None
    states: list[str] = []
    for key, value in metadata:
        if key == TRACEPARENT:
            if found is not None:  # the specification allows one
                return None
            found = parse_traceparent(value)
            if found is None:
                return None
        elif key == TRACESTATE and isinstance(value, str):
            states.append(value)
    if found is None or not states:
        return found
    return TraceContext(found.trace_id, found.span_id, found.sampled, parse_tracestate(",".join(states)))


def has_traceparent(metadata: Metadata) -> bool:
    """Whether the caller sent a context. For the path of every request: it parses nothing."""
    for key, _ in metadata:  # noqa: SIM110 - a generator costs more than the loop
        if key == TRACEPARENT:
            return True
    return False


def new_trace_id() -> str:
    """A random trace id. Unguessable ids are not needed; OpenTelemetry's own are made in this way."""
    return f"{random.getrandbits(128) or 1:032x}"


def new_span_id() -> str:
    """A random span id."""
    return f"{random.getrandbits(64) or 1:016x}"
