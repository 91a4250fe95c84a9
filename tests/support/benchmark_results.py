"""The results of a small benchmark run, and a reader of the tables that are made of them."""

from typing import Any


def load_figures(rate: float, p99: float) -> dict[str, float]:
    return {
        "calls_s": rate,
        "p50_ms": p99 / 2,
        "p99_ms": p99,
        "batch_rows": 4.0,
        "server_cores": 1.8,
        "client_cores": 0.1,
    }


def figures_of_round(speed: float) -> dict[str, Any]:
    servers = {"triton": {"32": load_figures(50 * speed, 600)}, "zoo": {"32": load_figures(150 * speed, 300)}}
    limits = {
        "eager": {"rows_s": 100 * speed, "peak_mib": 1000.0},
        "best": {"rows_s": 200 * speed, "peak_mib": 800.0},
    }
    overload = {"zoo": {"capacity_s": 100.0, "offered_s": 200.0, "good_s": 95.0, "goodput": 0.95, "client_cores": 0.2}}
    return {"closed": {"limits": limits, "servers": servers}, "overload": overload}


def benchmark_results() -> dict[str, Any]:
    sweep = {"rows": 8, "lanes": 2}
    case = {
        "scenarios": ["closed", "overload"],
        "rounds": [figures_of_round(1.0), figures_of_round(0.5), figures_of_round(2.0)],
        "sweeps": {"eager": sweep, "best": sweep},
        "absent": {"mlserver": "MLServer ended:\nTraceback …"},
        "tiers": {"cnn": {"tier": "compiled", "tier_candidate": "compiled fp32", "tier_speedup": "1.71"}},
        "memory": {"zoo": {"peak_mib": 920.0, "pss_mib": 900.0}},
    }
    machine = {"taken": "2026-01-02", "cores": 2, "processor": "a processor", "python": "3.11", "torch": "2.14"}
    kinds = {"unary, 8 callers": {"calls_s": 900.0}}
    null = {"absent": {}, "rounds": [{"zoo": kinds, "echo": {"unary, 8 callers": {"calls_s": 1000.0}}}]}
    return {"machine": machine, "rounds": 3, "seconds": 6.0, "cases": {"cnn tensors": case}, "null": null}


def row_of(text: str, *starts: str) -> list[str]:
    found = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")
    ]
    return next(row for row in found if row[: len(starts)] == list(starts))
