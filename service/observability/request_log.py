"""One log line for each call that failed and each inference request that was slow, at a bounded rate.

Lines of different kinds do not push each other out: a flood of wrong requests leaves room for the server's own faults. A line
has no payload, no text of an error and no name of a file.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import Any

from service.errors import QuotaExceeded, RateLimited
from service.observability.log import logger
from service.observability.printable import shown_id
from service.observability.recorder import Call
from service.observability.token_bucket import TokenBucket
from service.observability.tracing.trace_context import trace_context

BURST, PER_SECOND = 60.0, 1.0
"""Of lines of each kind: a flood that lasts a day writes some 30 MB."""

CALLERS_FAULTS = frozenset(
    {
        "CANCELLED",
        "INVALID_ARGUMENT",
        "NOT_FOUND",
        "ALREADY_EXISTS",
        "PERMISSION_DENIED",
        "FAILED_PRECONDITION",
        "OUT_OF_RANGE",
        "UNAUTHENTICATED",
    }
)
"""Status codes that are not the server's fault: their lines have the level `info`, the others `warning`."""
CALLERS_REASONS = frozenset({RateLimited.reason, QuotaExceeded.reason})
"""Reasons that are not, although their code may be: the limits of the caller's own token."""

log = logger(__name__)


class RequestLog:
    """See CallLog. May be called from any thread."""

    def __init__(self, slow_s: float = math.inf, clock: Callable[[], float] = time.monotonic) -> None:
        self.slow_s = slow_s
        self._clock = clock
        self._lock = threading.Lock()
        self._buckets: dict[str, tuple[TokenBucket, list[int]]] = {}  # by kind; with the number of lines left out

    def call_finished(self, call: Call, method: str, code: str, seconds: float, metadata: Any = None) -> None:
        """See CallLog. A slow call is one with stages: streams and uploads may last as long as they like."""
        if code == "CANCELLED" and method.endswith(".stream"):  # that is how clients end their watches
            return
        if code != "OK":
            fault = code not in CALLERS_FAULTS and call.reason not in CALLERS_REASONS
            kind, event = ("fault" if fault else "caller"), "a request failed"
            write = log.warning if fault else log.info
        elif call.timing is not None:
            kind, event, write = "slow", "a request was slow", log.warning
        else:
            return
        with self._lock:
            bucket, left_out = self._bucket(kind)
            if not bucket.take():
                left_out[0] += 1
                return
            count, left_out[0] = left_out[0], 0
        write(event, **_fields(call, method, code, seconds, metadata), **({"left_out": count} if count else {}))

    def _bucket(self, kind: str) -> tuple[TokenBucket, list[int]]:
        found = self._buckets.get(kind)
        if found is None:
            found = self._buckets[kind] = (TokenBucket(BURST, PER_SECOND, self._clock), [0])
        return found


def _fields(call: Call, method: str, code: str, seconds: float, metadata: Any) -> dict[str, Any]:
    known = {
        "model": call.model,
        "version": call.version,
        "reason": call.reason if call.reason != code else "",
        "request_id": shown_id(call.request_id),
        "principal": call.principal,
        "peer": call.peer,
        "trace_id": call.trace_id or _trace_id(metadata),
        "rows": call.rows,
    }
    fields: dict[str, Any] = {"method": method, "code": code}
    fields |= {name: value for name, value in known.items() if value}
    fields["seconds"] = round(seconds, 6)
    timing = call.timing
    if timing is not None:
        fields |= {
            "preprocess_s": round(timing.preprocess_s, 6),
            "queue_s": round(timing.queue_s, 6),
            "execute_s": round(timing.execute_s, 6),
            "postprocess_s": round(timing.postprocess_s, 6),
            "batch_rows": timing.batch_rows,
        }
    return fields


def _trace_id(metadata: Any) -> str:
    """The caller's trace, also where it is not sampled: its own logs know it."""
    found = trace_context(metadata or ())
    return "" if found is None else found.trace_id
