"""Metrics are as the design names them, count what it says, and cannot be made to grow by callers."""

import math
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from service.observability.metric_definitions import definitions
from service.observability.metrics import Metrics
from service.observability.recorder import Call, Recorder
from service.observability.statistics import Statistics
from service.types import Timing

MODEL = ("model", "version")
DOCUMENTED: dict[str, tuple[str, tuple[str, ...]]] = {
    "zoo_requests_total": ("counter", (*MODEL, "method", "code")),
    "zoo_request_duration_seconds": ("histogram", (*MODEL, "method")),
    "zoo_stage_duration_seconds": ("histogram", (*MODEL, "stage")),
    "zoo_batch_size": ("histogram", MODEL),
    "zoo_batch_padding_ratio": ("histogram", MODEL),
    "zoo_predicted_execute_seconds": ("histogram", MODEL),
    "zoo_batch_execute_seconds": ("histogram", MODEL),
    "zoo_queue_depth": ("gauge", MODEL),
    "zoo_in_flight_requests": ("gauge", MODEL),
    "zoo_rejected_total": ("counter", (*MODEL, "reason")),
    "zoo_model_state": ("gauge", ("model", "state")),
    "zoo_model_load_seconds": ("gauge", MODEL),
    "zoo_model_load_failed": ("gauge", MODEL),
    "zoo_model_memory_bytes": ("gauge", MODEL),
    "zoo_model_tier": ("gauge", (*MODEL, "tier", "precision")),
    "zoo_model_speedup_ratio": ("gauge", MODEL),
    "zoo_device_memory_bytes": ("gauge", ("device", "kind")),
    "zoo_device_busy_seconds_total": ("counter", ("device",)),
    "zoo_canary_rollbacks_total": ("counter", ("model",)),
    "zoo_jobs": ("gauge", ("state",)),
    "zoo_job_progress_ratio": ("gauge", ("job", "model")),
    "zoo_job_last_progress_timestamp_seconds": ("gauge", ("job", "model")),
    "zoo_job_metric": ("gauge", ("job", "model", "metric", "split")),
    "zoo_log_lines_lost_total": ("counter", ()),
    "zoo_tls_certificate_expiry_timestamp_seconds": ("gauge", ("certificate",)),
    "zoo_tls_certificate_reloads_total": ("counter", ("result",)),
    "zoo_spans_lost_total": ("counter", ()),
    "zoo_audit_lines_lost_total": ("counter", ()),
    "zoo_ready": ("gauge", ()),
    "zoo_home_available_bytes": ("gauge", ()),
    "zoo_home_size_bytes": ("gauge", ()),
    "zoo_memory_available_bytes": ("gauge", ()),
    "zoo_memory_limit_bytes": ("gauge", ()),
    "zoo_build_info": ("gauge", ("version", "device")),
}
STATES = ("LOADING", "READY", "UNLOADING", "UNAVAILABLE")


