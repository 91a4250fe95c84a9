"""The tables of docs/benchmarks.md, each from the rounds of a case or a report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from benchmarks.reports.aims import aims
from benchmarks.reports.labels import SERVERS, TIERS, server_label
from benchmarks.reports.markdown import number, percent, table
from benchmarks.reports.statistics import middle, ratio, spread


def closed(case: dict[str, Any]) -> str:
    """Throughput and p99 by concurrency, each beside the limit and beside Triton, within rounds."""
    rounds = case["rounds"]
    rows = []
    for name in _names(rounds, "closed", "servers"):
        for at in _keys(rounds, "closed", "servers", name):
            here = ("closed", "servers", name, at)
            rate = (*here, "calls_s")
            triton = ("closed", "servers", "triton", at)
            rows.append(
                [
                    server_label(name),
                    at,
                    number(middle(rounds, *rate), 1),
                    number(ratio(rounds, rate, ("closed", "limits", "eager", "rows_s"))),
                    number(ratio(rounds, rate, ("closed", "limits", "best", "rows_s"))),
                    number(ratio(rounds, rate, (*triton, "calls_s"))),
                    number(middle(rounds, *here, "p50_ms"), 0),
                    number(middle(rounds, *here, "p99_ms"), 0),
                    number(ratio(rounds, (*here, "p99_ms"), (*triton, "p99_ms"))),
                    number(middle(rounds, *here, "batch_rows"), 1),
                    f"{number(middle(rounds, *here, 'server_cores'))} + {number(middle(rounds, *here, 'client_cores'))}",
                    percent(spread(rounds, *rate)),
                ]
            )
    header = "server|callers|calls/s|÷ eager limit|÷ compiled limit|÷ Triton|p50 ms|p99 ms|p99 ÷ Triton|rows a batch"
    limits = [
        f"{TIERS.get(tier, tier)} {number(middle(rounds, 'closed', 'limits', tier, 'rows_s'), 1)} rows/s "
        f"({_sweep(case['sweeps'][tier])})"
        for tier in _keys(rounds, "closed", "limits")
    ]
    limits += [
        f"at the rows that {server_label(name)} reached with 32 callers "
        f"{number(middle(rounds, 'closed', 'reached', name, 'rows_s'), 1)} rows/s"
        for name in _names(rounds, "closed", "reached")
    ]
    text = table([*header.split("|"), "cores: server + client", "spread"], rows)
    return "\n\n".join(filter(None, ["Limits: " + "; ".join(limits) + "." if limits else "", text, _failed(rounds)]))


def _sweep(best: dict[str, Any]) -> str:
    network = f"{best['network']} {best['precision']}, " if best.get("network", "eager") != "eager" else ""
    return f"{network}{best['rows']} rows, {best['lanes']} lanes"


def raw(case: dict[str, Any]) -> str:
    """Encoded inputs beside the in-process limits with decoding."""
    rounds = case["rounds"]
    limits = ("raw", "limits")
    rows = [
        [
            server_label(name),
            at,
            number(middle(rounds, "raw", "servers", name, at, "calls_s"), 1),
            *(
                number(ratio(rounds, ("raw", "servers", name, at, "calls_s"), (*limits, tier, "rows_s")))
                for tier in TIERS
            ),
            number(middle(rounds, "raw", "servers", name, at, "p99_ms"), 0),
        ]
        for name in _names(rounds, "raw", "servers")
        for at in _keys(rounds, "raw", "servers", name)
    ]
    shown = [
        f"{TIERS.get(tier, tier)} {number(middle(rounds, *limits, tier, 'rows_s'), 1)}/s "
        f"({one['arrangement']}, {one['rows']} rows, {one['lanes']} lanes)"
        for tier, one in (rounds[0].get("raw", {}).get("limits", {}) if rounds else {}).items()
    ]
    header = "server|callers|calls/s|÷ eager limit|÷ compiled limit|p99 ms"
    return "\n\n".join(["Limits with decoding: " + "; ".join(shown) + ".", table(header.split("|"), rows)])


def perf(case: dict[str, Any]) -> str:
    """The closed loop with perf_analyzer as the client."""
    rounds = case["rounds"]
    rows = [
        [
            server_label(name),
            number(middle(rounds, "perf", name, "calls_s"), 1),
            number(ratio(rounds, ("perf", name, "calls_s"), ("perf", "triton", "calls_s"))),
            number(middle(rounds, "perf", name, "p50_ms"), 0),
            number(middle(rounds, "perf", name, "p99_ms"), 0),
            f"{number(middle(rounds, 'perf', name, 'server_cores'))} + {number(middle(rounds, 'perf', name, 'client_cores'))}",
        ]
        for name in _names(rounds, "perf")
    ]
    return table(["server", "calls/s", "÷ Triton", "p50 ms", "p99 ms", "cores: server + client"], rows)


def latency(case: dict[str, Any]) -> str:
    """Latencies of the open loop at shares of each server's own capacity."""
    rounds = case["rounds"]
    rows = []
    for name in _names(rounds, "latency"):
        for share in _keys(rounds, "latency", name, "at"):
            here, triton = ("latency", name, "at", share), ("latency", "triton", "at", share)
            rows.append(
                [
                    server_label(name),
                    number(middle(rounds, "latency", name, "capacity_s"), 1),
                    percent(float(share)),
                    *(number(middle(rounds, *here, key), 0) for key in ("p50_ms", "p99_ms", "p999_ms")),
                    number(ratio(rounds, (*here, "p99_ms"), (*triton, "p99_ms"))),
                    number(middle(rounds, *here, "client_lag_p99_ms"), 0),
                ]
            )
    header = "server|capacity/s|load|p50 ms|p99 ms|p99.9 ms|p99 ÷ Triton's|client late, p99 ms"
    return table(header.split("|"), rows)


