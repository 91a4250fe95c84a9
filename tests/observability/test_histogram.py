"""Our histogram shows what the library's own would."""

import random
import threading

import prometheus_client
import pytest
from prometheus_client import CollectorRegistry

from service.observability.histogram import FOLD, Histogram

BUCKETS = (0.0, 0.5, 1.0, 10.0)


@pytest.mark.parametrize("count", [0, 1, FOLD - 1, FOLD, 3 * FOLD + 7])
def test_it_shows_what_the_library_shows(count: int) -> None:
    rng = random.Random(count)
    values = [rng.choice([*BUCKETS, -1.0, 11.0, rng.uniform(0, 12)]) for _ in range(count)]
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    mine = Histogram("h", "text", ("a", "b"), buckets=BUCKETS, registry=ours).labels("1", "2")
    other = prometheus_client.Histogram("h", "text", ("a", "b"), buckets=BUCKETS, registry=theirs).labels("1", "2")
    for value in values:
        mine.observe(value)
        other.observe(value)
    for end in ("0.0", "0.5", "1.0", "10.0", "+Inf"):
        labels = {"a": "1", "b": "2", "le": end}
        assert ours.get_sample_value("h_bucket", labels) == theirs.get_sample_value("h_bucket", labels)
    assert ours.get_sample_value("h_count", {"a": "1", "b": "2"}) == count
    assert ours.get_sample_value("h_sum", {"a": "1", "b": "2"}) == pytest.approx(sum(values))


def test_no_value_is_lost_between_threads_and_scrapes() -> None:
    registry = CollectorRegistry()
    histogram = Histogram("h", "text", ("a",), buckets=BUCKETS, registry=registry)
    threads = [
        threading.Thread(target=lambda: [histogram.labels("x").observe(0.25) for _ in range(20_000)]) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        histogram.labels("x").read()
    assert registry.get_sample_value("h_count", {"a": "x"}) == 80_000
    assert registry.get_sample_value("h_sum", {"a": "x"}) == 20_000


def test_values_for_all_labels_are_asked_for() -> None:
    histogram = Histogram("h", "text", ("a", "b"), buckets=BUCKETS, registry=CollectorRegistry())
    with pytest.raises(ValueError, match="expected values"):
        histogram.labels("1")
