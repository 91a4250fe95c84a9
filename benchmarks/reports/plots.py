"""Throughput and p99 against the number of callers, one figure a case, as SVG. Only the benchmarks need matplotlib."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from benchmarks.reports.labels import TIERS, server_label
from benchmarks.reports.statistics import middle

COLOURS = {"zoo": "#0072b2", "zoo-eager": "#56b4e9", "triton": "#d55e00", "litserve": "#009e73", "mlserver": "#cc79a7"}
COLOURS |= {"triton-openvino": "#e69f00", "zoo-openvino": "#f0e442"}
"""The palette of Okabe and Ito, which colour-blind readers can distinguish."""
MARKS = {
    "zoo": "o",
    "zoo-eager": "s",
    "triton": "^",
    "litserve": "D",
    "mlserver": "v",
    "triton-openvino": "P",
    "zoo-openvino": "X",
}


def draw(report: dict[str, Any], folder: Path) -> list[tuple[str, Path]]:
    """Draw every closed-loop case; return titles and files."""
    # Imported by name: type checks must not depend on whether matplotlib is installed.
    figures: Any = importlib.import_module("matplotlib.figure")
    folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    for name, case in report["cases"].items():
        rounds = case.get("rounds", [])
        servers = rounds[0].get("closed", {}).get("servers", {}) if rounds else {}
        if not servers:
            continue
        figure = figures.Figure(figsize=(9.0, 3.4), layout="constrained")
        left, right = figure.subplots(1, 2)
        for server, at in servers.items():
            callers = [int(c) for c in at]
            style = {
                "color": COLOURS.get(server),
                "marker": MARKS.get(server, "."),
                "label": server_label(server),
            }
            for axes, figure_of in ((left, "calls_s"), (right, "p99_ms")):
                axes.plot(
                    callers, [middle(rounds, "closed", "servers", server, str(c), figure_of) for c in callers], **style
                )
        for tier, dash in (("eager", ":"), ("best", "--")):
            rate = middle(rounds, "closed", "limits", tier, "rows_s")
            if rate is not None:
                left.axhline(rate, color="#777777", linestyle=dash, label=TIERS[tier])
        for axes, label in ((left, "calls a second"), (right, "p99, ms")):
            axes.set(xlabel="callers", ylabel=label, xscale="log")
            axes.set_xticks(callers, [str(c) for c in callers])
            axes.minorticks_off()
            axes.set_ylim(bottom=0)
            axes.grid(alpha=0.25)
        left.legend(fontsize=7)
        figure.suptitle(name, fontsize=10)
        path = folder / f"benchmark-{name.replace(' + ', '-').replace(' ', '-')}.svg"
        figure.savefig(path, metadata={"Date": None})
        drawn.append((f"{name}: throughput and p99 against callers", path))
    return drawn
