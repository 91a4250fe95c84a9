"""The generated part of docs/benchmarks.md."""

from __future__ import annotations

from typing import Any

from benchmarks.reports import conditions, tables
from benchmarks.reports.labels import server_label

TITLES = {
    "closed": "Closed loop",
    "perf": "Closed loop, 32 callers, perf_analyzer as the client",
    "raw": "Photos and speech beside the limit with decoding",
    "latency": "Latency of an open loop, by the share of each server's own capacity",
    "server": "MLPerf's Server scenario beside Offline",
    "overload": "Overload: twice the capacity, deadline 500 ms",
    "lengths": "Texts of lengths as in real reviews",
    "mixed": "Two models at once",
}
SECTIONS = {
    "closed": tables.closed,
    "perf": tables.perf,
    "raw": tables.raw,
    "latency": tables.latency,
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
        f"{machine['torch']}: {report['rounds']} rounds, {report['seconds']:g} s a measurement{_minutes(report)}; medians "
        "over the rounds."
    ]
    if (counts := conditions.discarded(report)) != "":
        parts.append(counts)
    if report.get("quick"):
        parts.append("**A smoke run: these figures show only that the harness works.**")
    if report.get("aims"):
        parts.append("The run measured only what the aims need (`--aims`).")
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
    if (text := conditions.starts(report.get("starts", {}))) != "":
        parts += ["### From READY to the fast tier, on an idle server", text]
    if (text := conditions.sentinel(report)) != "":
        parts += ["### The sentinel", text]
    parts += [
        f"**{name}** failed: {c['failed'].splitlines()[0]}" for name, c in report["cases"].items() if "failed" in c
    ]
    if absent := _absent(report):
        parts += ["### Participants that are missing", absent]
    return "\n\n".join(parts)


def _minutes(report: dict[str, Any]) -> str:
    return f", {report['took_s'] / 60:.0f} minutes in all" if "took_s" in report else ""


def _tiers(case: dict[str, Any]) -> list[str]:
    lines = [
        f"`{model}` as shipped ran {tier.get('tier_compiler') or tier.get('tier', 'eager')}"
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
        for name, case in [*report["cases"].items(), *((name, report.get(name, {})) for name in ("null", "starts"))]
        for server, reason in case.get("absent", {}).items()
    ]
    return "\n".join(lines)
