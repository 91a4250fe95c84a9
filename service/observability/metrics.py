"""The Prometheus instruments of Zoo, made from their definitions in a registry that is passed in."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.metrics_core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from service.observability import metric_definitions as of
from service.observability.histogram import Histogram
from service.observability.metric_definitions import Definition


class Metrics:
    """All instruments. Nothing outside `recorder.py` touches them."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self.requests = self._counter(of.REQUESTS)
        self.request_duration = self._histogram(of.REQUEST_DURATION)
        self.stage_duration = self._histogram(of.STAGE_DURATION)
        self.batch_size = self._histogram(of.BATCH_SIZE)
        self.batch_padding = self._histogram(of.BATCH_PADDING)
        self.predicted_execute = self._histogram(of.PREDICTED_EXECUTE)
        self.batch_execute = self._histogram(of.BATCH_EXECUTE)
        self.queue_depth = self._gauge(of.QUEUE_DEPTH)
        self.in_flight = self._gauge(of.IN_FLIGHT)
        self.rejected = self._counter(of.REJECTED)
        self.canary_rollbacks = self._counter(of.CANARY_ROLLBACKS)
        self.model_state = self._gauge(of.MODEL_STATE)
        self.load_seconds = self._gauge(of.MODEL_LOAD)
        self.load_failed = self._gauge(of.MODEL_LOAD_FAILED)
        self.model_memory = self._gauge(of.MODEL_MEMORY)
        self.model_tier = self._gauge(of.MODEL_TIER)
        self.model_speedup = self._gauge(of.MODEL_SPEEDUP)
        self.device_memory = self._gauge(of.DEVICE_MEMORY)
        self.device_busy = self._counter(of.DEVICE_BUSY)
        self.jobs = self._gauge(of.JOBS)
        self.job_progress = self._gauge(of.JOB_PROGRESS)
        self.job_last_progress = self._gauge(of.JOB_LAST_PROGRESS)
        self.job_metric = self._gauge(of.JOB_METRIC)
        self.certificate_expiry = self._gauge(of.CERTIFICATE_EXPIRY)
        self.certificate_reloads = self._counter(of.CERTIFICATE_RELOADS)
        self.log_lines_lost = CallbackCounter(of.LOG_LINES_LOST)
        registry.register(self.log_lines_lost)
        self.spans_lost = CallbackCounter(of.SPANS_LOST)
        registry.register(self.spans_lost)
        self.audit_lines_lost = CallbackCounter(of.AUDIT_LINES_LOST)
        registry.register(self.audit_lines_lost)
        self.ready = self._gauge(of.READY)
        self.home_available = self._gauge(of.HOME_AVAILABLE)
        self.home_size = self._gauge(of.HOME_SIZE)
        self.memory_available = self._gauge(of.MEMORY_AVAILABLE)
        self.memory_limit = self._gauge(of.MEMORY_LIMIT)
        self.build_info = self._gauge(of.BUILD_INFO)

    def _counter(self, metric: Definition) -> Counter:
        return Counter(metric.name, metric.help, metric.labels, registry=self.registry)

    def _gauge(self, metric: Definition) -> Gauge:
        return Gauge(metric.name, metric.help, metric.labels, registry=self.registry)

    def _histogram(self, metric: Definition) -> Histogram:
        assert metric.buckets is not None
        return Histogram(metric.name, metric.help, metric.labels, buckets=metric.buckets, registry=self.registry)


class CallbackCounter(Collector):
    """A counter without labels whose value is kept elsewhere and read at every scrape."""

    def __init__(self, metric: Definition) -> None:
        self._name, self._documentation = metric.name.removesuffix("_total"), metric.help
        self.read: Callable[[], float] = lambda: 0.0

    def collect(self) -> Iterable[Metric]:
        """Called by the registry at every scrape."""
        yield CounterMetricFamily(self._name, self._documentation, value=self.read())


def registry_with_process_metrics() -> CollectorRegistry:
    """A registry with the client library's metrics of the process, of Python, and of its garbage collector."""
    registry = CollectorRegistry(auto_describe=True)
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    return registry
