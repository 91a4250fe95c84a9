"""Throughput and p99 against the number of callers, a figure a case, as SVG. Needs matplotlib, which only benchmarks do."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from benchmarks.figures import middle
from benchmarks.report import CALLED, TIERS

COLOURS = {"zoo": "#0072b2", "zoo-eager": "#56b4e9", "triton": "#d55e00", "litserve": "#009e73", "mlserver": "#cc79a7"}
"""Okabe and Ito's, which the colour-blind can tell apart."""
MARKS = {"zoo": "o", "zoo-eager": "s", "triton": "^", "litserve": "D", "mlserver": "v"}


def draw(report: dict[str, Any], folder: Path) -> list[tuple[str, Path]]:
    """Draws every closed-loop case with a peer in it; gives titles and files."""
    # By name, not by an import statement: type checks must not depend on whether it is installed.
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
                "label": CALLED.get(server, server),
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
