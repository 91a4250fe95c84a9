"""Metrics in Prometheus's protobuf format, the only one in which a native histogram can be scraped.

A page is a sequence of `io.prometheus.client.MetricFamily` messages, each after its length. Histograms of our own have classic
and native buckets there. Prometheus stores the native ones, and the classic ones too where its configuration says so.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping

from google.protobuf.proto import serialize_length_prefixed
from google.protobuf.timestamp_pb2 import Timestamp
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar

from service.observability.buckets import SCHEMA, Buckets, NativeBuckets
from service.observability.histogram import HistogramFamily, SeriesReading
from service.pb import prometheus_metrics_pb2 as pb

_CREATED = "_created"


def encode(registry: Collector) -> bytes:
    """All metrics of a registry."""
    page = io.BytesIO()
    for metric in registry.collect():
        for family in _families(metric):
            serialize_length_prefixed(family, page)
    return page.getvalue()


def _families(metric: Metric) -> Iterator[pb.MetricFamily]:
    if isinstance(metric, HistogramFamily):
        series = [_histogram(metric.buckets, reading) for reading in metric.readings]
        yield _family(metric.name, metric, pb.HISTOGRAM, series)
    elif metric.type == "counter":
        created = {_key(s.labels): s.value for s in metric.samples if s.name == metric.name + _CREATED}
        counted = [s for s in metric.samples if s.name == metric.name + "_total"]
        yield _family(
            metric.name + "_total",
            metric,
            pb.COUNTER,
            [
                pb.Metric(label=_labels(s.labels), counter=_counter(s.value, created.get(_key(s.labels))))
                for s in counted
            ],
        )
    elif metric.type == "gauge":
        yield _family(
            metric.name,
            metric,
            pb.GAUGE,
            [pb.Metric(label=_labels(s.labels), gauge=pb.Gauge(value=s.value)) for s in metric.samples],
        )
    else:  # no metric of Zoo; each of its samples is a series all the same
        for name in dict.fromkeys(s.name for s in metric.samples):
            series = [
                pb.Metric(label=_labels(s.labels), untyped=pb.Untyped(value=s.value))
                for s in metric.samples
                if s.name == name
            ]
            yield _family(name, metric, pb.UNTYPED, series)


def _family(name: str, metric: Metric, kind: pb.MetricType.ValueType, series: Iterable[pb.Metric]) -> pb.MetricFamily:
    return pb.MetricFamily(name=name, help=metric.documentation, type=kind, metric=series)


def _counter(value: float, created: float | None) -> pb.Counter:
    return pb.Counter(value=value, created_timestamp=None if created is None else _timestamp(created))


def _histogram(buckets: Buckets, reading: SeriesReading) -> pb.Metric:
    below = buckets.cumulative(reading.counts)
    native = buckets.native(reading.counts)
    exemplars = {number: _exemplar(kept) for number, kept in reading.exemplars.items()}
    spans, deltas = _spans(native)
    return pb.Metric(
        label=_labels(reading.labels),
        histogram=pb.Histogram(
            sample_count=below[-1],
            sample_sum=reading.total,
            created_timestamp=_timestamp(reading.created),
            bucket=[
                pb.Bucket(cumulative_count=count, upper_bound=bound, exemplar=exemplars.get(number))
                for number, (bound, count) in enumerate(zip((*buckets.classic, float("inf")), below, strict=True))
            ],
            schema=SCHEMA,
            zero_threshold=native.zero_threshold,
            zero_count=native.zero_count,
            positive_span=spans,
            positive_delta=deltas,
            exemplars=sorted(exemplars.values(), key=lambda e: (e.timestamp.seconds, e.timestamp.nanos)),
        ),
    )


def _spans(native: NativeBuckets) -> tuple[list[pb.BucketSpan], list[int]]:
    """Runs of consecutive buckets, and the differences of their counts."""
    spans: list[pb.BucketSpan] = []
    deltas: list[int] = []
    end = before = 0  # the first span's offset counts from bucket 0
    for index, count in native.counts:
        if spans and index == end:
            spans[-1].length += 1
        else:
            spans.append(pb.BucketSpan(offset=index - end, length=1))
        deltas.append(count - before)
        end, before = index + 1, count
    return spans, deltas


def _exemplar(kept: Exemplar) -> pb.Exemplar:
    return pb.Exemplar(label=_labels(kept.labels), value=kept.value, timestamp=_timestamp(float(kept.timestamp or 0)))


def _labels(labels: Mapping[str, str]) -> list[pb.LabelPair]:
    return [pb.LabelPair(name=name, value=value) for name, value in sorted(labels.items())]


def _key(labels: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(labels.items()))


def _timestamp(seconds: float) -> Timestamp:
    stamp = Timestamp()
    stamp.FromNanoseconds(int(seconds * 1e9))
    return stamp
