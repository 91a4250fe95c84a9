"""The protobuf format says what the text formats say, and the native buckets as well."""

from __future__ import annotations

import io
import random
from pathlib import Path

from google.protobuf.proto import parse_length_prefixed
from prometheus_client import CollectorRegistry, Summary

from service.observability.metric_definitions import definitions
from service.observability.metrics import Metrics, registry_with_process_metrics
from service.observability.recorder import Call, Recorder
from service.observability.statistics import Statistics
from service.pb import prometheus_metrics_pb2 as pb
from service.wire.prometheus_format import encode

TRACE = "0123456789abcdef0123456789abcdef"


def families(registry: CollectorRegistry) -> dict[str, pb.MetricFamily]:
    page = io.BytesIO(encode(registry))
    found = {}
    while page.tell() < len(page.getbuffer()):
        family = parse_length_prefixed(pb.MetricFamily, page)
        assert family is not None
        found[family.name] = family
    return found


def labels(metric: pb.Metric) -> dict[str, str]:
    return {pair.name: pair.value for pair in metric.label}


def busy_registry() -> CollectorRegistry:
    registry = registry_with_process_metrics()
    recorder = Recorder(Metrics(registry), Statistics())
    recorder.server_started("1.2", "cpu", lambda: True, Path("/"), 10, lambda: 5)
    rng = random.Random(7)
    for model in ("a", 'b "x"'):
        for _ in range(50):
            recorder.call_finished(Call(model, "1", trace_id=TRACE), "Predict", "OK", rng.expovariate(2.0))
    recorder.device_memory("cpu", "models", lambda: 7.0)
    return registry


def test_every_sample_of_the_text_format_is_there() -> None:
    registry = busy_registry()
    found = families(registry)
    for metric in registry.collect():
        if metric.type in ("counter", "gauge"):
            name = metric.name + ("_total" if metric.type == "counter" else "")
            family = found.pop(name)
            assert family.help == metric.documentation
            shown = {tuple(sorted(labels(m).items())): (m.counter or m.gauge) for m in family.metric}
            samples = [s for s in metric.samples if s.name == name]
            assert len(shown) == len(samples)
            assert {tuple(sorted(s.labels.items())) for s in samples} == shown.keys()
        else:
            assert found.pop(metric.name).type == pb.HISTOGRAM
    assert not found
    assert {d.name for d in definitions()} <= families(registry).keys()


def test_counter_has_its_value_and_the_time_of_its_start() -> None:
    [counter] = [m for m in families(busy_registry())["zoo_requests_total"].metric if labels(m)["model"] == "a"]
    assert counter.counter.value == 50
    assert counter.counter.created_timestamp.seconds > 1_600_000_000


def test_classic_and_native_buckets_count_the_same_values() -> None:
    registry = busy_registry()
    for metric in families(registry)["zoo_request_duration_seconds"].metric:
        histogram, mine = metric.histogram, labels(metric)
        for bucket in histogram.bucket:
            le = "+Inf" if bucket.upper_bound == float("inf") else str(float(bucket.upper_bound))
            shown = registry.get_sample_value("zoo_request_duration_seconds_bucket", {**mine, "le": le})
            assert bucket.cumulative_count == shown
        counts, before = [], 0
        for delta in histogram.positive_delta:
            before += delta
            counts.append(before)
        assert all(count > 0 for count in counts)
        assert sum(counts) + histogram.zero_count == histogram.sample_count == 50
        assert sum(span.length for span in histogram.positive_span) == len(counts)
        assert histogram.sample_sum == registry.get_sample_value("zoo_request_duration_seconds_sum", mine)


def test_native_bucket_holds_the_value_that_was_observed() -> None:
    registry = CollectorRegistry()
    recorder = Recorder(Metrics(registry), Statistics())
    for seconds in (0.25, 1.0, 1.01, 1.05, 8.0):
        recorder.call_finished(Call("m", "1"), "Predict", "OK", seconds)
    [metric] = families(registry)["zoo_request_duration_seconds"].metric
    index, found = 0, []
    for span in metric.histogram.positive_span:
        index += span.offset
        found += range(index, index + span.length)
        index += span.length
    assert found == [-16, 0, 1, 24], "2^-2, 2^0, (2^0, 2^(1/8)] and 2^3"
    assert [*metric.histogram.positive_delta] == [1, 0, 1, -1]


def test_exemplar_has_trace_value_and_time() -> None:
    registry = CollectorRegistry()
    recorder = Recorder(Metrics(registry), Statistics())
    recorder.call_finished(Call("m", "1", trace_id=TRACE), "Predict", "OK", 0.3)
    recorder.call_finished(Call("m", "1"), "Predict", "OK", 3.0)
    [metric] = families(registry)["zoo_request_duration_seconds"].metric
    [bucket] = [bucket for bucket in metric.histogram.bucket if bucket.HasField("exemplar")]
    [native] = metric.histogram.exemplars
    assert bucket.upper_bound == 0.5
    assert bucket.exemplar == native
    assert {pair.name: pair.value for pair in native.label} == {"trace_id": TRACE}
    assert native.value == 0.3
    assert native.timestamp.seconds > 1_600_000_000


def test_metric_of_another_kind_is_untyped() -> None:
    registry = CollectorRegistry()
    Summary("s", "S.", registry=registry).observe(2.0)
    found = families(registry)
    assert found["s_count"].metric[0].untyped.value == 1
    assert found["s_sum"].metric[0].untyped.value == 2
