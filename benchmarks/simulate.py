"""`make simulate`: the scheduler's real policy and its contenders under a virtual clock. Writes JSON, plots and
docs/simulation.md.

    python -m benchmarks.simulate [--scenario NAME]... [--load X]... [--contender NAME]... [--turns N] [--seed N]
                                  [--results FILE] [--docs FILE | --no-docs]
    python -m benchmarks.simulate --speed N          only how fast the simulation itself is, with N requests

With `--scenario`, `--load` or `--contender` it only prints, unless `--results` names a file.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from benchmarks.paths import DOCS, RESULTS
from benchmarks.simulation.contenders import CONTENDERS, VARIANTS
from benchmarks.simulation.engine import Run, log_normal, simulate
from benchmarks.simulation.metrics import Figures, figures
from benchmarks.simulation.oracle import most_in_time_s
from benchmarks.simulation.request_load import Load
from benchmarks.simulation.scenarios import LOADS, SCENARIOS, Scenario


def play(scenario: Scenario, name: str, load: Load, seed: int) -> Run:
    """One contender under one load."""
    networks, lanes = scenario.profiles, scenario.on.lanes
    objective_s = [min(scenario.within_s)] * len(networks)
    contender = {**CONTENDERS, **VARIANTS}[name](networks, lanes, scenario.weight, objective_s)
    return simulate(networks, lanes, load, contender, log_normal(networks, seed))


def one(scenario: Scenario, name: str, load: Load, seed: int) -> Figures:
    """Metrics of one contender under one load, or the bound (`oracle`)."""
    networks, lanes = scenario.profiles, scenario.on.lanes
    if name == "oracle":
        return {"goodput": most_in_time_s(networks, lanes, load) / lanes / load.seconds}
    run = play(scenario, name, load, seed)
    offered = [0.0 for _ in networks]
    for index, length in zip(load.network.tolist(), load.length.tolist(), strict=True):
        offered[index] += networks[index].best_s(length) / load.seconds
    return figures(run, networks, lanes, scenario.weight, offered)


def sweep(scenario: Scenario, loads: list[float], names: list[str], turns: float, seed: int) -> dict[str, Any]:
    """A scenario at all loads. Every contender gets the same requests."""
    found: dict[str, Any] = {
        "about": scenario.about,
        "device": scenario.device,
        "networks": list(scenario.networks),
        "weights": list(scenario.weight),
        "capacity_s": scenario.capacity,
        "within_s": [within if within < float("inf") else None for within in scenario.within_s],
        "pattern": scenario.pattern,
        "loads": {},
    }
    for load in loads:
        requests = scenario.load(load, turns, seed + round(1000 * load))  # a seed of its own, so equal in partial runs
        at = found["loads"][f"{load:g}"] = {name: one(scenario, name, requests, seed) for name in [*names, "oracle"]}
        line = ", ".join(f"{name} {figures['goodput']:.3f}" for name, figures in at.items())
        print(f"{scenario.name} × {load:g}: {line}", flush=True)
    return found


def speed(requests: int, seed: int) -> dict[str, float]:
    """Simulated requests a second of the wall clock, with Zoo's policy at twice the capacity, images."""
    scenario = SCENARIOS["cpu-image-bursty"]
    load = scenario.load(2.0, requests / 2.0 / scenario.capacity / scenario.turn_s, seed)
    began = time.perf_counter()
    found = one(scenario, "zoo", load, seed)
    took = time.perf_counter() - began
    return {"requests": requests, "seconds": took, "requests_s": requests / took, "goodput": found["goodput"]}


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenario", action="append", choices=list(SCENARIOS))
    parser.add_argument("--load", action="append", type=float)
    parser.add_argument("--contender", action="append", choices=[*CONTENDERS, *VARIANTS])
    parser.add_argument(
        "--turns", type=float, default=1000.0, help="for each point of a curve, in full batches of a lane"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--results", type=Path)
    parser.add_argument("--docs", type=Path, default=DOCS / "simulation.md")
    parser.add_argument("--no-docs", action="store_true")
    parser.add_argument("--speed", type=int, metavar="N")
    parser.add_argument("--verbose", action="store_true", help="print all figures")
    arguments = parser.parse_args()
    if arguments.speed:
        print(json.dumps(speed(arguments.speed, arguments.seed), indent=1))
        return
    part = bool(arguments.scenario or arguments.load or arguments.contender)
    began = time.perf_counter()
    report: dict[str, Any] = {"turns": arguments.turns, "seed": arguments.seed, "scenarios": {}}
    for name in arguments.scenario or SCENARIOS:
        report["scenarios"][name] = sweep(
            SCENARIOS[name],
            arguments.load or list(LOADS),
            arguments.contender or list(CONTENDERS),
            arguments.turns,
            arguments.seed,
        )
    report["took_s"] = round(time.perf_counter() - began, 1)
    if arguments.verbose:
        print(json.dumps(report, indent=1))
    if part and not arguments.results:
        return
    results = arguments.results or RESULTS / "simulation.json"
    results.parent.mkdir(parents=True, exist_ok=True)
    results.write_text(json.dumps(report, indent=1))
    if not part and not arguments.no_docs:
        from benchmarks.simulation.document import write

        write(report, arguments.docs)


if __name__ == "__main__":
    main()
