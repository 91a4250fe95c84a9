"""Zoo's histogram shows what the client library's shows."""

from __future__ import annotations

import random

import prometheus_client
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics

from service.observability.histogram import Histogram

BUCKETS = (0.0, 0.005, 0.25, 1.0, 2.5, 64)
OBSERVED = (-1.0, 0.0, 0.005, 0.0050001, 1.0, 64.0, 65.0, float("inf"))


def text(registry: CollectorRegistry, openmetrics_text: bool) -> list[str]:
    shown = openmetrics.generate_latest(registry) if openmetrics_text else generate_latest(registry)
    return [line for line in shown.decode().splitlines() if "_created" not in line or line.startswith("#")]


@pytest.mark.parametrize("openmetrics_text", [False, True])
def test_samples_equal_those_of_the_client_library(openmetrics_text: bool) -> None:
    random.seed(5)
    ours, theirs = CollectorRegistry(auto_describe=True), CollectorRegistry(auto_describe=True)
    made = Histogram("zoo_x_seconds", "Of x.", ("model", "stage"), buckets=BUCKETS, registry=ours)
    reference = prometheus_client.Histogram(
        "zoo_x_seconds", "Of x.", ("model", "stage"), buckets=BUCKETS, registry=theirs
    )
    for value in [*OBSERVED[:-1], *(random.expovariate(2.0) for _ in range(500))]:
        for labels in (("m", "queue"), ("m", 'a "b"\n')):
            made.labels(*labels).observe(value)
            reference.labels(*labels).observe(value)
    assert text(ours, openmetrics_text) == text(theirs, openmetrics_text)


@pytest.mark.parametrize("value", OBSERVED)
def test_value_is_counted_in_every_bucket_whose_bound_it_does_not_exceed(value: float) -> None:
    registry = CollectorRegistry()
    Histogram("x", "X.", (), buckets=BUCKETS, registry=registry).labels().observe(value)
    for bound, shown in zip(
        (*BUCKETS, float("inf")), ("0.0", "0.005", "0.25", "1.0", "2.5", "64.0", "+Inf"), strict=True
    ):
        assert registry.get_sample_value("x_bucket", {"le": shown}) == (value <= bound)
    assert registry.get_sample_value("x_count") == 1


def test_removed_series_is_shown_no_more_and_begins_again_at_zero() -> None:
    registry = CollectorRegistry()
    histogram = Histogram("x", "X.", ("m",), buckets=BUCKETS, registry=registry)
    histogram.labels("a").observe(1.0)
    histogram.remove("a")
    assert registry.get_sample_value("x_count", {"m": "a"}) is None
    histogram.labels("a")
    assert registry.get_sample_value("x_count", {"m": "a"}) == 0.0
    with pytest.raises(KeyError):
        histogram.remove("b")


def test_wrong_number_of_labels_is_rejected() -> None:
    histogram = Histogram("x", "X.", ("m",), buckets=BUCKETS, registry=CollectorRegistry())
    with pytest.raises(ValueError, match="has the labels m"):
        histogram.labels("a", "b")


def test_name_is_registered_once() -> None:
    registry = CollectorRegistry(auto_describe=True)
    Histogram("x", "X.", (), buckets=BUCKETS, registry=registry)
    with pytest.raises(ValueError, match="Duplicated"):
        Histogram("x", "X.", (), buckets=BUCKETS, registry=registry)
