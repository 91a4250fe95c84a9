"""`make bench` and `make bench-peers`: the server beside its limits and beside other servers, one at a time.

    python -m benchmarks.run [--quick | --aims] [--rounds N] [--seconds S] [--only TEXT] [--participants A,B] [--out FILE]
                             [--add | --resume]

In every round of a case each network runs in-process at its best settings. Then each server runs alone, while the others are
paused; every round begins with another server. A ratio is taken within one round; reports give the median over the rounds. The
machine's noise affects both sides of a ratio alike, so absolute figures are for the record only. A sentinel beside every
measurement has those made again during which the machine changed (measurement/sentinel.py).

The figures are written after every scenario. `--resume` continues a run that ended early: it measures what the file does not
have.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psutil

from benchmarks.measurement.cases import ALL_SERVERS, CASES, measure_case
from benchmarks.measurement.environment import machine
from benchmarks.measurement.null_call import measure_null_call
from benchmarks.measurement.plan import Plan
from benchmarks.measurement.starts import measure_starts
from benchmarks.measurement.testbed import console
from benchmarks.participants.process import ParticipantFailed
from benchmarks.paths import RESULTS, zoo_home
from benchmarks.reports.statistics import merged, storable

EXTRAS: Mapping[str, Callable[[Plan], dict[str, Any]]] = {"null": measure_null_call, "starts": measure_starts}
"""Measurements beside the cases, by their names in the report."""


def main() -> None:
    """The command line."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(143))  # an exit ends the child processes
    arguments = _arguments()
    plan = Plan(
        home=zoo_home(),
        rounds=1 if arguments.quick else arguments.rounds,
        seconds=1.0 if arguments.quick else arguments.seconds,
        quick=arguments.quick,
        participants=frozenset(filter(None, arguments.participants.split(","))),
        aims=arguments.aims,
    )
    began = time.monotonic()
    report: dict[str, Any] = {"cases": {}}
    if (arguments.add or arguments.resume) and arguments.out.exists():
        report = json.loads(arguments.out.read_text())
    settings = {"rounds": plan.rounds, "seconds": plan.seconds, "quick": plan.quick, "aims": plan.aims}
    if arguments.resume and any(report.get(key, value) != value for key, value in settings.items()):
        raise SystemExit(f"{arguments.out} is of a run with other settings than {settings}; name another file by --out")
    took_before = report.get("took_s", 0.0) if arguments.resume else 0.0
    report |= {"machine": machine(), **settings}
    arguments.out.parent.mkdir(parents=True, exist_ok=True)

    def save() -> None:
        report["took_s"] = took_before + time.monotonic() - began
        arguments.out.write_text(json.dumps(storable(report), indent=1))

    for case in CASES:
        wanted = [s for s in case.scenarios_of(plan) if arguments.only in f"{case.name}: {s}"]
        before = report["cases"].get(case.name, {})
        if arguments.resume:
            wanted = [scenario for scenario in wanted if scenario not in before.get("scenarios", ())]
        if not wanted:
            continue

        def keep(measured: dict[str, Any], name: str = case.name, before: dict[str, Any] = before) -> None:
            report["cases"][name] = merged(before, measured)
            save()

        try:
            measure_case(case, wanted, plan, keep)
        except (ParticipantFailed, psutil.Error) as error:  # a participant ended under load; the other cases go on
            console.print(f"[red]{case.name} failed[/]: {error}")
            # Figures that --add or --resume keep, and those of scenarios before the failure, stay valid.
            report["cases"].setdefault(case.name, {})["failed"] = str(error)
        save()
    for name, measure in EXTRAS.items():
        done = arguments.resume and name in report and "failed" not in report[name]
        if arguments.only in name and not done:
            try:
                report[name] = measure(plan)
            except (ParticipantFailed, psutil.Error) as error:
                console.print(f"[red]{name} failed[/]: {error}")
                report[name] = {**report.get(name, {}), "failed": str(error)}
            save()
    save()
    console.print(
        f"took {report['took_s'] / 60:.1f} min; written to {arguments.out}; tables: python -m benchmarks.report"
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measures Zoo beside its limits and beside other servers.")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--quick", action="store_true", help="one short round, to check that the run works")
    length.add_argument("--aims", action="store_true", help="only what the table of aims needs")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0, help="length of each measurement")
    parser.add_argument(
        "--only", default="", help="only each `case: scenario` whose name contains this; `null` and `starts` are two"
    )
    parser.add_argument(
        "--participants", default="", help="only these: " + ", ".join((*ALL_SERVERS, "limit-eager", "limit-best"))
    )
    parser.add_argument("--out", type=Path, default=RESULTS / "peers.json")
    kept = parser.add_mutually_exclusive_group()
    kept.add_argument("--add", action="store_true", help="keep the figures of --out that this run does not measure")
    kept.add_argument("--resume", action="store_true", help="continue the run of --out with what it has not measured")
    return parser.parse_args()


if __name__ == "__main__":
    main()
