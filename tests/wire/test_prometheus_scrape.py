"""A real Prometheus takes native histograms and exemplars from the HTTP port, in the formats that it asks for."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from service.observability.http import HttpPort
from service.observability.metrics import Metrics
from service.observability.recorder import Call, Recorder
from service.observability.statistics import Statistics
from service.wire import prometheus_format
from tests.support.end_to_end.prometheus import PrometheusProcess
from tests.support.end_to_end.server_process import until

pytestmark = pytest.mark.component

TRACE = "0af7651916cd43dd8448eb211c80319c"
NAME = "zoo_request_duration_seconds"


@contextmanager
def port_of(recorded: list[float]) -> Iterator[HttpPort]:
    registry = CollectorRegistry(auto_describe=True)
    recorder = Recorder(Metrics(registry), Statistics())
    for number, seconds in enumerate(recorded):
        recorder.call_finished(Call("m", "1", trace_id=TRACE if number == 0 else ""), "Predict", "OK", seconds)
    recorder.batch_executed("m", 1, "cpu", 4, 0.0, 0.001, 0.01, 0.002, 0.012)
    port = HttpPort("127.0.0.1", 0, registry, lambda: (True, True), encode_protobuf=prometheus_format.encode)
    port.start()
    try:
        yield port
    finally:
        port.stop()


@pytest.fixture(scope="module")
def recorded() -> list[float]:
    rng = random.Random(11)
    return [rng.lognormvariate(-3.0, 1.5) for _ in range(5000)]


def exemplars(prometheus: PrometheusProcess) -> list[dict[str, Any]]:
    found = prometheus.api("query_exemplars", query=NAME + "_bucket", start="0", end="99999999999")
    found += prometheus.api("query_exemplars", query=NAME, start="0", end="99999999999")
    return [exemplar for one in found for exemplar in one["exemplars"]]


def assert_is_the_exemplar(found: list[dict[str, Any]], value: float) -> None:
    assert {(one["labels"]["trace_id"], round(float(one["value"]), 9)) for one in found} == {(TRACE, round(value, 9))}


def test_native_histogram_has_every_value_at_its_resolution(recorded: list[float], tmp_path: Path) -> None:
    features = ("native-histograms", "exemplar-storage")
    with port_of(recorded) as port, PrometheusProcess(tmp_path / "native", port.port, *features) as prometheus:
        [series] = prometheus.query(NAME)
        assert int(series["histogram"][1]["count"]) == len(recorded)
        assert prometheus.value(f"histogram_count({NAME})") == len(recorded)
        assert prometheus.value(f"histogram_sum({NAME})") == pytest.approx(sum(recorded))
        for share in (0.5, 0.9, 0.99):
            exact = sorted(recorded)[math.ceil(share * len(recorded)) - 1]
            estimated = prometheus.value(f"histogram_quantile({share}, {NAME})")
            assert estimated == pytest.approx(exact, rel=2 ** (1 / 8) - 1), "within one bucket"
        assert prometheus.query(f"{NAME}_bucket") == [], "this release stores one kind only"
        assert prometheus.value("histogram_count(zoo_batch_size)") == 1
        assert prometheus.value("zoo_requests_total") == len(recorded)
        until(lambda: bool(exemplars(prometheus)), "the exemplar")
        assert_is_the_exemplar(exemplars(prometheus), recorded[0])


def test_scraper_without_native_histograms_gets_classic_ones_with_exemplars(
    recorded: list[float], tmp_path: Path
) -> None:
    with port_of(recorded) as port, PrometheusProcess(tmp_path / "text", port.port, "exemplar-storage") as prometheus:
        assert prometheus.value(f'{NAME}_bucket{{le="+Inf"}}') == len(recorded)
        assert prometheus.value(f'{NAME}_bucket{{le="0.5"}}') == sum(value <= 0.5 for value in recorded)
        assert prometheus.query(NAME) == []
        until(lambda: bool(exemplars(prometheus)), "the exemplar")
        assert_is_the_exemplar(exemplars(prometheus), recorded[0])
