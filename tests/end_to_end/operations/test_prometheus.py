"""Known traffic through a real server, watched by a real Prometheus: every count is what was sent, and deploy/ finds data."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pytest

from service.client import Client
from service.observability.metric_definitions import definitions
from service.pb import prediction_pb2
from tests.support.dashboards import expressions, rules
from tests.support.end_to_end.prometheus import PrometheusProcess, promtool
from tests.support.end_to_end.server_process import TIMEOUT_S, ServerProcess, until
from tests.support.end_to_end.stubs import (
    RNN,
    TRANSFORMER,
    Scrape,
    Stubs,
    ask,
    expect_error,
    infer,
    samples,
    stubs_of,
)
from tests.support.end_to_end.user_data import flats_csv
from tests.support.end_to_end.workshop import RestartableServer

pytestmark = pytest.mark.component

FRAME = np.zeros(512, np.float32)
SOUND = samples(FRAME)
INFERENCE = (
    "Predict",
    "StreamPredict",
    "ModelInfer",
    "ModelStreamInfer",
    "StreamPredict.stream",
    "ModelStreamInfer.stream",
)

OF_RNN = {"model": RNN, "version": "1"}
UNKNOWN = {"model": "", "version": ""}
ANSWERED = {"Predict": 10, "ModelInfer": 11, "ModelStreamInfer": 6, "StreamPredict": 5}
"""Calls that succeed, by method."""
ROWS = 7 * 1 + 3 * 4 + 5 * 1 + 4 * 3 + 2 * 1 + 6 * 1 + 5 * 1
"""Rows in them."""
CALLS: dict[tuple[str, str, str], int] = {
    **{(method, "OK", RNN): count for method, count in ANSWERED.items()},
    ("StreamPredict.stream", "OK", ""): 1,
    ("ModelStreamInfer.stream", "OK", ""): 1,
    ("Predict", "INVALID_ARGUMENT", RNN): 2,
    ("Predict", "NOT_FOUND", ""): 3,
    ("Predict", "UNAVAILABLE", ""): 4,
    ("ModelInfer", "RESOURCE_EXHAUSTED", RNN): 2,
}
"""Method, code and model → calls."""
REJECTED = {
    (("model", TRANSFORMER), ("reason", "not_ready"), ("version", "")): 4,
    (("model", RNN), ("reason", "queue_full"), ("version", "1")): 2,
}


def send(server: ServerProcess, client: Client, stubs: Stubs) -> None:
    """The traffic that the constants tell, one call after another."""
    for instances, times in ((1, 7), (4, 3)):
        for _ in range(times):
            assert len(stubs.predict(ask(RNN, *[SOUND] * instances)).predictions) == instances
    for rows, times in ((1, 5), (3, 4)):
        for _ in range(times):
            stubs.infer(infer(RNN, samples=np.stack([FRAME] * rows)))
    replies = stubs.inference.ModelStreamInfer(iter([infer(RNN, samples=FRAME[None])] * 6), timeout=TIMEOUT_S)
    assert not [reply.error_message for reply in replies if reply.error_message]
    streamed = [prediction_pb2.StreamPredictRequest(request=ask(RNN, SOUND)) for _ in range(5)]
    outcomes = [
        reply.WhichOneof("outcome") for reply in stubs.prediction.StreamPredict(iter(streamed), timeout=TIMEOUT_S)
    ]
    assert outcomes == ["response"] * 5
    for request, code, times in (
        (ask(RNN, {"text": "no sound"}), "INVALID_ARGUMENT", 2),
        (ask("no_such_model", SOUND), "NOT_FOUND", 3),
        (ask(TRANSFORMER, {"text": "not loaded"}), "UNAVAILABLE", 4),
    ):
        for _ in range(times):
            assert expect_error(lambda request=request: stubs.predict(request), "no_such_model").code == code
    # A row waits for a second one to join its batch. There is no room for two more, and one completes the batch.
    client.set_options(RNN, {"max_queue_delay_ms": 10_000, "max_batch_size": 2, "max_queue_size": 2})
    one, two = (infer(RNN, samples=np.stack([FRAME] * rows)) for rows in (1, 2))
    waiting = stubs.inference.ModelInfer.future(one, timeout=TIMEOUT_S)
    until(lambda: Scrape(server).value("zoo_in_flight_requests", model=RNN) == 1, "a call in flight")
    for _ in range(2):
        assert expect_error(lambda: stubs.infer(two)).code == "RESOURCE_EXHAUSTED"
    stubs.infer(one)
    waiting.result()
    client.set_options(RNN, dict.fromkeys(("max_queue_delay_ms", "max_batch_size", "max_queue_size")))


@dataclass(frozen=True)
class Watched:
    """A server after the traffic and a cancelled job, at rest, and the Prometheus that watched all of it."""

    server: ServerProcess
    prometheus: PrometheusProcess
    page: Scrape
    seconds: float
    """That the traffic took."""
    job: str


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    folder = tmp_path_factory.mktemp("watched")
    with RestartableServer(folder / "home", {"ZOO_MODELS": RNN}) as workshop, stubs_of(workshop.server) as stubs:
        server, client = workshop.server, workshop.client
        with PrometheusProcess(folder / "prometheus", server.http_port, rules=True) as prometheus:
            began = time.monotonic()
            send(server, client, stubs)
            seconds = time.monotonic() - began
            data = client.upload_dataset(flats_csv(folder / "flats.csv"), columns={"target": "rent"})
            job = client.create_job("tabular_mlp", data.id, "rents", hyperparameters={"epochs": 10_000})
            reported = [f'zoo_job_metric{{metric{match}".*loss.*"}}' for match in ("=~", "!~")]
            until(lambda: all(map(prometheus.query, reported)), "metrics of the job")
            client.cancel_job(job.id)
            assert workshop.ended(job).state == "CANCELLED"
            # The traffic again, for rates: a series that is new has none.
            send(server, client, stubs)
            until(lambda: not Scrape(server).value("zoo_in_flight_requests"), "the end of the last call")
            until(lambda: Scrape(server).value("zoo_jobs", state="cancelled") == 1, "the count of jobs")
            page = Scrape(server)
            sent = 2 * sum(CALLS.values())
            counted = f'sum(zoo_requests_total{{method=~"{"|".join(INFERENCE)}"}})'
            until(lambda: prometheus.value(counted) == sent, "a scrape of the last call")
            yield Watched(server, prometheus, page, seconds, job.id)


def series(page: Scrape, name: str, **labels: str) -> dict[tuple[tuple[str, str], ...], float]:
    """Labels → value, of the series of this name with at least these labels."""
    samples = [sample for family in page.families.values() for sample in family.samples if sample.name == name]
    return {tuple(sorted(s.labels.items())): s.value for s in samples if labels.items() <= s.labels.items()}


def labelled(counts: Mapping[tuple[str, str, str], int]) -> dict[tuple[tuple[str, str], ...], float]:
    return {
        (("code", code), ("method", method), ("model", model), ("version", "1" if model else "")): 2.0 * count
        for (method, code, model), count in counts.items()
    }


# ── what the server counts ────────────────────────────────────────────────────────────────────────────────────────


def test_requests_are_counted_by_method_code_and_model(watched: Watched) -> None:
    counted = series(watched.page, "zoo_requests_total")
    assert {labels: n for labels, n in counted.items() if dict(labels)["method"] in INFERENCE} == labelled(CALLS)
    for method in ("CreateJob", "CancelJob"):
        assert watched.page.value("zoo_requests_total", method=method, code="OK") == 1


def test_durations_count_every_request_once(watched: Watched) -> None:
    for method in {method for method, _, _ in CALLS}:
        for model in (RNN, ""):
            sent = 2 * sum(n for (m, _, of), n in CALLS.items() if (m, of) == (method, model))
            name = "zoo_request_duration_seconds"
            assert watched.page.value(f"{name}_count", method=method, model=model) == sent, (method, model)
            buckets = watched.page.buckets(name, method=method, model=model)
            assert buckets.get(float("inf"), 0) == sent
            assert [*buckets.values()] == sorted(buckets.values())
    unary = sum(
        watched.page.value("zoo_request_duration_seconds_sum", method=method) for method in ("Predict", "ModelInfer")
    )
    stages = watched.page.value("zoo_stage_duration_seconds_sum", model=RNN)
    assert stages > 0
    assert unary > 0


def test_refused_calls_are_counted_by_reason(watched: Watched) -> None:
    assert series(watched.page, "zoo_rejected_total") == {labels: 2.0 * n for labels, n in REJECTED.items()}


def test_stages_count_the_calls_that_succeeded(watched: Watched) -> None:
    answered = 2.0 * sum(ANSWERED.values())
    stages = ("preprocess", "queue", "execute", "postprocess")
    assert series(watched.page, "zoo_stage_duration_seconds_count") == {
        (("model", RNN), ("stage", stage), ("version", "1")): answered for stage in stages
    }


def test_batches_hold_every_row_once(watched: Watched) -> None:
    page = watched.page
    assert page.value("zoo_batch_size_sum", **OF_RNN) == 2 * ROWS
    batches = page.value("zoo_batch_size_count", **OF_RNN)
    assert 0 < batches <= 2 * ROWS
    assert page.value("zoo_batch_padding_ratio_count", **OF_RNN) == batches
    predicted = page.value("zoo_predicted_execute_seconds_count", **OF_RNN)
    assert page.value("zoo_batch_execute_seconds_count", **OF_RNN) == predicted <= batches
    busy = page.value("zoo_device_busy_seconds_total", device="cpu")
    assert page.value("zoo_batch_execute_seconds_sum", **OF_RNN) <= busy * 1.000001


def test_gauges_are_at_rest(watched: Watched) -> None:
    page = watched.page
    assert series(page, "zoo_queue_depth") == {(("model", RNN), ("version", "1")): 0}
    assert set(series(page, "zoo_in_flight_requests").values()) == {0.0}
    assert page.value("zoo_ready") == 1
    assert page.value("zoo_model_state", model=RNN, state="READY") == 1
    assert page.value("zoo_model_state", model=TRANSFORMER, state="UNAVAILABLE") == 1
    assert series(page, "zoo_model_load_failed") == {}
    assert series(page, "zoo_model_tier") == {
        (("model", RNN), ("precision", "fp32"), ("tier", "eager"), ("version", "1")): 1
    }
    for name in (
        "zoo_home_available_bytes",
        "zoo_home_size_bytes",
        "zoo_memory_available_bytes",
        "zoo_memory_limit_bytes",
    ):
        assert page.value(name) > 0, name
    assert page.value("zoo_log_lines_lost_total") == 0


def test_job_is_counted_and_leaves_no_series(watched: Watched) -> None:
    counts = {dict(labels)["state"]: n for labels, n in series(watched.page, "zoo_jobs").items()}
    states = ("queued", "running", "paused", "cancelling", "succeeded", "failed")
    assert counts == {"cancelled": 1.0, **dict.fromkeys(states, 0.0)}
    for name in ("zoo_job_progress_ratio", "zoo_job_last_progress_timestamp_seconds", "zoo_job_metric"):
        assert series(watched.page, name) == {}
        stored = watched.prometheus.query(f"last_over_time({name}[10m])")
        assert {one["metric"]["exported_job"] for one in stored} == {watched.job}, "the label of the target wins"


def test_page_has_the_metrics_of_its_documentation_and_no_others(watched: Watched) -> None:
    shown = {f.name + ("_total" if f.type == "counter" else "") for f in watched.page.families.values()}
    assert {name for name in shown if name.startswith("zoo_") and not name.endswith("_created")} == {
        metric.name for metric in definitions()
    }


def test_promtool_finds_nothing_to_say_about_the_page(watched: Watched) -> None:
    assert promtool("check", "metrics", text=watched.server.get("/metrics")) == ""


# ── what Prometheus makes of it ───────────────────────────────────────────────────────────────────────────────────


def test_prometheus_stores_what_the_page_shows(watched: Watched) -> None:
    for name in ("zoo_requests_total", "zoo_rejected_total", "zoo_batch_size_sum", "zoo_stage_duration_seconds_count"):
        # Prometheus does not store empty labels.
        page = series(watched.page, name).items()
        shown = {tuple(pair for pair in labels if pair[1]): value for labels, value in page}
        until(lambda name=name, shown=shown: watched.prometheus.values(name) == shown, f"{name} as on the page")  # type: ignore[misc]


def test_each_expression_of_a_dashboard_finds_data(watched: Watched) -> None:
    empty = {panel: expr for panel, expr in expressions("5s") if not watched.prometheus.had(expr)}
    assert empty == {}


def test_each_recording_rule_finds_data(watched: Watched) -> None:
    for name in (rule["record"] for rule in rules() if "record" in rule):
        until(lambda name=name: watched.prometheus.had(name), name)  # type: ignore[misc]


def test_rules_are_evaluated_without_errors_or_warnings(watched: Watched) -> None:
    def evaluated() -> bool:
        groups = watched.prometheus.api("rules")["groups"]
        return all(rule["health"] != "unknown" for group in groups for rule in group["rules"])

    until(evaluated, "an evaluation of each rule")
    groups = watched.prometheus.api("rules")["groups"]
    found = [rule for group in groups for rule in group["rules"]]
    assert len(found) == len(rules())
    assert {rule["name"]: rule.get("lastError") for rule in found if rule["health"] != "ok"} == {}


def test_alerts_fire_for_the_errors_that_were_sent_and_for_nothing_else(watched: Watched) -> None:
    """Four of 41 calls failed for want of a model, which burns the budget of errors. Other alerts wait some minutes."""
    expected = {"ZooErrorBudgetFastBurn", "ZooErrorBudgetSlowBurn"}

    def fired() -> set[str]:
        found = watched.prometheus.query('last_over_time(ALERTS{alertstate="firing"}[10m])')
        return {one["metric"]["alertname"] for one in found}

    until(lambda: expected <= fired(), "the alerts")
    assert fired() - {"ZooLatencyBudgetFastBurn", "ZooLatencyBudgetSlowBurn"} == expected
