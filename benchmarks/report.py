"""`make bench-report`: the tables of docs/benchmarks.md, between their markers, and the plots, from a run's JSON.

python -m benchmarks.report [--results FILE] [--docs FILE] [--no-plots] [--print]
"""

from __future__ import annotations

import argparse
import json
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.aims import aims
from benchmarks.figures import middle, ratio, spread
from benchmarks.processes import ROOT

BEGIN, END = "<!-- benchmarks:begin -->", "<!-- benchmarks:end -->"
CALLED = {
    "zoo": "Zoo, as shipped",
    "zoo-eager": "Zoo, eager fp32",
    "triton": "Triton",
    "litserve": "LitServe",
    "mlserver": "MLServer",
    "echo": "bare grpc.aio echo",
}
TIERS = {"eager": "in-process, eager fp32", "best": "in-process, compiled"}

Table = list[list[str]]


def number(value: float | None, digits: int = 2) -> str:
    """A figure as a cell; a dash where there is none."""
    if value is None or value != value:
        return "–"
    return f"{value:,.{digits}f}".replace(",", " ")


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Markdown; empty without rows."""
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(["| " + " | ".join(header) + " |", "|" + "---|" * len(header), *lines]) if lines else ""


# ── tables ────────────────────────────────────────────────────────────────────────────────────────────────────


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
                    CALLED.get(name, name),
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
                    _percent(spread(rounds, *rate)),
                ]
            )
    header = "server|callers|calls/s|÷ eager limit|÷ compiled limit|÷ Triton|p50 ms|p99 ms|p99 ÷ Triton|rows a batch"
    limits = [
        f"{TIERS.get(tier, tier)} {number(middle(rounds, 'closed', 'limits', tier, 'rows_s'), 1)} rows/s "
        f"({case['sweeps'][tier]['rows']} rows, {case['sweeps'][tier]['lanes']} lanes)"
        for tier in _keys(rounds, "closed", "limits")
    ]
    text = table([*header.split("|"), "cores: server + client", "spread"], rows)
    return "\n\n".join(filter(None, ["Limits: " + "; ".join(limits) + "." if limits else "", text, _failed(rounds)]))


def _failed(rounds: Sequence[dict[str, Any]]) -> str:
    """Calls that were answered by an error, which a closed loop should never see."""
    found = Counter[str]()
    for turn in rounds:
        for name, at in turn["closed"]["servers"].items():
            for callers, figures in at.items():
                for code, count in figures.get("errors", {}).items():
                    found[f"{code} from {CALLED.get(name, name)} at {callers} callers"] += count
    return (
        "Calls that failed: " + ", ".join(f"{count} × {what}" for what, count in found.items()) + "." if found else ""
    )


def server(case: dict[str, Any]) -> str:
    """MLPerf's Server beside Offline."""
    rounds = case["rounds"]
    rows = [
        [
            CALLED.get(name, name),
            number(middle(rounds, "server", name, "single_ms"), 1),
            number(middle(rounds, "server", name, "bound_ms"), 0),
            number(middle(rounds, "server", name, "offline_s"), 1),
            number(middle(rounds, "server", name, "server_s"), 1),
            number(middle(rounds, "server", name, "ratio")),
        ]
        for name in _keys(rounds, "server")
    ]
    return table(["server", "single, ms", "bound on p99, ms", "Offline/s", "Server/s", "Server ÷ Offline"], rows)


def overload(case: dict[str, Any]) -> str:
    """Goodput at twice the capacity."""
    rounds = case["rounds"]
    rows = [
        [
            CALLED.get(name, name),
            number(middle(rounds, "overload", name, "capacity_s"), 1),
            number(middle(rounds, "overload", name, "offered_s"), 1),
            number(middle(rounds, "overload", name, "good_s"), 1),
            number(middle(rounds, "overload", name, "goodput")),
            number(middle(rounds, "overload", name, "client_cores")),
            number(middle(rounds, "overload", name, "client_lag_p99_ms"), 0),
        ]
        for name in _keys(rounds, "overload")
    ]
    header = "server|capacity/s|offered/s|in time/s|in time ÷ capacity|client's cores|client late, p99 ms"
    return table(header.split("|"), rows)


def lengths(case: dict[str, Any]) -> str:
    """Texts of unlike lengths."""
    rounds = case["rounds"]
    arrival = ("lengths", "limits", "eager", "arrival", "rows_s")
    best = ("lengths", "limits", "best", "arrival", "rows_s")

    def row(called: str, path: tuple[str, ...], rate: str) -> list[str]:
        return [
            called,
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
        row(f"{CALLED.get(name, name)}, {at} callers", ("lengths", "servers", name, at), "calls_s")
        for name in _names(rounds, "lengths", "servers")
        for at in _keys(rounds, "lengths", "servers", name)
    ]
    header = "|texts/s|÷ eager in arrival order|÷ compiled in arrival order|padded share|p99 ms"
    return table(header.split("|"), rows)


def mixed(case: dict[str, Any]) -> str:
    """Two models at once."""
    rows = []
    for name in _keys(case["rounds"], "mixed"):
        turns = [turn["mixed"][name] for turn in case["rounds"] if name in turn.get("mixed", {})]
        models = list(turns[0]["alone"])
        flat = [{**dict(zip(models, t["shares"], strict=True)), "sum": sum(t["shares"])} for t in turns]
        rows.append(
            [CALLED.get(name, name), *(number(middle(flat, model)) for model in models), number(middle(flat, "sum"))]
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
                f"{number(middle(rounds, 'zoo', kind, 'server_cores'))} + {number(middle(rounds, 'zoo', kind, 'client_cores'))}",
            ]
        )
    header = "calls|Zoo/s|bare echo/s|Triton/s|Zoo ÷ echo|Zoo ÷ Triton|cores: Zoo + client"
    return table(header.split("|"), rows)


