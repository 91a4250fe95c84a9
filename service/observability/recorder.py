"""The only writer of metrics and statistics. Other modules call a method here that names the event.

Methods may be called from any thread. Label values come from the catalog and from fixed sets, never from a request, so a
caller cannot grow the number of series.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from service.observability.metrics import Metrics
from service.observability.statistics import Statistics
from service.observability.tracing.span import Span
from service.types import Timing

MOST_JOB_METRICS = 32


@dataclass(slots=True)
class Call:
    """What is known of a gRPC call so far; the pipeline fills in the model once it is resolved."""

    model: str = ""
    version: str = ""
    request_id: str = ""
    """As the caller sent it; of any length, with any characters. Show it by `printable.shown_id`."""
    principal: str = ""
    """Whose call it is; empty where the server asks for no tokens."""
    rows: int = 0
    timing: Timing | None = None
    """Where the time of an inference request went, as far as it came."""
    trace_id: str = ""
    """Of the trace that holds the call, where it is sampled: 32 hexadecimal digits. Becomes an exemplar."""
    job_id: str = ""
    """Of the job that the call has created."""
    reason: str = ""
    """Of the error that ended it, as clients get it."""
    peer: str = ""
    """The caller's address, where no token says who calls; for the log alone."""


class CallContext(Protocol):
    """The part of a call that its count needs: of a grpc.aio context, or of a call of the frontend."""

    def time_remaining(self) -> float | None:
        """Seconds until the caller's deadline, at least 0; None without one."""

    def code(self) -> Any:
        """The status code so far."""

    def invocation_metadata(self) -> Any:
        """The metadata that the caller sent: pairs of key and value, or None."""

    def peer(self) -> str:
        """The caller's address, as gRPC names it."""


class CallTracing(Protocol):
    """Traces calls; see `tracing/request_tracing.py`."""

    def add_methods(self, service: str, methods: Iterable[str]) -> None:
        """Has the methods of a service traced."""

    def call_finished(
        self, context: CallContext, call: Call, method: str, code: str, began: float, ended: float
    ) -> None:
        """A call, or one request of a stream, is answered; decides whether it is traced. Times are on `time.monotonic()`."""

    def offer_span(self, span: Span) -> None:
        """Takes a finished span that belongs to no call. Never blocks."""


class CallLog(Protocol):
    """Logs calls that failed or were slow; see `request_log.py`."""

    slow_s: float
    """From this many seconds on an inference request is slow."""

    def call_finished(self, call: Call, method: str, code: str, seconds: float, metadata: Any = None) -> None:
        """A call failed, or took at least `slow_s`."""


class InFlightCount:
    """Inference calls of a model that are accepted and not yet answered. Written by the event loop, read at every scrape."""

    __slots__ = ("calls",)

    def __init__(self) -> None:
        self.calls = 0

    def read(self) -> float:
        """Called by the gauge."""
        return float(self.calls)


