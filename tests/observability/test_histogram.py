"""Zoo's histogram shows what the client library's shows, and keeps exemplars within bounds."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor

import prometheus_client
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from service.observability.buckets import Buckets
from service.observability.histogram import EXEMPLAR_INTERVAL_S, LONGEST_TRACE_ID, MOST_WAITING, Histogram

BOUNDS = (0.0, 0.005, 0.25, 1.0, 2.5, 64)
BUCKETS = Buckets(BOUNDS, smallest=-8, largest=5)
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
        "zoo_x_seconds", "Of x.", ("model", "stage"), buckets=BOUNDS, registry=theirs
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
        (*BOUNDS, float("inf")), ("0.0", "0.005", "0.25", "1.0", "2.5", "64.0", "+Inf"), strict=True
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


def test_values_of_several_threads_are_all_counted() -> None:
    """Values are counted in groups while other threads observe and a scraper reads."""
    registry = CollectorRegistry()
    series = Histogram("x", "X.", (), buckets=BUCKETS, registry=registry).labels()
    each = 20 * MOST_WAITING + 7

    def observe() -> None:
        for _ in range(each):
            series.observe(0.5)

    with ThreadPoolExecutor(4) as pool:
        running = [pool.submit(observe) for _ in range(4)]
        while not all(one.done() for one in running):
            reading = series.read({})
            assert reading.total == sum(reading.counts) * 0.5
        for one in running:
            one.result()
    assert registry.get_sample_value("x_count") == 4 * each
    assert registry.get_sample_value("x_sum") == 4 * each * 0.5


def test_values_that_wait_to_be_counted_are_bounded() -> None:
    series = Histogram("x", "X.", (), buckets=BUCKETS, registry=CollectorRegistry()).labels()
    for _ in range(5 * MOST_WAITING + 1):
        series.observe(1.0)
        assert len(series._waiting) < MOST_WAITING


# ── exemplars ─────────────────────────────────────────────────────────────────────────────────────────────────────

TRACE, OTHER = "a" * 32, "b" * 32


class Watched:
    """A histogram under a clock, and the exemplars that OpenMetrics shows: bound → trace and value."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.registry = CollectorRegistry()
        histogram = Histogram("x", "X.", (), buckets=BUCKETS, registry=self.registry, clock=lambda: self.now)
        self.series = histogram.labels()

    def exemplars(self) -> dict[str, tuple[str, float]]:
        found = {}
        for family in text_string_to_metric_families(openmetrics.generate_latest(self.registry).decode()):
            for sample in family.samples:
                if sample.exemplar:
                    found[sample.labels["le"]] = (sample.exemplar.labels["trace_id"], sample.exemplar.value)
        return found


def test_exemplar_is_shown_at_the_bucket_of_its_value() -> None:
    watched = Watched()
    watched.series.observe(0.1, TRACE)
    watched.series.observe(100.0, OTHER)
    watched.series.observe(2.0)
    assert watched.exemplars() == {"0.25": (TRACE, 0.1), "+Inf": (OTHER, 100.0)}
    assert "trace_id" not in generate_latest(watched.registry).decode()


def test_exemplar_is_replaced_by_a_newer_one_only_after_the_interval() -> None:
    watched = Watched()
    watched.series.observe(0.1, TRACE)
    watched.now += EXEMPLAR_INTERVAL_S / 2
    watched.series.observe(0.2, OTHER)
    assert watched.exemplars() == {"0.25": (TRACE, 0.1)}
    watched.now += EXEMPLAR_INTERVAL_S / 2
    watched.series.observe(0.2, OTHER)
    assert watched.exemplars() == {"0.25": (OTHER, 0.2)}


def test_exemplars_of_a_series_are_at_most_one_a_bucket() -> None:
    watched, rng = Watched(), random.Random(1)
    for _ in range(2000):
        watched.now += 10.0
        watched.series.observe(rng.expovariate(0.1), TRACE)
    assert len(watched.series.read({}).exemplars) <= len(BOUNDS) + 1


def test_trace_id_that_is_too_long_makes_no_exemplar() -> None:
    watched = Watched()
    watched.series.observe(0.1, "a" * (LONGEST_TRACE_ID + 1))
    assert watched.exemplars() == {}
