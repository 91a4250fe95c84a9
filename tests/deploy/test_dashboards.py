"""The dashboards are those of their source, and ask for metrics that exist. A real Prometheus answers them in
`tests/end_to_end/operations/test_prometheus.py`."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import promql_parser
import pytest
import yaml

from service.observability.metric_definitions import definitions
from service.observability.metrics import registry_with_process_metrics
from tests.support.dashboards import DASHBOARDS, FOLDER, expressions, panels, rules
from tests.support.paths import REPOSITORY

GRAFANA = REPOSITORY / "deploy" / "grafana"


def known_names() -> set[str]:
    """Metrics, and series of histograms, of rules, and of Prometheus itself."""
    histograms = [metric.name for metric in definitions() if metric.buckets]
    process = {f"{m.name}_total" if m.type == "counter" else m.name for m in registry_with_process_metrics().collect()}
    return {
        *(metric.name for metric in definitions()),
        *(name + suffix for name in histograms for suffix in ("_bucket", "_sum", "_count")),
        *(rule["record"] for rule in rules() if "record" in rule),
        *process,
        "up",
        "ALERTS",
    }


def names_in(expr: str) -> set[str]:
    """The metrics that an expression selects."""
    found: set[str] = set()

    def visit(node: promql_parser.Expr) -> None:
        if isinstance(node, promql_parser.VectorSelector):
            found.add(node.name)
        for name in ("expr", "lhs", "rhs", "vector_selector", "param"):
            if isinstance(inner := getattr(node, name, None), promql_parser.Expr):
                visit(inner)
        for inner in getattr(node, "args", None) or ():
            visit(inner)

    visit(promql_parser.parse(expr))
    return found


def test_dashboards_are_those_of_their_source(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "scripts.dashboards", "--out", str(tmp_path)]
    subprocess.run(command, cwd=REPOSITORY, check=True, timeout=120)
    fresh = {file.name: file.read_text() for file in tmp_path.iterdir()}
    assert fresh == {file.name: file.read_text() for file in FOLDER.iterdir()}, "run `make dashboards`"


@pytest.mark.parametrize(("panel", "expr"), expressions("1m"))
def test_expression_of_a_dashboard_asks_for_metrics_that_exist(panel: str, expr: str) -> None:
    assert "$" not in expr
    assert names_in(expr), panel
    assert names_in(expr) <= known_names()


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule.get("record") or rule["alert"])
def test_rule_asks_for_metrics_that_exist(rule: dict[str, str]) -> None:
    assert names_in(rule["expr"])
    assert names_in(rule["expr"]) <= known_names()


def test_every_metric_of_zoo_is_on_a_dashboard_or_in_an_alert() -> None:
    used = {name for _, expr in expressions("1m") for name in names_in(expr)}
    used |= {name for rule in rules() for name in names_in(rule["expr"])}
    used = {re.sub(r"_(bucket|sum|count)$", "", name) for name in used}
    assert {metric.name for metric in definitions()} <= used


def test_variables_of_a_panel_are_defined() -> None:
    for name, panel in panels():
        defined = {variable["name"] for variable in DASHBOARDS[name]["templating"]["list"]} | {"__rate_interval"}
        assert set(re.findall(r"\$\{?(\w+)", json.dumps(panel))) <= defined, panel["title"]


def test_each_panel_says_what_it_shows() -> None:
    for _, panel in panels():
        assert panel["title"]
        assert panel["description"].endswith(".")
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}


def test_dashboards_have_addresses_of_their_own() -> None:
    assert {name: one["uid"] for name, one in DASHBOARDS.items()} == {name: f"zoo-{name}" for name in DASHBOARDS}
    assert DASHBOARDS.keys() == {"overview", "model", "device", "jobs"}


def test_grafana_is_provisioned_with_prometheus_and_the_dashboards() -> None:
    [source] = yaml.safe_load((GRAFANA / "provisioning/datasources/prometheus.yml").read_text())["datasources"]
    prometheus = yaml.safe_load((REPOSITORY / "deploy/prometheus/prometheus.yml").read_text())
    assert (source["type"], source["isDefault"]) == ("prometheus", True)
    assert source["jsonData"]["timeInterval"] == prometheus["global"]["scrape_interval"]
    [provider] = yaml.safe_load((GRAFANA / "provisioning/dashboards/zoo.yml").read_text())["providers"]
    assert provider["type"] == "file"
    assert provider["options"]["path"].startswith("/")
