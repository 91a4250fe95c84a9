"""The tables of docs/simulation.md, between their markers, and the plots beside it, from a run's JSON.

python -m benchmarks.simulation.document [--results FILE] [--docs FILE]
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from benchmarks.paths import DOCS, RESULTS
from benchmarks.reports.markdown import number, replace_generated, table
from benchmarks.simulation.contenders import CONTENDERS

LABELS = {
    "zoo": "Zoo",
    "fcfs": "first come, first served",
    "triton": "delay, as Triton",
    "torchserve": "delay, as TorchServe",
    "clipper": "AIMD, as Clipper",
    "oracle": "bound",
}
COLOURS = {
    "zoo": "#0072b2",
    "fcfs": "#999999",
    "triton": "#d55e00",
    "torchserve": "#e69f00",
    "clipper": "#009e73",
    "oracle": "#000000",
}
"""The palette of Okabe and Ito, which colour-blind readers can distinguish."""
MARKS = {"zoo": "o", "fcfs": "x", "triton": "^", "torchserve": "v", "clipper": "s"}

SHOWN = ("0.5", "0.8", "0.95", "1.1", "1.5", "2", "2.5")
"""Loads of the tables."""


def render(report: dict[str, Any], pictures: Mapping[str, Path] = MappingProxyType({})) -> str:
    """The generated part of the page. `pictures`: scenario → path of its plot from the page."""
    answered = sum(
        one["answered"] + one["refused"] + one["dropped"]
        for scenario in report["scenarios"].values()
        for at in scenario["loads"].values()
        for one in at.values()
        if "answered" in one
    )
    parts = [
        f"{len(report['scenarios'])} scenarios, {report['turns']:g} turns a point, seed {report['seed']}: "
        f"{number(answered, 0)} requests in {number(report['took_s'], 0)} s."
    ]
    parts += ["### Zoo beside the best of the others", _beside_others(report)]
    parts += ["### The least any model got of its fair share, at × 2", _least_shares(report)]
    for name, scenario in report["scenarios"].items():
        parts += [f"### {name}: {scenario['about']}"]
        parts += [f"![{name}: goodput and p99 against load]({pictures[name].as_posix()})"] if name in pictures else []
        parts += [_conditions(scenario), _curve(scenario, "goodput", 2)]
        parts += [
            "p99 of what was answered, in milliseconds:",
            _curve(scenario, "p99_s", 0, 1000.0),
            _at_twice(scenario),
        ]
    return "\n\n".join(parts)


def _conditions(scenario: dict[str, Any]) -> str:
    deadlines = [f"{1000.0 * within:.0f} ms" if within else "none" for within in scenario["within_s"]]
    weights = (
        f", weights {' : '.join(f'{weight:g}' for weight in scenario['weights'])}"
        if len(scenario["weights"]) > 1
        else ""
    )
    return (
        f"Device `{scenario['device']}`, {', '.join(f'`{network}`' for network in scenario['networks'])}{weights}; "
        f"{'bursts' if scenario['pattern'] == 'bursty' else 'Poisson'}; deadlines {' or '.join(deadlines)}; capacity "
        f"{number(scenario['capacity_s'], 0)} requests a second. Goodput against load:"
    )


def _loads(scenario: dict[str, Any]) -> list[str]:
    return [load for load in SHOWN if load in scenario["loads"]]


def _curve(scenario: dict[str, Any], figure: str, digits: int, scale: float = 1.0) -> str:
    loads = _loads(scenario)
    rows = []
    for name, label in LABELS.items():
        values = [scenario["loads"][load].get(name, {}).get(figure) for load in loads]
        if any(value is not None for value in values):
            rows.append([label, *(number(None if value is None else value * scale, digits) for value in values)])
    return table(["", *(f"× {load}" for load in loads)], rows)


def _at_twice(scenario: dict[str, Any]) -> str:
    at = scenario["loads"].get("2", {})
    shared = len(scenario["networks"]) > 1
    rows = []
    for name in CONTENDERS:
        if name in at:
            one = at[name]
            cells = [number(one["padding_ratio"]), number(one["rows_a_batch"], 1)]
            total = one["answered"] + one["refused"] + one["dropped"]
            cells += [f"{100.0 * one[fate] / total:.0f} %" for fate in ("refused", "dropped", "late")]
            if shared:
                cells += [" · ".join(number(value) for value in one["to_fair_share"].values())]
            rows.append([LABELS[name], *cells])
    header = ["at × 2", "padding ratio", "rows a batch", "refused", "dropped", "answered late"]
    return table([*header, *(["share ÷ fair share, by network"] if shared else [])], rows)


def _beside_others(report: dict[str, Any]) -> str:
    rows = []
    for name, scenario in report["scenarios"].items():
        cells = []
        for load in _loads(scenario):
            at = scenario["loads"][load]
            others = {other: at[other]["goodput"] for other in CONTENDERS if other != "zoo" and other in at}
            best = max(others, key=lambda other: others[other])
            ahead = at["zoo"]["goodput"] - others[best]
            cells.append(f"**{ahead:+.3f}**" if ahead < -0.001 else f"{ahead:+.3f}")
        rows.append([name, *cells])
    return table(["Zoo's goodput less the best of the others'", *(f"× {load}" for load in SHOWN)], rows)


def _least_shares(report: dict[str, Any]) -> str:
    rows = []
    for name, scenario in report["scenarios"].items():
        at = scenario["loads"].get("2", {})
        if len(scenario["networks"]) > 1 and at:
            rows.append([name, *(number(at.get(other, {}).get("least_to_fair_share")) for other in CONTENDERS)])
    return table(["", *(LABELS[name] for name in CONTENDERS)], rows)


# ── plots ─────────────────────────────────────────────────────────────────────────────────────────────────────


def draw(report: dict[str, Any], folder: Path) -> dict[str, Path]:
    """Goodput and p99 against load, a figure a scenario, as SVG. Needs matplotlib."""
    # Imported by name: type checks must not depend on whether matplotlib is installed.
    matplotlib: Any = importlib.import_module("matplotlib")
    figures: Any = importlib.import_module("matplotlib.figure")
    matplotlib.rcParams.update(
        {"svg.hashsalt": "zoo", "svg.fonttype": "none"}
    )  # equal figures give equal files; and small files
    folder.mkdir(parents=True, exist_ok=True)
    drawn: dict[str, Path] = {}
    for name, scenario in report["scenarios"].items():
        figure = figures.Figure(figsize=(9.0, 3.4), layout="constrained")
        left, right = figure.subplots(1, 2)
        loads = [float(load) for load in scenario["loads"]]
        for contender, label in LABELS.items():
            ran = [at.get(contender, {}) for at in scenario["loads"].values()]
            style = {"color": COLOURS[contender], "marker": MARKS.get(contender), "label": label, "markersize": 4}
            if contender == "oracle":
                style |= {"linestyle": "--", "linewidth": 1}
            left.plot(loads, [one.get("goodput") for one in ran], **style)
            p99s = [1000.0 * one["p99_s"] if one.get("p99_s") else None for one in ran]
            if any(p99s):
                right.plot(loads, p99s, **style)
        left.set(xlabel="load ÷ capacity", ylabel="goodput ÷ capacity", ylim=(0, 1.05))
        right.set(xlabel="load ÷ capacity", ylabel="p99 of answers, ms", yscale="log")
        for within in scenario["within_s"]:
            if within:
                right.axhline(1000.0 * within, color="#000000", linestyle=":", linewidth=1)
        for axes in (left, right):
            axes.grid(alpha=0.25)
        left.legend(fontsize=7)
        figure.suptitle(f"{name}: {scenario['about']}", fontsize=10)
        drawn[name] = folder / f"simulation-{name}.svg"
        figure.savefig(drawn[name], metadata={"Date": None})
    return drawn


def write(report: dict[str, Any], docs: Path) -> None:
    """Write tables and plots into the page."""
    drawn = draw(report, docs.parent / "images")
    pictures = {name: Path(os.path.relpath(path, docs.parent)) for name, path in drawn.items()}
    docs.write_text(replace_generated(docs.read_text(), render(report, pictures)))
    print(f"written to {docs}")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Writes the tables and plots of a simulation.")
    parser.add_argument("--results", type=Path, default=RESULTS / "simulation.json")
    parser.add_argument("--docs", type=Path, default=DOCS / "simulation.md")
    arguments = parser.parse_args()
    write(json.loads(arguments.results.read_text()), arguments.docs)


if __name__ == "__main__":
    main()
