"""What deploy/ asks of Prometheus: the expressions of its dashboards and rules."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import yaml

from tests.support.paths import REPOSITORY

FOLDER = REPOSITORY / "deploy" / "grafana" / "dashboards"
RULES = REPOSITORY / "deploy" / "prometheus" / "rules"
DASHBOARDS: dict[str, dict[str, Any]] = {
    file.stem: json.loads(file.read_text()) for file in sorted(FOLDER.glob("*.json"))
}


def panels() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every panel with the name of its dashboard; no rows."""
    for name, dashboard in DASHBOARDS.items():
        yield from ((name, panel) for panel in dashboard["panels"] if panel["type"] != "row")


def chosen(expr: str, rate_interval: str, choices: dict[str, str] | None = None) -> str:
    """An expression as Grafana sends it, with these choices of variables and all values of the others."""
    for name, value in {"__rate_interval": rate_interval, **(choices or {})}.items():
        expr = expr.replace(f"${name}", value)
    for variable in {name for one in DASHBOARDS.values() for name in (v["name"] for v in one["templating"]["list"])}:
        expr = expr.replace(f"${variable}", ".*")
    return expr


def expressions(rate_interval: str) -> list[tuple[str, str]]:
    """Every expression of a dashboard, as Grafana sends it, after the panel that it is of."""
    return [
        (f"{name}: {panel['title']}", chosen(target["expr"], rate_interval))
        for name, panel in panels()
        for target in panel["targets"]
    ]


def rules() -> list[dict[str, Any]]:
    """Every rule."""
    groups = [group for file in sorted(RULES.glob("*.yml")) for group in yaml.safe_load(file.read_text())["groups"]]
    return [rule for group in groups for rule in group["rules"]]