class Recorder:
    """Writes Prometheus metrics and the Open Inference statistics."""

    def __init__(self, metrics: Metrics, statistics: Statistics) -> None:
        self._metrics = metrics
        self.statistics = statistics
        self.tracing: CallTracing | None = None
        """Set once before calls come; None where calls are not traced."""
        self.call_log: CallLog | None = None
        """The same for the log of slow and failed calls."""
        self._in_flight: dict[tuple[str, int], InFlightCount] = {}
        self._job_series: dict[
            str, set[tuple[str, str]]
        ] = {}  # metrics of each running job; used by the event loop only
        self._tiers: dict[
            tuple[str, int], tuple[str, str]
        ] = {}  # tier and precision of each loaded model; used by the event loop only
        self._failed_loads: dict[str, set[int]] = {}  # versions whose last load failed; used by the event loop only
        # A lookup of a series by its labels costs more than an increment, and the label sets are few.
        self._labels: Callable[..., Any] = lru_cache(maxsize=4096)(lambda metric, *labels: metric.labels(*labels))

    # ── calls ─────────────────────────────────────────────────────────────────────────────────────────────────

    def call_finished(self, call: Call, method: str, code: str, seconds: float) -> None:
        """A gRPC call, or one request of a stream, was answered with a status code's name."""
        self._labels(self._metrics.requests, call.model, call.version, method, code).inc()
        self._labels(self._metrics.request_duration, call.model, call.version, method).observe(seconds, call.trace_id)

    def inference_started(self, model: str, version: int) -> None:
        """An inference call was accepted."""
        in_flight = self._in_flight.get((model, version))
        if in_flight is None:
            in_flight = self._in_flight[model, version] = InFlightCount()
            self._metrics.in_flight.labels(model, str(version)).set_function(in_flight.read)
        in_flight.calls += 1

    def inference_finished(self, model: str, version: int, rows: int, ok: bool, seconds: float, timing: Timing) -> None:
        """An inference call ended. Stages are recorded for successful calls only."""
        label = str(version)
        self._in_flight[model, version].calls -= 1
        self.statistics.request_finished(
            model,
            version,
            ok=ok,
            rows=rows,
            total_ns=int(seconds * 1e9),
            queue_ns=int(timing.queue_s * 1e9),
            input_ns=int(timing.preprocess_s * 1e9),
            infer_ns=int(timing.execute_s * 1e9),
            output_ns=int(timing.postprocess_s * 1e9),
        )
        if ok:
            stage = self._metrics.stage_duration
            self._labels(stage, model, label, "preprocess").observe(timing.preprocess_s)
            self._labels(stage, model, label, "queue").observe(timing.queue_s)
            self._labels(stage, model, label, "execute").observe(timing.execute_s)
            self._labels(stage, model, label, "postprocess").observe(timing.postprocess_s)

    def rejected(self, model: str, version: int, reason: str) -> None:
        """A call was refused without running: `queue_full`, `deadline`, `too_late`, `draining`, `not_ready`,
        `memory_full`."""
        self._labels(self._metrics.rejected, model, str(version) if version else "", reason).inc()

    # ── batches ───────────────────────────────────────────────────────────────────────────────────────────────

    def batch_executed(
        self,
        model: str,
        version: int,
        device: str,
        rows: int,
        padding_ratio: float,
        collate_s: float,
        execute_s: float,
        split_s: float,
        predicted_s: float | None = None,
    ) -> None:
        """A batch ran on a device. `predicted_s`: the scheduler's estimate of its whole duration, if it had one."""
        label = str(version)
        self._labels(self._metrics.batch_size, model, label).observe(rows)
        self._labels(self._metrics.batch_padding, model, label).observe(padding_ratio)
        if predicted_s is not None:  # both or neither, so that their sums are comparable
            self._labels(self._metrics.predicted_execute, model, label).observe(predicted_s)
            self._labels(self._metrics.batch_execute, model, label).observe(collate_s + execute_s + split_s)
        self._labels(self._metrics.device_busy, device).inc(collate_s + execute_s + split_s)
        self.statistics.batch_executed(
            model,
            version,
            rows=rows,
            input_ns=int(collate_s * 1e9),
            infer_ns=int(execute_s * 1e9),
            output_ns=int(split_s * 1e9),
        )

    def head_executed(self, model: str, version: int, rows: int, seconds: float) -> None:
        """A head answered its rows of a batch. The batch itself is counted for the base, whose runtime ran it."""
        self._labels(self._metrics.batch_size, model, str(version)).observe(rows)
        self.statistics.batch_executed(model, version, rows=rows, input_ns=0, infer_ns=int(seconds * 1e9), output_ns=0)

    def canary_rolled_back(self, model: str) -> None:
        """A canary left its bounds and lost its share of the traffic."""
        self._metrics.canary_rollbacks.labels(model).inc()

    # ── models ────────────────────────────────────────────────────────────────────────────────────────────────

    def model_state(self, model: str, state: str, states: tuple[str, ...]) -> None:
        """A model entered a state. `states`: all states."""
        for other in states:
            self._metrics.model_state.labels(model, other).set(1 if other == state else 0)

    def model_gone(self, model: str, states: tuple[str, ...]) -> None:
        """A model was deleted."""
        for version in tuple(self._failed_loads.pop(model, ())):
            self._metrics.load_failed.remove(model, str(version))
        for state in states:
            with suppress(KeyError):
                self._metrics.model_state.remove(model, state)

    def model_load_failed(self, model: str, version: int) -> None:
        """A version could not be loaded. The series stays until it is loaded or deleted."""
        self._metrics.load_failed.labels(model, str(version)).set(1)
        self._failed_loads.setdefault(model, set()).add(version)

    def version_gone(self, model: str, version: int) -> None:
        """A version was deleted."""
        self._clear_failed_load(model, version)

    def _clear_failed_load(self, model: str, version: int) -> None:
        failed = self._failed_loads.get(model, set())
        if version in failed:
            failed.remove(version)
            self._metrics.load_failed.remove(model, str(version))

    def model_loaded(
        self, model: str, version: int, load_s: float, memory_bytes: int, queue_depth: Callable[[], int]
    ) -> None:
        """A model became ready. `queue_depth` is read at every scrape until the model is unloaded."""
        label = str(version)
        self._clear_failed_load(model, version)
        self._metrics.load_seconds.labels(model, label).set(load_s)
        self._metrics.model_memory.labels(model, label).set(memory_bytes)
        self._metrics.queue_depth.labels(model, label).set_function(queue_depth)

    def model_memory(self, model: str, version: int, memory_bytes: int) -> None:
        """The memory of a loaded model changed."""
        self._metrics.model_memory.labels(model, str(version)).set(memory_bytes)

    def model_runs(self, model: str, version: int, tier: str, precision: str, speedup: float) -> None:
        """A loaded model now runs in this tier and precision, `speedup` times as fast as at its load."""
        before = self._tiers.get((model, version))
        if before is not None:
            self._metrics.model_tier.remove(model, str(version), *before)
        self._tiers[model, version] = (tier, precision)
        self._metrics.model_tier.labels(model, str(version), tier, precision).set(1)
        self._metrics.model_speedup.labels(model, str(version)).set(speedup)

    def model_unloaded(self, model: str, version: int) -> None:
        """A model was unloaded: its gauges are removed, with every reference to it."""
        for gauge in (self._metrics.model_memory, self._metrics.load_seconds, self._metrics.queue_depth):
            gauge.remove(model, str(version))
        if tier := self._tiers.pop((model, version), None):
            self._metrics.model_tier.remove(model, str(version), *tier)
            self._metrics.model_speedup.remove(model, str(version))

    # ── jobs ──────────────────────────────────────────────────────────────────────────────────────────────────

    def jobs_counted(self, counts: Mapping[str, int]) -> None:
        """Number of jobs by state; `counts` has every state."""
        for state, count in counts.items():
            self._metrics.jobs.labels(state).set(count)

    def job_progress(self, job: str, model: str, ratio: float) -> None:
        """Progress of a running job. Call `job_left` when it stops."""
        self._metrics.job_progress.labels(job, model).set(ratio)
        self._metrics.job_last_progress.labels(job, model).set_to_current_time()
        self._job_series.setdefault(job, set())

    def job_metric(self, job: str, model: str, metric: str, split: str, value: float) -> None:
        """A metric of a running job. New names beyond MOST_JOB_METRICS are ignored."""
        self._metrics.job_last_progress.labels(job, model).set_to_current_time()
        series = self._job_series.setdefault(job, set())
        if (metric, split) in series or len(series) < MOST_JOB_METRICS:
            series.add((metric, split))
            self._metrics.job_metric.labels(job, model, metric, split).set(value)

    def job_left(self, job: str, model: str) -> None:
        """A job stopped running: its series are removed."""
        for gauge in (self._metrics.job_progress, self._metrics.job_last_progress):
            with suppress(KeyError):
                gauge.remove(job, model)
        for metric, split in self._job_series.pop(job, ()):
            self._metrics.job_metric.remove(job, model, metric, split)

    # ── the process ───────────────────────────────────────────────────────────────────────────────────────────────

    def log_lines_lost(self, read: Callable[[], float]) -> None:
        """`read` returns the number of log lines lost; called at every scrape."""
        self._metrics.log_lines_lost.read = read

    def audit_lines_lost(self, read: Callable[[], float]) -> None:
        """`read` returns the number of lines that the audit log lost; called at every scrape."""
        self._metrics.audit_lines_lost.read = read

    def spans_lost(self, read: Callable[[], float]) -> None:
        """`read` returns the number of spans that did not reach their collector; called at every scrape."""
        self._metrics.spans_lost.read = read

    def certificate_expiry(self, certificate: str, timestamp_s: float) -> None:
        """A TLS certificate in use expires at this Unix time. `certificate`: `server` or `client_ca`."""
        self._metrics.certificate_expiry.labels(certificate).set(timestamp_s)

    def certificate_reloaded(self, *, ok: bool) -> None:
        """New TLS files were taken, or could not be used."""
        self._metrics.certificate_reloads.labels("loaded" if ok else "failed").inc()

    def server_started(
        self,
        version: str,
        device: str,
        ready: Callable[[], bool],
        home: Path,
        memory_limit: int,
        memory_available: Callable[[], int | None],
    ) -> None:
        """What holds for the server's whole life. The functions, and the disk of `home`, are read at every scrape. Bytes."""
        self._metrics.build_info.labels(version, device).set(1)
        self._metrics.ready.set_function(lambda: float(ready()))
        self._metrics.home_available.set_function(lambda: _disk_bytes(home).free)
        self._metrics.home_size.set_function(lambda: _disk_bytes(home).total)
        self._metrics.memory_limit.set(memory_limit)
        self._metrics.memory_available.set_function(lambda: _known(memory_available()))

    # ── the device ────────────────────────────────────────────────────────────────────────────────────────────

    def device_memory(self, device: str, kind: str, read: Callable[[], float]) -> None:
        """`read` returns the bytes of `kind` (listed in docs/metrics.md) on a device; called at every scrape."""
        self._metrics.device_memory.labels(device, kind).set_function(read)


class _Disk(NamedTuple):
    total: float
    free: float


def _disk_bytes(folder: Path) -> _Disk:
    """NaN where the system does not tell: a scrape must not fail because a disk does."""
    try:
        usage = shutil.disk_usage(folder)
    except OSError:
        return _Disk(math.nan, math.nan)
    return _Disk(float(usage.total), float(usage.free))


def _known(value: int | None) -> float:
    return math.nan if value is None else float(value)
