"""The alerts of deploy/prometheus fire when they should and only then, by `promtool test rules`; each has its runbook.

A case gives series and the minutes at which some alerts fire: all of those, and no other.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.end_to_end.components import find_command

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy" / "prometheus" / "rules"
GROUPS = [group for file in sorted(RULES.glob("*.yml")) for group in yaml.safe_load(file.read_text())["groups"]]
ALERTS: dict[str, dict[str, Any]] = {
    rule["alert"]: rule for group in GROUPS for rule in group["rules"] if "alert" in rule
}
HOUR, DAY = 60, 24 * 60
GIB = 2**30


@dataclass(frozen=True)
class Case:
    """Series by selector, with their values in promtool's notation: `1+2x3` is 1 3 5 7, `_x3` three missing ones."""

    name: str
    series: Mapping[str, str]
    fires: Mapping[int, set[str]]
    """Minute → the alerts that fire then."""
    up: str = "1x10000"
    every: int = 1
    """Minutes between two values, and between two evaluations of the rules."""


def requests(*spans: tuple[int, float, float]) -> dict[str, str]:
    """Counters of calls. `spans`: minutes, requests a minute, and the share that fails."""
    good: list[str] = []
    bad: list[str] = []
    totals = [0.0, 0.0]
    for minutes, rate, share in spans:
        for index, (values, step) in enumerate(((good, rate * (1 - share)), (bad, rate * share))):
            values.append(f"{totals[index]!r}+{step!r}x{minutes - 1}")
            totals[index] += step * minutes
    labels = 'job="zoo", instance="a:8002", model="m", version="1", method="Predict"'
    return {
        f'zoo_requests_total{{{labels}, code="OK"}}': " ".join(good),
        f'zoo_requests_total{{{labels}, code="INTERNAL"}}': " ".join(bad),
    }


def durations(*spans: tuple[int, float, float]) -> dict[str, str]:
    """Of calls. `spans`: minutes, requests a minute, and the share that takes longer than 0.5 s."""
    labels = 'job="zoo", instance="a:8002", model="m", version="1", method="ModelInfer"'
    fast, slow = requests(*spans).values()
    everything, _ = requests(*((minutes, rate, 0.0) for minutes, rate, _ in spans)).values()
    assert slow
    return {
        f'zoo_request_duration_seconds_bucket{{{labels}, le="0.5"}}': fast,
        f'zoo_request_duration_seconds_bucket{{{labels}, le="+Inf"}}': everything,
        f"zoo_request_duration_seconds_count{{{labels}}}": everything,
    }


def one(name: str, values: str, **labels: str) -> dict[str, str]:
    """A series of one server."""
    everything = {"job": "zoo", "instance": "a:8002"} | labels
    return {f"{name}{{{', '.join(f'{key}={json.dumps(value)}' for key, value in everything.items())}}}": values}


def disk(available: str) -> dict[str, str]:
    return one("zoo_home_available_bytes", available) | one("zoo_home_size_bytes", f"{100 * GIB}x2000")


