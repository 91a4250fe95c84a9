"""The generated part of docs/benchmarks.md."""

from __future__ import annotations

from typing import Any

from benchmarks.reports import tables
from benchmarks.reports.labels import server_label

TITLES = {
    "closed": "Closed loop",
    "server": "MLPerf's Server scenario beside Offline",
    "overload": "Overload: twice the capacity, deadline 500 ms",
    "lengths": "Texts of lengths as in real reviews",
    "mixed": "Two models at once",
}
SECTIONS = {
    "closed": tables.closed,
    "server": tables.server,
    "overload": tables.overload,
    "lengths": tables.lengths,
    "mixed": tables.mixed,
}


def render(report: dict[str, Any]) -> str:
    """The generated part of docs/benchmarks.md, from a report."""
    machine = report["machine"]
    parts = [
        f"Taken on {machine['taken']} on {machine['cores']} cores ({machine['processor']}), Python {machine['python']}, torch "
        f"{machine['torch']}: {report['rounds']} rounds, {report['seconds']:g} s a measurement, medians over the rounds."
    ]
    if report.get("quick"):
        parts.append("**A smoke run: these figures show only that the harness works.**")
    parts += ["### Aims and where they stand", tables.aims_table(report)]
    for scenario, section in SECTIONS.items():
        for name, case in report["cases"].items():
            if scenario in case.get("scenarios", ()) and (text := section(case)):
                title = f"### {TITLES[scenario]}"
                parts += [title] if title not in parts else []
                parts += [f"**{name}**", text, *_tiers(case)]
    if (text := tables.memory(report["cases"])) != "":
        parts += ["### Memory", text]
    if report.get("null", {}).get("rounds"):
        parts += ["### The call alone", tables.null(report["null"])]
    parts += [
        f"**{name}** failed: {c['failed'].splitlines()[0]}" for name, c in report["cases"].items() if "failed" in c
    ]
    if absent := _absent(report):
        parts += ["### Participants that are missing", absent]
    return "\n\n".join(parts)


def _tiers(case: dict[str, Any]) -> list[str]:
    lines = [
        f"`{model}` as shipped ran {tier.get('tier', 'eager')}"
        + (
            f" ({tier['tier_candidate']}, {tier.get('tier_speedup', '?')}× in its own timing)"
            if "tier_candidate" in tier
            else ""
        )
        + (f"; {tier['note']}" if "note" in tier else "")
        for model, tier in case.get("tiers", {}).items()
    ]
    return ["; ".join(lines) + "."] if lines else []


def _absent(report: dict[str, Any]) -> str:
    lines = [
        f"- {server_label(server)} in *{name}*: {reason.splitlines()[0]}"
        for name, case in [*report["cases"].items(), ("null", report.get("null", {}))]
        for server, reason in case.get("absent", {}).items()
    ]
    return "\n".join(lines)
