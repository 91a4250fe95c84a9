"""Tries Triton's settings on this machine and prints the best.

    python -m benchmarks.measurement.triton_sweep [--seconds S] [--model NAME]...

The best settings have the most calls a second at 8 and at 32 callers, multiplied.
"""

from __future__ import annotations

import argparse
import itertools
import json
import signal
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.load import inputs
from benchmarks.measurement.scenarios import closed_command
from benchmarks.measurement.testbed import measure, store_messages
from benchmarks.participants.process import start_module
from benchmarks.participants.triton import Triton, TritonSettings
from benchmarks.paths import RESULTS, zoo_home
from model_zoo.store import Store

TRIED = tuple(
    TritonSettings(instances, threads, max_batch, delay_us)
    for (instances, threads), max_batch, delay_us in itertools.product(((1, 2), (2, 1)), (8, 16, 32), (0, 2000, 10000))
)


def sweep(model: str, form: str, home: Path, seconds: float) -> dict[str, Any]:
    """Measure every setting at 8 and 32 callers, each in a server of its own."""
    seen: list[dict[str, Any]] = []
    with start_module("load.client") as client:
        store_messages(client, f"triton {model}", inputs.messages(inputs.task_of(model, Store(home)), form))
        for settings in TRIED:
            with Triton([model], form, home, settings) as server:
                answers = {c: measure(client, server, closed_command(server, model, c, seconds)) for c in (8, 32)}
            seen.append({**asdict(settings), **{f"calls_s at {c}": a["calls_s"] for c, a in answers.items()}})
            seen[-1]["p99_ms at 32"] = answers[32]["p99_ms"]
            print(json.dumps(seen[-1]), flush=True)
    return {"best": max(seen, key=lambda one: one["calls_s at 8"] * one["calls_s at 32"]), "seen": seen}


def main() -> None:
    """The command line."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(143))  # an exit ends the child processes
    parser = argparse.ArgumentParser(description="Finds Triton's best settings on this machine.")
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--model", action="append", help="may be repeated; default: the two that are compared")
    arguments = parser.parse_args()
    models = arguments.model or ["efficientnet_lite0", "all_minilm_l6_v2"]
    found = {model: sweep(model, "tensors", zoo_home(), arguments.seconds) for model in models}
    out = RESULTS / "triton-sweep.json"
    out.write_text(json.dumps(found, indent=1))
    for model, swept in found.items():
        print(f"{model}: best {swept['best']}")
    print(f"written to {out}; if it differs, change BEST in participants/triton.py")


if __name__ == "__main__":
    main()
