"""Counts of every model and version since the server started, in the form of Triton's ModelStatistics.

Times are integers in nanoseconds. Requests and batches are counted apart: the rows of a request may run in several batches, and a
batch holds rows of several requests. Written from threads of lanes and the event loop; read from any thread.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Total:
    """Number of events and their total duration."""

    count: int = 0
    ns: int = 0


@dataclass(frozen=True, slots=True)
class BatchStatistics:
    """Executions at one batch size."""

    rows: int
    compute_input: Total = Total()
    compute_infer: Total = Total()
    compute_output: Total = Total()


@dataclass(frozen=True, slots=True)
class ModelStatisticsSnapshot:
    """Counts of one model and version at one moment."""

    model: str
    version: int
    last_inference_ms: int = 0
    """When the last request was answered, in milliseconds since 1970; 0 for never."""
    inference_count: int = 0
    """Rows answered."""
    execution_count: int = 0
    """Batches executed."""
    success: Total = Total()
    """Requests answered, from arrival to answer."""
    fail: Total = Total()
    """Requests that failed after admission; rejected ones are in the metric `zoo_rejected_total`."""
    queue: Total = Total()
    compute_input: Total = Total()
    compute_infer: Total = Total()
    compute_output: Total = Total()
    """These four split `success`."""
    batches: tuple[BatchStatistics, ...] = ()
    """By rows, smallest first."""


def _wall_clock_ms() -> int:
    return time.time_ns() // 1_000_000


@dataclass(slots=True)
class _Counters:
    """Mutable counts, guarded by the lock of Statistics. Each list is `[count, ns]`."""

    last_inference_ms: int = 0
    inference_count: int = 0
    execution_count: int = 0
    success: list[int] = field(default_factory=lambda: [0, 0])
    fail: list[int] = field(default_factory=lambda: [0, 0])
    queue_ns: int = 0
    input_ns: int = 0
    infer_ns: int = 0
    output_ns: int = 0
    batches: dict[int, list[int]] = field(default_factory=dict)
    """Rows → `[count, input ns, infer ns, output ns]`."""


class Statistics:
    """The counts of all models. Every method is thread-safe and holds the lock for a few additions."""

    def __init__(self, clock_ms: Callable[[], int] = _wall_clock_ms) -> None:
        self._clock_ms = clock_ms
        self._lock = threading.Lock()
        self._counters: dict[tuple[str, int], _Counters] = {}

    def request_finished(
        self,
        model: str,
        version: int,
        ok: bool,
        rows: int,
        total_ns: int,
        *,
        queue_ns: int = 0,
        input_ns: int = 0,
        infer_ns: int = 0,
        output_ns: int = 0,
    ) -> None:
        """A request of `rows` rows ended; the stages count only if it succeeded."""
        with self._lock:
            counters = self._of(model, version)
            total = counters.success if ok else counters.fail
            total[0] += 1
            total[1] += total_ns
            if ok:
                counters.last_inference_ms = self._clock_ms()
                counters.inference_count += rows
                counters.queue_ns += queue_ns
                counters.input_ns += input_ns
                counters.infer_ns += infer_ns
                counters.output_ns += output_ns

    def batch_executed(self, model: str, version: int, rows: int, input_ns: int, infer_ns: int, output_ns: int) -> None:
        """A batch of `rows` rows has run."""
        with self._lock:
            counters = self._of(model, version)
            counters.execution_count += 1
            batch = counters.batches.setdefault(rows, [0, 0, 0, 0])
            batch[0] += 1
            batch[1] += input_ns
            batch[2] += infer_ns
            batch[3] += output_ns

    def snapshot(self, model: str | None = None, version: int | None = None) -> list[ModelStatisticsSnapshot]:
        """Counts of every model that had requests, or of one model or version, sorted by name and number."""
        with self._lock:
            return [
                _frozen(name, number, counters)
                for (name, number), counters in sorted(self._counters.items(), key=lambda item: item[0])
                if model in (None, name) and version in (None, number)
            ]

    def _of(self, model: str, version: int) -> _Counters:
        key = (model, version)
        counters = self._counters.get(key)
        if counters is None:
            counters = self._counters[key] = _Counters()
        return counters


def _frozen(model: str, version: int, counters: _Counters) -> ModelStatisticsSnapshot:
    answered = counters.success[0]
    return ModelStatisticsSnapshot(
        model,
        version,
        last_inference_ms=counters.last_inference_ms,
        inference_count=counters.inference_count,
        execution_count=counters.execution_count,
        success=Total(*counters.success),
        fail=Total(*counters.fail),
        queue=Total(answered, counters.queue_ns),
        compute_input=Total(answered, counters.input_ns),
        compute_infer=Total(answered, counters.infer_ns),
        compute_output=Total(answered, counters.output_ns),
        batches=tuple(
            BatchStatistics(rows, Total(count, input_ns), Total(count, infer_ns), Total(count, output_ns))
            for rows, (count, input_ns, infer_ns, output_ns) in sorted(counters.batches.items())
        ),
    )