def objectives(*spans: tuple[int, float, float], every: int = 1) -> dict[str, str]:
    """Errors and slow calls at once. `spans`: minutes, requests a scrape, and the burn rate of both budgets."""
    spans = tuple((minutes // every, rate, burn) for minutes, rate, burn in spans)
    return requests(*((minutes, rate, burn * 0.001) for minutes, rate, burn in spans)) | durations(
        *((minutes, rate, min(1.0, burn * 0.01)) for minutes, rate, burn in spans)
    )


FAST = {"ZooErrorBudgetFastBurn", "ZooLatencyBudgetFastBurn"}
SLOW = {"ZooErrorBudgetSlowBurn", "ZooLatencyBudgetSlowBurn"}
CLEAN = (9 * HOUR, 100.0, 0.0)
BEGIN = CLEAN[0]
OBJECTIVES = [
    # After 18 minutes the hour has burned 15 times its budget. Soon after the end the short windows are clean.
    Case(
        "burn rate 50 for an hour",
        objectives(CLEAN, (HOUR, 100.0, 50.0), (12 * HOUR, 100.0, 0.0), every=2),
        {
            BEGIN: set(),
            BEGIN + 10: set(),
            BEGIN + 26: FAST | SLOW,
            BEGIN + HOUR: FAST | SLOW,
            BEGIN + HOUR + 40: SLOW,
            BEGIN + 11 * HOUR: set(),
        },
        every=2,
    ),
    Case(
        "burn rate 100 for two minutes, in the shortest windows only",
        objectives(CLEAN, (2, 100.0, 100.0), (HOUR, 100.0, 0.0), every=2),
        {BEGIN + 2: set(), BEGIN + 4: set(), BEGIN + HOUR: set()},
        every=2,
    ),
    Case(
        "burn rate 8 for hours, in the windows of six hours and 30 minutes",
        objectives(CLEAN, (6 * HOUR, 100.0, 8.0), every=2),
        {BEGIN + 30: set(), BEGIN + 2 * HOUR: SLOW, BEGIN + 5 * HOUR: FAST | SLOW},
        every=2,
    ),
    Case(
        "burn rate 0.5 for two days, then 4 for a day",
        objectives((2 * DAY, 100.0, 0.5), (DAY, 100.0, 4.0), (6 * HOUR, 100.0, 0.0), every=4),
        {2 * DAY: set(), 2 * DAY + 6 * HOUR: set(), 2 * DAY + 20 * HOUR: SLOW, 3 * DAY + 5 * HOUR + 40: set()},
        every=4,
    ),
    Case("burn rate 2 for hours", objectives((12 * HOUR, 100.0, 2.0), every=2), {12 * HOUR - 2: SLOW}, every=2),
    Case("no traffic", objectives((2 * HOUR, 0.0, 0.0)), {HOUR: set(), 2 * HOUR - 1: set()}),
    Case("traffic that ends", objectives((HOUR, 100.0, 0.0), (2 * HOUR, 0.0, 0.0)), {HOUR: set(), 3 * HOUR - 1: set()}),
    Case(
        "a restart without trouble",
        {selector: f"{values} {values}" for selector, values in objectives((HOUR, 100.0, 0.0)).items()},
        {HOUR - 1: set(), HOUR + 3: set(), 2 * HOUR - 1: set()},
    ),
    Case(
        "a restart amid trouble",
        {selector: f"{values} {values}" for selector, values in objectives((HOUR, 100.0, 50.0)).items()},
        {HOUR - 5: FAST | SLOW, HOUR + 5: FAST | SLOW, 2 * HOUR - 5: FAST | SLOW},
    ),
]


CASES = [
    *OBJECTIVES,
    Case(
        "wrong requests and quotas are not the server's errors",
        one("zoo_requests_total", "0+50x200", method="Predict", code="INVALID_ARGUMENT", model="", version="")
        | one("zoo_requests_total", "0+50x200", method="Predict", code="RESOURCE_EXHAUSTED", model="", version="")
        | one("zoo_requests_total", "0+50x200", method="GetModel", code="INTERNAL", model="", version=""),
        {30: set(), HOUR: set()},
    ),
    Case("nothing is scraped but the server", {}, {0: set(), HOUR: set()}),
    Case("a server that is down", {}, {1: set(), 7: {"ZooServerDown"}, 15: set()}, up="1x3 0x6 1x20"),
    Case("no target", {}, {4: set(), 30: {"ZooNoServer"}}, up="_x60"),
    Case(
        "a server that gets ready late, and one that does not",
        one("zoo_ready", "0x8 1x30") | one("zoo_ready", "0x40", instance="b:8002"),
        {8: set(), 12: {"ZooNotReady"}, 30: {"ZooNotReady"}},
    ),
    Case("a server that is ready", one("zoo_ready", "1x60"), {30: set()}),
    Case(
        "restarts",
        one("process_start_time_seconds", "1x10 2x3 3x3 4x40"),
        {12: set(), 17: set(), 20: {"ZooRestarts"}, 55: set()},
    ),
    Case(
        "a certificate that expires in two weeks and an hour",
        one("zoo_tls_certificate_expiry_timestamp_seconds", f"{14 * 86400 + 3600}x300", certificate="server"),
        {HOUR: set(), HOUR + 30: set(), 2 * HOUR + 5: {"ZooCertificateExpires"}},
    ),
    Case(
        "a certificate that expires in two days and half an hour",
        one("zoo_tls_certificate_expiry_timestamp_seconds", f"{2 * 86400 + 1800}x300", certificate="server"),
        {
            5: set(),
            35: set(),
            45: {"ZooCertificateExpiresSoon"},
            2 * HOUR: {"ZooCertificateExpires", "ZooCertificateExpiresSoon"},
        },
    ),
    Case(
        "a certificate that has expired",
        one("zoo_tls_certificate_expiry_timestamp_seconds", "-60x300", certificate="server"),
        {2 * HOUR: {"ZooCertificateExpires", "ZooCertificateExpiresSoon"}},
    ),
    Case(
        "new TLS files that cannot be used, and later ones that can",
        one("zoo_tls_certificate_reloads_total", "_x5 1x200", result="failed")
        | one("zoo_tls_certificate_reloads_total", "0x20 1x200", result="loaded"),
        {3: set(), 10: {"ZooCertificateNotReloaded"}, 100: set()},
    ),
    Case(
        "a queue that grows, then stays long",
        one("zoo_queue_depth", "0x10 0+10x30 300x30", model="m", version="1"),
        {12: set(), 35: {"ZooQueueGrows"}, 69: set()},
    ),
    Case("a queue that is short", one("zoo_queue_depth", "0x10 20x30", model="m", version="1"), {20: set()}),
    Case(
        "refused requests",
        one("zoo_requests_total", "0+100x60", method="Predict", code="OK", model="m", version="1")
        | one("zoo_rejected_total", "0x10 0+10x25 250x20", reason="queue_full", model="m", version="1")
        | one("zoo_rejected_total", "0+50x60", reason="deadline", model="m", version="1"),
        {10: set(), 15: set(), 32: {"ZooRequestsRefused"}, 50: set()},
    ),
    Case(
        "a model that could not be loaded, and is loaded later",
        one("zoo_model_load_failed", "1x20", model="m", version="1")
        | one("zoo_model_state", "1x60", model="n", state="UNAVAILABLE"),
        {3: set(), 15: {"ZooModelUnavailable"}, 30: set()},
    ),
    Case(
        "a load that does not end",
        one("zoo_model_state", "1x20 0x5 1x50", model="m", state="LOADING"),
        {20: set(), 40: set(), 60: {"ZooModelLoads"}},
    ),
    Case(
        "the first rollback of a canary, and a second one",
        one("zoo_canary_rollbacks_total", "_x10 1x60 2x60", model="m"),
        {9: set(), 12: {"ZooCanaryRolledBack"}, 40: set(), 75: {"ZooCanaryRolledBack"}, 100: set()},
    ),
    Case(
        "a job that stops in the middle",
        one("zoo_job_last_progress_timestamp_seconds", "0+60x20 1200x60", exported_job="j1", model="m"),
        {30: set(), 48: set(), 60: {"ZooJobStalled"}},
    ),
    Case(
        "jobs that wait for a running one",
        one("zoo_jobs", "3x60", state="queued") | one("zoo_jobs", "1x60", state="running"),
        {50: set()},
    ),
    Case(
        "jobs that wait for nobody",
        one("zoo_jobs", "3x60", state="queued") | one("zoo_jobs", "0x60", state="running"),
        {20: set(), 40: {"ZooJobsWait"}},
    ),
    Case("a disk with space", disk(f"{50 * GIB}x900"), {HOUR: set(), 2 * HOUR: set()}),
    Case(
        "a disk that will be full within a day",
        disk(f"{30 * GIB}-{GIB // 20}x900"),
        {5: set(), 5 * HOUR: {"ZooDiskFills"}},
    ),
    Case("a disk that is nearly full", disk(f"{9 * GIB}x60"), {10: set(), 30: {"ZooDiskFills"}}),
    Case("a full disk", disk(f"{GIB}x60"), {3: set(), 10: {"ZooDiskFull"}, 30: {"ZooDiskFills", "ZooDiskFull"}}),
    Case(
        "memory that runs out and comes back",
        one("zoo_memory_available_bytes", "50x5 5x20 50x20") | one("zoo_memory_limit_bytes", "100x60"),
        {4: set(), 10: set(), 20: {"ZooMemoryLow"}, 40: set()},
    ),
    Case(
        "file descriptors",
        one("process_open_fds", "100x10 950x30 100x20") | one("process_max_fds", "1000x60"),
        {5: set(), 30: {"ZooFilesLow"}, 50: set()},
    ),
    Case(
        "lost lines of the audit log",
        one("zoo_audit_lines_lost_total", "0x10 0+5x5 25x40"),
        {9: set(), 14: {"ZooAuditLinesLost"}, 40: set()},
    ),
    Case(
        "lost lines of the log",
        one("zoo_log_lines_lost_total", "0x10 0+5x5 25x40"),
        {9: set(), 14: {"ZooLogLinesLost"}, 40: set()},
    ),
]


@pytest.mark.component
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_alerts_fire_when_they_should_and_only_then(case: Case, tmp_path: Path) -> None:
    up = {'up{job="zoo", instance="a:8002"}': case.up}
    checks = [
        {
            "expr": 'count by (alertname) (ALERTS{alertstate="firing"})',
            "eval_time": f"{minute}m",
            "exp_samples": [{"labels": f'{{alertname="{name}"}}', "value": 1} for name in sorted(names)],
        }
        for minute, names in case.fires.items()
    ]
    series = [{"series": selector, "values": values} for selector, values in (up | dict(case.series)).items()]
    interval = f"{case.every}m"
    test = {"interval": interval, "input_series": series, "promql_expr_test": checks}
    files = [str(file) for file in sorted(RULES.glob("*.yml"))]
    promtool("test", "rules", write(tmp_path, {"rule_files": files, "evaluation_interval": interval, "tests": [test]}))


@pytest.mark.component
def test_alert_tells_which_server_and_how_much(tmp_path: Path) -> None:
    """Its texts are rendered with the labels and the value."""
    annotations = dict(ALERTS["ZooMemoryLow"]["annotations"])
    annotations["summary"] = "a:8002 has 5% of its memory left"
    alert = {"job": "zoo", "instance": "a:8002", "severity": "ticket"}
    series = one("zoo_memory_available_bytes", "5x60") | one("zoo_memory_limit_bytes", "100x60")
    test = {
        "interval": "1m",
        "input_series": [{"series": selector, "values": values} for selector, values in series.items()],
        "alert_rule_test": [
            {
                "eval_time": "20m",
                "alertname": "ZooMemoryLow",
                "exp_alerts": [{"exp_labels": alert, "exp_annotations": annotations}],
            }
        ],
    }
    promtool("test", "rules", write(tmp_path, {"rule_files": [str(RULES / "alerts.yml")], "tests": [test]}))


def test_each_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not() -> None:
    fires = {name for case in CASES for names in case.fires.values() for name in names}
    quiet = {name for name in ALERTS for case in CASES if not any(name in names for names in case.fires.values())}
    assert fires == quiet == ALERTS.keys()


def test_each_alert_has_severity_texts_and_runbook() -> None:
    for name, rule in ALERTS.items():
        assert rule["labels"]["severity"] in ("page", "ticket"), name
        assert rule["annotations"].keys() == {"summary", "description", "runbook_url"}, name
        assert rule["annotations"]["runbook_url"] == f"docs/operations.md#{name.lower()}"


def test_each_alert_has_a_paragraph_and_each_paragraph_an_alert() -> None:
    page = (ROOT / "docs" / "operations.md").read_text()
    alerts = page.partition("\n## Alerts\n")[2].partition("\n## ")[0]
    paragraphs = dict(re.findall(r"^### (Zoo\w+)\n\n(.+?)(?=\n\n|\Z)", alerts, re.MULTILINE | re.DOTALL))
    assert [*paragraphs] == [*ALERTS]
    assert all(len(text) > 100 for text in paragraphs.values())


def write(folder: Path, test: Mapping[str, Any]) -> Path:
    file = folder / "test.yml"
    file.write_text(yaml.safe_dump(dict(test)))
    return file


def promtool(*arguments: str | Path) -> None:
    command = [find_command("promtool", None, "Debian's package prometheus"), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
