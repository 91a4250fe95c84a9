"""The tables of a report beside those of the cases: the starts of the server, and the sentinel."""

from __future__ import annotations

from typing import Any

from benchmarks.reports.markdown import number, table


def starts(report: dict[str, Any]) -> str:
    """The time from READY to the fast tier."""
    rows = [
        [model, *(number(one.get(start, {}).get("fast_s"), 1) for start in ("first", "next"))]
        for model, one in report.get("models", {}).items()
    ]
    return table(["model", "first start, s", "next start, s"], rows)


def discarded(report: dict[str, Any]) -> str:
    """One sentence: the measurements of all cases that the sentinel discarded."""
    records = [one["sentinel"] for _, one in _guarded(report)]
    if not records:
        return ""
    kept, again, unsteady = (sum(one[key] for one in records) for key in ("measured", "discarded", "unsteady"))
    return (
        f"The sentinel discarded {again} measurements, because the machine changed during them by more than "
        f"{100 * records[0]['limit']:.0f} %. Of the {kept} that were kept, {unsteady} were unsteady at every try."
    )


def _guarded(report: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """The cases of a report that the sentinel guarded, with their names."""
    parts = [*report["cases"].items(), *((name, report.get(name, {})) for name in ("null", "starts"))]
    return [(name, one) for name, one in parts if one.get("sentinel", {}).get("guarded")]


def sentinel(report: dict[str, Any]) -> str:
    """How many measurements were discarded because the machine changed, by case."""
    rows = [
        [
            name,
            *(number(float(one["sentinel"][key]), 0) for key in ("measured", "discarded", "unsteady")),
            *(number(one["sentinel"]["slowest_to_fastest"].get(key)) for key in ("one", "all")),
        ]
        for name, one in _guarded(report)
    ]
    header = "case|measurements kept|discarded|kept though unsteady|slowest ÷ fastest, one thread|all threads"
    return table(header.split("|"), rows)
