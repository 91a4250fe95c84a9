"""A Prometheus histogram that takes less time an observation than `prometheus_client.Histogram`, and shows the same samples.

A request is observed in five histograms. The client library takes two locks and several calls for each observation, which was a
tenth of the event loop's time under small requests.
"""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from collections.abc import Iterator, Sequence

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString


class Series:
    """Observations under one set of labels. From any thread."""

    __slots__ = ("_bounds", "_counts", "_created", "_lock", "_sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0
        self._created = time.time()
        self._lock = threading.Lock()

    def observe(self, value: float) -> None:
        """Counts a value in the first bucket whose bound is not below it."""
        with self._lock:
            self._counts[bisect_left(self._bounds, value)] += 1
            self._sum += value

    def read(self) -> tuple[list[int], float, float]:
        """Count of each bucket alone, the sum of all values, and when the series began, in seconds since the epoch."""
        with self._lock:
            return [*self._counts], self._sum, self._created


class Histogram(Collector):
    """Series by label values. `labels` and `remove` as in `prometheus_client`."""

    def __init__(
        self,
        name: str,
        documentation: str,
        labelnames: Sequence[str],
        *,
        buckets: Sequence[float],
        registry: CollectorRegistry,
    ) -> None:
        """`buckets`: their upper bounds, ascending; one without a bound is added."""
        self._name = name
        self._documentation = documentation
        self._labelnames = tuple(labelnames)
        self._bounds = tuple(map(float, buckets))
        self._shown_bounds = [*map(floatToGoString, self._bounds), "+Inf"]
        self._series: dict[tuple[str, ...], Series] = {}
        self._lock = threading.Lock()
        registry.register(self)

    def labels(self, *values: str) -> Series:
        """The series of these values of the labels, in their order."""
        if len(values) != len(self._labelnames):
            raise ValueError(f"{self._name} has the labels {', '.join(self._labelnames)}")
        key = tuple(map(str, values))
        with self._lock:
            series = self._series.get(key)
            if series is None:
                series = self._series[key] = Series(self._bounds)
        return series

    def remove(self, *values: str) -> None:
        """Forgets a series. Raises KeyError where there is none."""
        with self._lock:
            del self._series[tuple(map(str, values))]

    def describe(self) -> Iterator[Metric]:
        """Its names, without reading it."""
        yield Metric(self._name, self._documentation, "histogram")

    def collect(self) -> Iterator[Metric]:
        """All samples, as the client library writes them."""
        metric = Metric(self._name, self._documentation, "histogram")
        with self._lock:
            found = [*self._series.items()]
        for values, series in found:
            labels = dict(zip(self._labelnames, values, strict=True))
            counts, total, created = series.read()
            below = 0
            for bound, count in zip(self._shown_bounds, counts, strict=True):
                below += count
                metric.add_sample(f"{self._name}_bucket", {**labels, "le": bound}, float(below))
            metric.add_sample(f"{self._name}_count", labels, float(below))
            metric.add_sample(f"{self._name}_sum", labels, total)
            metric.add_sample(f"{self._name}_created", labels, created)
        yield metric
