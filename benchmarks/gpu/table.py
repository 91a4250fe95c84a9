"""The report of `make bench-gpu` as Markdown. Imports the standard library only."""

from __future__ import annotations

from typing import Any

from benchmarks.reports.markdown import number, table


def render(report: dict[str, Any]) -> str:
    """Machine, missing packages, checks and loads."""
    machine = report["machine"]
    device = machine.get("gpu") or machine.get("device", "no torch")
    parts = [f"{device}, torch {machine.get('torch', 'missing')}, Python {machine['python']}, {machine['cores']} cores"]
    parts += [
        f"**The {part} did not run.** Missing packages: {', '.join(packages)}. Install them with: pip install "
        + " ".join(packages)
        for part, packages in report["missing"].items()
    ]
    if report["smallest"]:
        parts.append("**The smallest form: these figures show only that the run works.**")
    checks = [[name, _outcome(one), number(one.get("took_s"), 1)] for name, one in report["checks"].items()]
    if checks:
        parts.append(table(["check", "outcome", "s"], checks))
    for precision, loads in report["loads"].items():
        if "closed" not in loads:
            parts.append(f"Loads in {precision}: {loads.get('skipped') or loads.get('failed')}")
            continue
        parts += [f"Loads in {precision}:", _closed(loads), _server(loads["server"])]
    return "\n\n".join(parts)


def _outcome(check: dict[str, Any]) -> str:
    if "skipped" in check:
        return f"not run: {check['skipped']}"
    return "passed" if check["passed"] else f"**failed**: {check['problem']}"


def _closed(loads: dict[str, Any]) -> str:
    rows = [
        [
            kind,
            callers,
            number(one["calls_s"], 1),
            number(one["p50_ms"], 1),
            number(one["p99_ms"], 1),
            number(one.get("batch_rows"), 1),
            f"{number(one['server_cores'])} + {number(one['client_cores'])}",
        ]
        for kind, at in (("tensors", loads["closed"]), ("photos", loads["photos"]))
        for callers, one in at.items()
    ]
    header = "input|callers|calls/s|p50 ms|p99 ms|rows a batch|cores: server + client"
    return table(header.split("|"), rows)


def _server(server: dict[str, Any]) -> str:
    cells = [number(server.get(key), 1) for key in ("single_ms", "bound_ms", "offline_s", "server_s")]
    header = "single, ms|bound on p99, ms|Offline/s|Server/s|Server ÷ Offline"
    return table(header.split("|"), [[*cells, number(server.get("ratio"))]])