class Books:
    """A recorder and a way to read what it wrote."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.recorder = Recorder(Metrics(self.registry), Statistics(lambda: 1234))

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(name, labels)

    def page(self) -> dict[str, Any]:
        text = generate_latest(self.registry).decode()
        families = [f for f in text_string_to_metric_families(text) if not f.name.endswith("_created")]
        return {f.name + ("_total" if f.type == "counter" else ""): f for f in families}


@pytest.fixture
def books() -> Books:
    return Books()


def everything_happens(r: Recorder) -> None:
    r.call_finished(Call("m", "1"), "Predict", "OK", 0.2)
    r.inference_started("m", 1)
    r.inference_finished("m", 1, 3, True, 0.2, Timing(0.1, 0.2, 0.3, 0.4))
    r.rejected("m", 1, "queue_full")
    r.batch_executed("m", 1, "cpu", 4, 0.25, 0.001, 0.01, 0.002, 0.012)
    r.canary_rolled_back("m")
    r.model_state("m", "READY", STATES)
    r.model_loaded("m", 1, 2.5, 1000, lambda: 7)
    r.model_load_failed("m", 2)
    r.model_runs("m", 1, "eager", "fp32", 1.0)
    r.device_memory("cpu", "weights", lambda: 99.0)
    r.jobs_counted({"queued": 2, "running": 1})
    r.job_progress("j1", "flowers", 0.5)
    r.job_metric("j1", "flowers", "loss", "train", 0.7)
    r.certificate_expiry("server", 2e9)
    r.certificate_reloaded(ok=False)
    r.server_started("1.2", "cpu", lambda: True, Path("/"), 2000, lambda: 500)


def test_every_documented_metric_exists_with_its_labels(books: Books) -> None:
    everything_happens(books.recorder)
    page = books.page()
    assert page.keys() == DOCUMENTED.keys()
    for name, (kind, labels) in DOCUMENTED.items():
        assert page[name].type == kind
        assert page[name].documentation
        for sample in page[name].samples:
            if not sample.name.endswith("_created"):
                assert set(sample.labels) - {"le"} == set(labels), sample


def test_definitions_are_those_of_the_metrics_that_exist() -> None:
    assert {d.name: (d.kind, d.labels) for d in definitions()} == DOCUMENTED
    for definition in definitions():
        assert (definition.buckets is not None) == (definition.kind == "histogram"), definition.name
        assert definition.help.endswith(".")
        assert definition.series
        assert definition.cardinality
        assert "|" not in "".join((definition.help, definition.details, definition.series, definition.cardinality))


def test_call_is_counted_by_code_and_timed(books: Books) -> None:
    for code in ("OK", "OK", "NOT_FOUND"):
        books.recorder.call_finished(Call("m", "1"), "Predict", code, 0.3)
    labels = {"model": "m", "version": "1", "method": "Predict"}
    assert books.value("zoo_requests_total", **labels, code="OK") == 2
    assert books.value("zoo_requests_total", **labels, code="NOT_FOUND") == 1
    assert books.value("zoo_request_duration_seconds_count", **labels) == 3
    assert books.value("zoo_request_duration_seconds_sum", **labels) == pytest.approx(0.9)


def test_stage_times_are_recorded_for_successful_calls_only(books: Books) -> None:
    timing = Timing(0.1, 0.2, 0.3, 0.4)
    for ok in (True, False):
        books.recorder.inference_started("m", 1)
        books.recorder.inference_finished("m", 1, 3, ok, 1.0, timing)
    for stage, seconds in zip(("preprocess", "queue", "execute", "postprocess"), (0.1, 0.2, 0.3, 0.4), strict=True):
        labels = {"model": "m", "version": "1", "stage": stage}
        assert books.value("zoo_stage_duration_seconds_count", **labels) == 1
        assert books.value("zoo_stage_duration_seconds_sum", **labels) == pytest.approx(seconds)
    assert books.value("zoo_in_flight_requests", model="m", version="1") == 0


def test_batch_records_predicted_and_actual_time(books: Books) -> None:
    books.recorder.batch_executed("m", 1, "cpu", 4, 0.0, 0.001, 0.01, 0.002)
    books.recorder.batch_executed("m", 1, "cpu", 4, 0.0, 0.001, 0.01, 0.002, 0.012)
    labels = {"model": "m", "version": "1"}
    for name, seconds in {"predicted": 0.012, "batch": 0.013}.items():
        assert books.value(f"zoo_{name}_execute_seconds_count", **labels) == 1, "only those predicted"
        assert books.value(f"zoo_{name}_execute_seconds_sum", **labels) == pytest.approx(seconds)


def test_call_in_flight_is_counted_until_its_end(books: Books) -> None:
    for _ in range(3):
        books.recorder.inference_started("m", 1)
    books.recorder.inference_finished("m", 1, 1, False, 0.1, Timing())
    assert books.value("zoo_in_flight_requests", model="m", version="1") == 2


def test_batch_adds_its_rows_and_device_time(books: Books) -> None:
    for rows in (1, 8, 8):
        books.recorder.batch_executed("m", 1, "cpu", rows, 0.5, 0.001, 0.01, 0.002)
    assert books.value("zoo_batch_size_bucket", model="m", version="1", le="1.0") == 1
    assert books.value("zoo_batch_size_bucket", model="m", version="1", le="8.0") == 3
    assert books.value("zoo_batch_size_sum", model="m", version="1") == 17
    assert books.value("zoo_batch_padding_ratio_sum", model="m", version="1") == 1.5
    assert books.value("zoo_device_busy_seconds_total", device="cpu") == pytest.approx(3 * 0.013)


def test_model_state_gauge_has_one_state_at_a_time(books: Books) -> None:
    for state in STATES:
        books.recorder.model_state("m", state, STATES)
        assert {s: books.value("zoo_model_state", model="m", state=s) for s in STATES} == {
            s: float(s == state) for s in STATES
        }


def test_tier_gauge_has_one_tier_and_none_after_unload(books: Books) -> None:
    eager, compiled = ({"tier": t, "precision": p} for t, p in (("eager", "fp32"), ("compiled", "bf16")))
    labels = {"model": "m", "version": "1"}
    books.recorder.model_loaded("m", 1, 2.5, 1000, lambda: 0)
    books.recorder.model_runs("m", 1, **eager, speedup=1.0)
    assert books.value("zoo_model_tier", **labels, **eager) == 1
    books.recorder.model_runs("m", 1, **compiled, speedup=2.5)
    assert books.value("zoo_model_tier", **labels, **compiled) == 1
    assert books.value("zoo_model_tier", **labels, **eager) is None
    assert books.value("zoo_model_speedup_ratio", **labels) == 2.5
    books.recorder.model_unloaded("m", 1)
    assert books.value("zoo_model_tier", **labels, **compiled) is None
    assert books.value("zoo_model_speedup_ratio", **labels) is None


def test_failed_load_is_shown_until_a_load_succeeds_or_the_version_is_deleted(books: Books) -> None:
    def failed() -> set[str]:
        return {sample.labels["version"] for sample in books.page()["zoo_model_load_failed"].samples}

    for version in (1, 2, 3):
        books.recorder.model_load_failed("m", version)
    assert failed() == {"1", "2", "3"}
    books.recorder.model_loaded("m", 1, 2.5, 1000, lambda: 0)
    assert failed() == {"2", "3"}
    books.recorder.version_gone("m", 2)
    books.recorder.version_gone("m", 7)
    assert failed() == {"3"}
    books.recorder.model_gone("m", STATES)
    books.recorder.version_gone("m", 3)
    assert failed() == set()


def test_queue_length_is_read_at_every_scrape_until_unload(books: Books) -> None:
    depth = [5]
    labels = {"model": "m", "version": "1"}
    books.recorder.model_loaded("m", 1, 2.5, 1000, lambda: depth[0])
    assert books.value("zoo_queue_depth", **labels) == 5
    depth[0] = 2
    assert books.value("zoo_queue_depth", **labels) == 2
    assert books.value("zoo_model_load_seconds", **labels) == 2.5
    assert books.value("zoo_model_memory_bytes", **labels) == 1000
    books.recorder.model_memory("m", 1, 500)
    assert books.value("zoo_model_memory_bytes", **labels) == 500
    books.recorder.model_unloaded("m", 1)
    for gone in ("zoo_queue_depth", "zoo_model_memory_bytes", "zoo_model_load_seconds"):
        assert books.value(gone, **labels) is None
    books.recorder.model_loaded("m", 1, 1.5, 2000, lambda: 9)
    assert books.value("zoo_queue_depth", **labels) == 9
    assert books.value("zoo_model_memory_bytes", **labels) == 2000


def test_rejection_without_version_has_an_empty_label(books: Books) -> None:
    books.recorder.rejected("", 0, "draining")
    assert books.value("zoo_rejected_total", model="", version="", reason="draining") == 1


def test_recorders_have_separate_registries(books: Books) -> None:
    other = Books()
    everything_happens(books.recorder)
    assert other.value("zoo_requests_total", model="m", version="1", method="Predict", code="OK") is None


def test_cache_of_label_lookups_is_bounded(books: Books) -> None:
    """The short cut from labels to series is bounded, whatever it is asked."""
    for i in range(6000):
        books.recorder._labels(books.recorder._metrics.in_flight, "m", str(i))
    assert books.recorder._labels.cache_info().currsize <= 4096  # type: ignore[attr-defined]


def test_ended_job_leaves_no_series(books: Books) -> None:
    """Jobs come and go without end; only those that run now may have series."""
    books.recorder.job_progress("j1", "flowers", 0.5)
    books.recorder.job_metric("j1", "flowers", "loss", "train", 0.7)
    assert books.value("zoo_job_progress_ratio", job="j1", model="flowers") == 0.5
    assert books.value("zoo_job_metric", job="j1", model="flowers", metric="loss", split="train") == 0.7
    books.recorder.job_left("j1", "flowers")
    books.recorder.job_left("never ran", "flowers")
    page = books.page()
    assert not page["zoo_job_progress_ratio"].samples
    assert not page["zoo_job_metric"].samples


def test_job_tells_when_it_last_made_progress_until_it_ends(books: Books) -> None:
    labels = {"job": "j1", "model": "flowers"}
    began = time.time()
    books.recorder.job_metric("j1", "flowers", "loss", "train", 0.7)
    first = books.value("zoo_job_last_progress_timestamp_seconds", **labels)
    books.recorder.job_progress("j1", "flowers", 0.5)
    second = books.value("zoo_job_last_progress_timestamp_seconds", **labels)
    assert first is not None
    assert second is not None
    assert began <= first <= second
    books.recorder.job_left("j1", "flowers")
    assert books.value("zoo_job_last_progress_timestamp_seconds", **labels) is None


def test_state_of_the_server_is_read_at_every_scrape(books: Books, tmp_path: Path) -> None:
    ready, available = [True], [500]
    books.recorder.server_started("1.2", "cuda:0", lambda: ready[0], tmp_path, 2000, lambda: available[0] or None)
    assert books.value("zoo_build_info", version="1.2", device="cuda:0") == 1
    assert (books.value("zoo_ready"), books.value("zoo_memory_available_bytes")) == (1, 500)
    assert books.value("zoo_memory_limit_bytes") == 2000
    disk = shutil.disk_usage(tmp_path)
    assert books.value("zoo_home_size_bytes") == disk.total
    assert 0 <= (books.value("zoo_home_available_bytes") or -1) <= disk.total
    ready[0], available[0] = False, 0
    assert books.value("zoo_ready") == 0
    assert math.isnan(books.value("zoo_memory_available_bytes") or 0.0)


def test_home_that_is_gone_does_not_break_the_scrape(books: Books, tmp_path: Path) -> None:
    books.recorder.server_started("1.2", "cpu", lambda: True, tmp_path / "gone", 2000, lambda: 1)
    assert math.isnan(books.value("zoo_home_size_bytes") or 0.0)
    assert math.isnan(books.value("zoo_home_available_bytes") or 0.0)
    assert books.page()["zoo_ready"].samples


def test_trace_of_a_call_becomes_an_exemplar_of_its_duration(books: Books) -> None:
    books.recorder.call_finished(Call("m", "1", trace_id="f" * 32), "Predict", "OK", 0.3)
    text = openmetrics.generate_latest(books.registry).decode()
    [line] = [line for line in text.splitlines() if "trace_id" in line]
    assert line.startswith("zoo_request_duration_seconds_bucket{")
    assert f'# {{trace_id="{"f" * 32}"}} 0.3 ' in line


def test_metric_series_of_a_job_are_limited(books: Books) -> None:
    for number in range(1000):
        books.recorder.job_metric("j1", "flowers", f"m{number}", "train", 1.0)
    assert len(books.page()["zoo_job_metric"].samples) == 32