def _failed(rounds: Sequence[dict[str, Any]]) -> str:
    """Calls that were answered by an error; a closed loop should have none."""
    found = Counter[str]()
    for figures_of_round in rounds:
        for name, at in figures_of_round.get("closed", {}).get("servers", {}).items():
            for callers, figures in at.items():
                for code, count in figures.get("errors", {}).items():
                    found[f"{code} from {server_label(name)} at {callers} callers"] += count
    return (
        "Calls that failed: " + ", ".join(f"{count} × {what}" for what, count in found.items()) + "." if found else ""
    )


def server(case: dict[str, Any]) -> str:
    """MLPerf's Server beside Offline."""
    rounds = case["rounds"]
    rows = [
        [
            server_label(name),
            number(middle(rounds, "server", name, "single_ms"), 1),
            number(middle(rounds, "server", name, "bound_ms"), 0),
            number(middle(rounds, "server", name, "offline_s"), 1),
            number(middle(rounds, "server", name, "server_s"), 1),
            number(middle(rounds, "server", name, "ratio")),
            number(middle(rounds, "server", name, "simulated", "server_s"), 1),
            number(ratio(rounds, ("server", name, "server_s"), ("server", name, "simulated", "server_s"))),
        ]
        for name in _keys(rounds, "server")
    ]
    header = "server|single, ms|bound on p99, ms|Offline/s|Server/s|Server ÷ Offline|simulated/s|Server ÷ simulated"
    return table(header.split("|"), rows)


def overload(case: dict[str, Any]) -> str:
    """Goodput at twice the capacity."""
    rounds = case["rounds"]
    rows = [
        [
            server_label(name),
            number(middle(rounds, "overload", name, "capacity_s"), 1),
            number(middle(rounds, "overload", name, "offered_s"), 1),
            number(middle(rounds, "overload", name, "good_s"), 1),
            number(middle(rounds, "overload", name, "goodput")),
            number(middle(rounds, "overload", name, "bound")),
            number(ratio(rounds, ("overload", name, "goodput"), ("overload", name, "bound"))),
            number(middle(rounds, "overload", name, "answered_ms")),
            number(middle(rounds, "overload", name, "refused_ms")),
            number(middle(rounds, "overload", name, "client_cores")),
            number(middle(rounds, "overload", name, "client_lag_p99_ms"), 0),
        ]
        for name in _keys(rounds, "overload")
    ]
    header = "server|capacity/s|offered/s|in time/s|in time ÷ capacity|bound|÷ bound|an answer, ms of a core|a refusal"
    header += "|client's cores|client late, p99 ms"
    return table(header.split("|"), rows)