def aims_table(report: dict[str, Any]) -> str:
    """Every aim, what was measured, and whether that keeps it."""
    word = {True: "met", False: "missed", None: "not measured"}
    rows = [
        [a.what, f"{'≤' if a.at_most else '≥'} {number(a.wanted)}", number(a.measured), word[a.met]]
        for a in aims(report)
    ]
    return table(["aim", "wanted", "measured", ""], rows)


def memory(cases: dict[str, dict[str, Any]]) -> str:
    """Peaks, beside the peak of a script that only runs the network."""
    rows = []
    for called, case in cases.items():
        tiers = {"zoo": "best"}
        for name, held in case.get("memory", {}).items():
            script = middle(case["rounds"], "closed", "limits", tiers.get(name, "eager"), "peak_mib")
            if script is not None:
                peak = held["peak_mib"]
                rows.append(
                    [called, CALLED.get(name, name), number(peak, 0), number(held["pss_mib"], 0), number(script, 0)]
                )
                rows[-1].append(number(peak / script))
    return table(["case", "server", "peak MiB", "at the end MiB", "script's peak MiB", "÷ script"], rows)


def _names(rounds: Sequence[dict[str, Any]], *path: str) -> list[str]:
    found = _keys(rounds, *path)
    return sorted(found, key=lambda name: list(CALLED).index(name) if name in CALLED else len(CALLED))


def _keys(rounds: Sequence[dict[str, Any]], *path: str) -> list[str]:
    value: Any = rounds[0] if rounds else {}
    for key in path:
        value = value.get(key, {})
    return list(value)


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.0f} %"


# ── the page ──────────────────────────────────────────────────────────────────────────────────────────────────

TITLES = {
    "closed": "Closed loop",
    "server": "MLPerf's Server scenario beside Offline",
    "overload": "Overload: twice the capacity, deadline 500 ms",
    "lengths": "Texts of lengths as in real reviews",
    "mixed": "Two models at once",
}
SECTIONS = {"closed": closed, "server": server, "overload": overload, "lengths": lengths, "mixed": mixed}


def render(report: dict[str, Any]) -> str:
    """Everything between the markers."""
    machine = report["machine"]
    parts = [
        f"Taken on {machine['taken']} on {machine['cores']} cores ({machine['processor']}), Python {machine['python']}, torch "
        f"{machine['torch']}: {report['rounds']} rounds, {report['seconds']:g} s a measurement, medians over the rounds."
    ]
    if report.get("quick"):
        parts.append("**A smoke run: these figures show only that the harness works.**")
    parts += ["### Aims and where they stand", aims_table(report)]
    for scenario, section in SECTIONS.items():
        for name, case in report["cases"].items():
            if scenario in case.get("scenarios", ()) and (text := section(case)):
                title = f"### {TITLES[scenario]}"
                parts += [title] if title not in parts else []
                parts += [f"**{name}**", text, *_tiers(case)]
    if (text := memory(report["cases"])) != "":
        parts += ["### Memory", text]
    if report.get("null", {}).get("rounds"):
        parts += ["### The call alone", null(report["null"])]
    parts += [
        f"**{name}** failed: {c['failed'].splitlines()[0]}" for name, c in report["cases"].items() if "failed" in c
    ]
    if absent := _absent(report):
        parts += ["### Who did not take part", absent]
    return "\n\n".join(parts)


def _tiers(case: dict[str, Any]) -> list[str]:
    told = [
        f"`{model}` as shipped ran {tier.get('tier', 'eager')}"
        + (
            f" ({tier['tier_candidate']}, {tier.get('tier_speedup', '?')}× in its own timing)"
            if "tier_candidate" in tier
            else ""
        )
        + (f"; {tier['note']}" if "note" in tier else "")
        for model, tier in case.get("tiers", {}).items()
    ]
    return ["; ".join(told) + "."] if told else []


def _absent(report: dict[str, Any]) -> str:
    lines = [
        f"- {CALLED.get(who, who)} in *{name}*: {why.splitlines()[0]}"
        for name, case in [*report["cases"].items(), ("null", report.get("null", {}))]
        for who, why in case.get("absent", {}).items()
    ]
    return "\n".join(lines)


def put(page: str, text: str) -> str:
    """The page with `text` between its markers. Raises ValueError where they are missing."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page has no {BEGIN} … {END}")
    return f"{before}{BEGIN}\n\n{text}\n\n{END}{after}"


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description="Writes the tables and plots of a run.")
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results" / "peers.json")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs" / "benchmarks.md")
    parser.add_argument("--images", type=Path, default=ROOT / "docs" / "images")
    parser.add_argument("--print", action="store_true", help="only show the tables")
    parser.add_argument("--no-plots", action="store_true")
    arguments = parser.parse_args()
    report = json.loads(arguments.results.read_text())
    if arguments.print:
        print(render(report))
        return
    text = render(report)
    if not arguments.no_plots:
        from benchmarks.plots import draw

        text += "\n\n" + "\n\n".join(
            f"![{title}]({Path(os.path.relpath(path, arguments.docs.parent)).as_posix()})"
            for title, path in draw(report, arguments.images)
        )
    arguments.docs.write_text(put(arguments.docs.read_text(), text))
    print(f"written to {arguments.docs}")


if __name__ == "__main__":
    main()
