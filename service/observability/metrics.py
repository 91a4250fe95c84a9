"""The Prometheus instruments of Zoo, by the names of docs/metrics.md. Base units; made in a registry that is passed in."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.metrics_core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from service.observability.histogram import Histogram

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
RATIO = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0)
MODEL = ("model", "version")
JOB = ("job", "model")
"""For running jobs only; the series are removed when the job stops."""


class Metrics:
    """All instruments. Nothing outside `recorder.py` touches them."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self.requests = Counter(
            "zoo_requests_total",
            "Calls answered, by gRPC status code.",
            (*MODEL, "method", "code"),
            registry=registry,
        )
        self.request_duration = Histogram(
            "zoo_request_duration_seconds",
            "From a call's arrival to its reply.",
            (*MODEL, "method"),
            buckets=SECONDS,
            registry=registry,
        )
        self.stage_duration = Histogram(
            "zoo_stage_duration_seconds",
            "Where the time of an inference call went.",
            (*MODEL, "stage"),
            buckets=SECONDS,
            registry=registry,
        )
        self.batch_size = Histogram(
            "zoo_batch_size", "Rows in an executed batch.", MODEL, buckets=ROWS, registry=registry
        )
        self.batch_padding = Histogram(
            "zoo_batch_padding_ratio", "Padded share of an executed batch.", MODEL, buckets=RATIO, registry=registry
        )
        self.predicted_execute = Histogram(
            "zoo_predicted_execute_seconds",
            "What the scheduler took a batch to need on its lane.",
            MODEL,
            buckets=SECONDS,
            registry=registry,
        )
        self.batch_execute = Histogram(
            "zoo_batch_execute_seconds",
            "What the batches of zoo_predicted_execute_seconds took.",
            MODEL,
            buckets=SECONDS,
            registry=registry,
        )
        self.queue_depth = Gauge("zoo_queue_depth", "Rows that wait for the device.", MODEL, registry=registry)
        self.in_flight = Gauge(
            "zoo_in_flight_requests", "Inference calls taken and not yet answered.", MODEL, registry=registry
        )
        self.rejected = Counter(
            "zoo_rejected_total",
            "Inference calls refused without running, by reason.",
            (*MODEL, "reason"),
            registry=registry,
        )
        self.canary_rollbacks = Counter(
            "zoo_canary_rollbacks_total",
            "Canaries that left their bounds and lost their share of the calls.",
            ("model",),
            registry=registry,
        )
        self.model_state = Gauge(
            "zoo_model_state",
            "1 for the state that the model is in, 0 for the others.",
            ("model", "state"),
            registry=registry,
        )
        self.load_seconds = Gauge(
            "zoo_model_load_seconds", "From weights on disk to ready, at the last load.", MODEL, registry=registry
        )
        self.model_memory = Gauge(
            "zoo_model_memory_bytes", "What a loaded model holds on the device.", MODEL, registry=registry
        )
        self.model_tier = Gauge(
            "zoo_model_tier",
            "1 for the tier and precision that a loaded model runs in.",
            (*MODEL, "tier", "precision"),
            registry=registry,
        )
        self.model_speedup = Gauge(
            "zoo_model_speedup_ratio",
            "Rows a second of what runs, over those of what ran at load; measured at full batch.",
            MODEL,
            registry=registry,
        )
        self.device_memory = Gauge(
            "zoo_device_memory_bytes", "Memory of the device, by kind.", ("device", "kind"), registry=registry
        )
        self.jobs = Gauge("zoo_jobs", "Fine-tune jobs, by state.", ("state",), registry=registry)
        self.job_progress = Gauge(
            "zoo_job_progress_ratio", "Share of a running job that is done.", JOB, registry=registry
        )
        self.job_metric = Gauge(
            "zoo_job_metric",
            "Latest value of what a running job measured.",
            (*JOB, "metric", "split"),
            registry=registry,
        )
        self.device_busy = Counter(
            "zoo_device_busy_seconds_total", "Time the device's lanes spent on batches.", ("device",), registry=registry
        )
        self.certificate_expiry = Gauge(
            "zoo_tls_certificate_expiry_timestamp_seconds",
            "When a TLS certificate in use expires, in Unix time.",
            ("certificate",),
            registry=registry,
        )
        self.certificate_reloads = Counter(
            "zoo_tls_certificate_reloads_total",
            "Changes of the TLS files, by whether the new ones could be used.",
            ("result",),
            registry=registry,
        )
        self.log_lines_lost = CallbackCounter(
            "zoo_log_lines_lost", "Lines that standard output and error did not take, or that could not be made."
        )
        registry.register(self.log_lines_lost)
        self.spans_lost = CallbackCounter(
            "zoo_spans_lost", "Spans that the collector of traces did not take, and traced requests that found no room."
        )
        registry.register(self.spans_lost)


class CallbackCounter(Collector):
    """A counter whose value is kept elsewhere and read at every scrape. Samples are named after it, with `_total`."""

    def __init__(self, name: str, documentation: str) -> None:
        self._name, self._documentation = name, documentation
        self.read: Callable[[], float] = lambda: 0.0

    def collect(self) -> Iterable[Metric]:
        """Called by the registry at every scrape."""
        yield CounterMetricFamily(self._name, self._documentation, value=self.read())