def lengths(case: dict[str, Any]) -> str:
    """Texts of different lengths."""
    rounds = case["rounds"]
    arrival = ("lengths", "limits", "eager", "arrival", "rows_s")
    best = ("lengths", "limits", "best", "arrival", "rows_s")

    def row(label: str, path: tuple[str, ...], rate: str) -> list[str]:
        return [
            label,
            number(middle(rounds, *path, rate), 1),
            number(ratio(rounds, (*path, rate), arrival)),
            number(ratio(rounds, (*path, rate), best)),
            number(middle(rounds, *path, "padding")),
            number(middle(rounds, *path, "p99_ms"), 0),
        ]

    rows = [
        row(f"{TIERS.get(tier, tier)}, by {order}", ("lengths", "limits", tier, order), "rows_s")
        for tier in _keys(rounds, "lengths", "limits")
        for order in ("arrival", "length")
    ]
    rows += [
        row(f"{server_label(name)}, {at} callers", ("lengths", "servers", name, at), "calls_s")
        for name in _names(rounds, "lengths", "servers")
        for at in _keys(rounds, "lengths", "servers", name)
    ]
    header = "|texts/s|÷ eager in arrival order|÷ compiled in arrival order|padded share|p99 ms"
    return table(header.split("|"), rows)


def mixed(case: dict[str, Any]) -> str:
    """Two models at once."""
    rows = []
    for name in _keys(case["rounds"], "mixed"):
        rounds = [one["mixed"][name] for one in case["rounds"] if name in one.get("mixed", {})]
        models = list(rounds[0]["alone"])
        flat = [{**dict(zip(models, one["shares"], strict=True)), "sum": sum(one["shares"])} for one in rounds]
        rows.append(
            [server_label(name), *(number(middle(flat, model)) for model in models), number(middle(flat, "sum"))]
        )
        header = ["server", *(f"{model}: share of its rate alone" for model in models), "sum"]
    return table(header, rows) if rows else ""


def null(report: dict[str, Any]) -> str:
    """The call alone."""
    rounds = report["rounds"]
    rows = []
    for kind in _keys(rounds, "echo") or _keys(rounds, "zoo"):
        rate = {name: (name, kind, "calls_s") for name in ("zoo", "echo", "triton")}
        rows.append(
            [
                kind,
                *(number(middle(rounds, *rate[name]), 0) for name in ("zoo", "echo", "triton")),
                number(ratio(rounds, rate["zoo"], rate["echo"])),
                number(ratio(rounds, rate["zoo"], rate["triton"])),
                *(number(middle(rounds, name, kind, "server_us"), 0) for name in ("zoo", "echo")),
                f"{number(middle(rounds, 'zoo', kind, 'server_cores'))} + {number(middle(rounds, 'zoo', kind, 'client_cores'))}",
            ]
        )
    header = "calls|Zoo/s|bare echo/s|Triton/s|Zoo ÷ echo|Zoo ÷ Triton|Zoo's CPU a call, µs|echo's|cores: Zoo + client"
    return table(header.split("|"), rows)


def aims_table(report: dict[str, Any]) -> str:
    """Every aim, the measured figure, and whether it meets the aim."""
    word = {True: "met", False: "missed", None: "not measured"}
    rows = [
        [a.name, f"{'≤' if a.at_most else '≥'} {number(a.wanted)}", number(a.measured), word[a.met]]
        for a in aims(report)
    ]
    return table(["aim", "wanted", "measured", ""], rows)


def memory(cases: dict[str, dict[str, Any]]) -> str:
    """Peak memory, beside that of a script that only runs the network."""
    rows = []
    for case_name, case in cases.items():
        tiers = {"zoo": "best"}
        for name, used in case.get("memory", {}).items():
            script = middle(case["rounds"], "closed", "limits", tiers.get(name, "eager"), "peak_mib")
            if script is not None:
                peak = used["peak_mib"]
                rows.append(
                    [case_name, server_label(name), number(peak, 0), number(used["pss_mib"], 0), number(script, 0)]
                )
                rows[-1].append(number(peak / script))
    return table(["case", "server", "peak MiB", "at the end MiB", "script's peak MiB", "÷ script"], rows)


def _names(rounds: Sequence[dict[str, Any]], *path: str) -> list[str]:
    found = _keys(rounds, *path)
    return sorted(found, key=lambda name: list(SERVERS).index(name) if name in SERVERS else len(SERVERS))


def _keys(rounds: Sequence[dict[str, Any]], *path: str) -> list[str]:
    value: Any = rounds[0] if rounds else {}
    for key in path:
        value = value.get(key, {})
    return list(value)
