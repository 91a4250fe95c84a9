"""`make bench` and `make bench-peers`: the server beside its limits and beside other servers, one at a time.

    python -m benchmarks.run [--quick] [--rounds N] [--seconds S] [--only TEXT] [--participants A,B] [--out FILE]

In every round of a case each network runs in-process at its best settings. Then each server runs alone, while the others are
paused; every round begins with another server. A ratio is taken within one round; reports give the median over the rounds. The
machine's noise affects both sides of a ratio alike, so absolute figures are for the record only.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from pathlib import Path
from typing import Any

import psutil

from benchmarks.measurement.cases import ALL_SERVERS, CASES, measure_case
from benchmarks.measurement.environment import machine
from benchmarks.measurement.null_call import measure_null_call
from benchmarks.measurement.testbed import Plan, console
from benchmarks.participants.process import ParticipantFailed
from benchmarks.paths import RESULTS, zoo_home
from benchmarks.reports.statistics import merged, storable


def main() -> None:
    """The command line."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(143))  # an exit ends the child processes
    parser = argparse.ArgumentParser(description="Measures Zoo beside its limits and beside other servers.")
    parser.add_argument("--quick", action="store_true", help="one short round, to check that the run works")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=6.0, help="length of each measurement")
    parser.add_argument("--only", default="", help="only each `case: scenario` whose name contains this; `null` is one")
    parser.add_argument(
        "--participants", default="", help="only these: " + ", ".join((*ALL_SERVERS, "limit-eager", "limit-best"))
    )
    parser.add_argument("--out", type=Path, default=RESULTS / "peers.json")
    parser.add_argument("--add", action="store_true", help="keep the figures of --out that this run does not measure")
    arguments = parser.parse_args()
    plan = Plan(
        home=zoo_home(),
        rounds=1 if arguments.quick else arguments.rounds,
        seconds=1.0 if arguments.quick else arguments.seconds,
        quick=arguments.quick,
        participants=frozenset(filter(None, arguments.participants.split(","))),
    )
    began = time.monotonic()
    report: dict[str, Any] = {"cases": {}}
    if arguments.add and arguments.out.exists():
        report = json.loads(arguments.out.read_text())
    report |= {"machine": machine(), "rounds": plan.rounds, "seconds": plan.seconds, "quick": plan.quick}
    arguments.out.parent.mkdir(parents=True, exist_ok=True)

    def save() -> None:
        arguments.out.write_text(json.dumps(storable(report), indent=1))

    for case in CASES:
        wanted = tuple(s for s in case.scenarios if arguments.only in f"{case.name}: {s}")
        if wanted:
            try:
                measured = measure_case(case, wanted, plan)
                report["cases"][case.name] = merged(report["cases"].get(case.name, {}), measured)
            except (ParticipantFailed, psutil.Error) as error:  # a participant ended under load; the other cases go on
                console.print(f"[red]{case.name} failed[/]: {error}")
                report["cases"].setdefault(case.name, {"failed": str(error)})  # figures that --add keeps stay valid
            save()  # after each case, so that a run that ends early leaves its figures
    if arguments.only in "null":
        try:
            report["null"] = measure_null_call(plan)
        except (ParticipantFailed, psutil.Error) as error:
            console.print(f"[red]null failed[/]: {error}")
            report.setdefault("null", {"failed": str(error)})
    report["took_s"] = time.monotonic() - began
    save()
    console.print(
        f"took {report['took_s'] / 60:.1f} min; written to {arguments.out}; tables: python -m benchmarks.report"
    )


if __name__ == "__main__":
    main()
