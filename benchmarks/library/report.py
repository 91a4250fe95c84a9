"""Writes docs/zoo-benchmarks.md from the figures of `run.py`: ratios beside the aims, with the conditions."""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

from benchmarks.library.networks import NETWORKS
from benchmarks.library.run import DEFAULTS, OUT, summary
from benchmarks.paths import DOCS

DOC = DOCS / "zoo-benchmarks.md"
BEGIN, END = "<!-- figures -->", "<!-- end of figures -->"
LEAST_MS = 10.0
"""Networks that take less time a row have no aim."""
EAGER_AIM, FAST_AIM = 0.85, 1.0
WARM_AIMS = {"efficientnet_lite0": 1.0, "all_minilm_l6_v2": 2.0}
"""Seconds of a load with everything imported."""
READY_AIM_S = 8.0


def table(figures: dict[str, Any]) -> str:
    """Throughput, latency, memory and loads by network."""
    lines = [
        "| network | library | ms a row | Zoo ÷ library, 32 callers | eager ÷ library | p50 of one caller ÷ library | "
        "peak memory ÷ library | load, s | library's load, s | tier |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for network in NETWORKS:
        record = figures["networks"].get(network.name)
        if record is None:
            continue
        found = summary(record)
        if "failed" in found:
            lines.append(f"| {network.name} | {network.library} | not measured: {found['failed']} | | | | | | | |")
            continue
        heavy = found["milliseconds a row"] >= LEAST_MS
        fast = found["tier"] not in ("", "eager")
        aim = FAST_AIM if fast else EAGER_AIM
        rate = _ranged(found["zoo ÷ library"]) + (f" (aim ≥ {aim})" if heavy else "")
        eager = _ranged(found["zoo-eager ÷ library"]) + (f" (aim ≥ {EAGER_AIM})" if heavy else "")
        warm = f"{found['load_s']}" + (f" (aim ≤ {WARM_AIMS[network.name]:g})" if network.name in WARM_AIMS else "")
        cells = [network.name, network.library, found["milliseconds a row"], rate, eager]
        cells += [_ranged(found["p50 of one caller, zoo ÷ library"]), found["peak ÷ library"], warm]
        cells += [found["library load_s"], found["tier"] or "eager"]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def starts_line(figures: dict[str, Any]) -> str:
    """The time from the command to READY, if it was measured."""
    start = figures.get("start")
    if start is None:
        return ""
    seconds = statistics.median(start["ready_s"])
    shown = ", ".join(f"{one:.1f}" for one in start["ready_s"])
    return (
        f"`zoo serve` with {', '.join(DEFAULTS)}: all three are READY {seconds:.1f} s after the command "
        f"({shown}; aim ≤ {READY_AIM_S:g})."
    )


def page(figures: dict[str, Any]) -> str:
    """The text between the marks."""
    machine = figures["machine"]
    conditions = f"{figures['rounds']} rounds of {figures['seconds']:g} s; " + ", ".join(
        f"{key} {value}" for key, value in machine.items() if isinstance(value, str | int | float)
    )
    return "\n\n".join(part for part in (table(figures), starts_line(figures), f"Conditions: {conditions}.") if part)


def _ranged(values: list[float]) -> str:
    middle, low, high = values
    return f"{middle:.2f} ({low:.2f}–{high:.2f})"


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--figures", type=Path, default=OUT)
    given = parser.parse_args()
    text = DOC.read_text("utf-8")
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    DOC.write_text(f"{before}{BEGIN}\n\n{page(json.loads(given.figures.read_text('utf-8')))}\n\n{END}{after}", "utf-8")


if __name__ == "__main__":
    main()
