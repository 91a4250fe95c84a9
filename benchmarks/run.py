"""`make bench` and `make bench-peers`: the server beside its limits and beside other servers, turn by turn.

    python -m benchmarks.run [--quick] [--rounds N] [--seconds S] [--only TEXT] [--participants A,B] [--out FILE]

In every round of a case each network runs in-process at its best, then each server gets the machine for itself while the others
are stopped; every round begins with another. A ratio is taken within its round; reports give the median over the rounds. The
machine's noise hits both sides of a ratio alike, which is why absolute figures are only for the record.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch

from benchmarks import inputs, scenarios
from benchmarks.field import Field, Plan, console, keep, measured, running
from benchmarks.figures import merged, storable
from benchmarks.null_server import WIDTH
from benchmarks.peers.base import Server
from benchmarks.peers.triton import Triton
from benchmarks.peers.zoo import Zoo
from benchmarks.processes import ROOT, PeerFailed, module
from service.settings import usable_cores

OURS = ("zoo", "zoo-eager")
BATCHING = (*OURS, "triton")
ALL = (*BATCHING, "litserve", "mlserver")
TIERS = ("eager", "best")
STREAMS = ((1, 64), (4, 16), (64, 1))
"""How many streams, and requests in flight on each."""


@dataclass(frozen=True)
class Case:
    """Models in a form of input, who serves them, and what is measured."""

    models: tuple[str, ...]
    form: str
    participants: tuple[str, ...]
    scenarios: tuple[str, ...]

    @property
    def name(self) -> str:
        """As reports call it."""
        return f"{' + '.join(self.models)} {self.form}"


CASES = (
    Case(("efficientnet_lite0",), "tensors", ALL, ("closed", "server", "overload")),
    Case(("all_minilm_l6_v2",), "tensors", BATCHING, ("closed", "server", "overload")),
    Case(("all_minilm_l6_v2",), "raw", ALL, ("closed",)),
    Case(("efficientnet_lite0",), "raw", OURS, ("closed",)),
    Case(("silero_vad",), "raw", OURS, ("closed",)),
    Case(("all_minilm_l6_v2",), "reviews", BATCHING, ("lengths",)),
    Case(("efficientnet_lite0", "all_minilm_l6_v2"), "tensors", BATCHING, ("mixed",)),
)


def main() -> None:
    """See the module."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(143))  # so that whoever was started is ended
    parser = argparse.ArgumentParser(description="Measures Zoo beside its limits and beside other servers.")
    parser.add_argument("--quick", action="store_true", help="one short round, to see that it runs")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=6.0, help="length of each measurement")
    parser.add_argument("--only", default="", help="only `case: scenario` whose name contains this; `null` is one")
    parser.add_argument(
        "--participants", default="", help="only these: " + ", ".join((*ALL, "limit-eager", "limit-best"))
    )
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "peers.json")
    parser.add_argument("--add", action="store_true", help="keep what --out holds of all that is not measured now")
    arguments = parser.parse_args()
    plan = Plan(
        home=home(),
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
                report["cases"][case.name] = merged(report["cases"].get(case.name, {}), measure(case, wanted, plan))
            except (PeerFailed, psutil.Error) as error:  # somebody died under load; the other cases need not
                console.print(f"[red]{case.name} failed[/]: {error}")
                report["cases"].setdefault(case.name, {"failed": str(error)})  # what --add keeps is no worse for it
            save()  # after each case: a run that ends early has not been for nothing
    if arguments.only in "null":
        try:
            report["null"] = null(plan)
        except (PeerFailed, psutil.Error) as error:
            console.print(f"[red]null failed[/]: {error}")
            report.setdefault("null", {"failed": str(error)})
    report["took_s"] = time.monotonic() - began
    save()
    console.print(
        f"took {report['took_s'] / 60:.1f} min; written to {arguments.out}; tables: python -m benchmarks.report"
    )


def home() -> Path:
    """Where the weights are."""
    return Path(os.environ.get("ZOO_TEST_HOME") or os.environ.get("ZOO_HOME") or ROOT / ".cache" / "zoo-home").resolve()


def machine() -> dict[str, Any]:
    """What the figures were taken on."""
    cpu = Path("/proc/cpuinfo")
    lines = cpu.read_text().splitlines() if cpu.exists() else []
    names = [line.split(":")[1].strip() for line in lines if "model name" in line]
    return {
        "processor": names[0] if names else platform.processor(),
        "cores": usable_cores(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "taken": time.strftime("%Y-%m-%d"),
        "load": os.getloadavg()[0],
    }


def measure(case: Case, wanted: tuple[str, ...], plan: Plan) -> dict[str, Any]:
    """A case, all rounds."""
    console.print(f"[bold]{case.name}[/]: {', '.join(wanted)}")
    tiers = TIERS if {"closed", "lengths"} & set(wanted) else ()
    rounds = []
    with Field(case.models, case.form, case.participants, tiers, plan) as field:
        for number in range(plan.rounds):
            turn = {}
            for scenario in wanted:
                step = getattr(scenarios, scenario)
                given = list(case.models) if scenario == "mixed" else case.models[0]
                turn[scenario] = step(field, given, number, plan.seconds)
            rounds.append(turn)
        memory = field.memory()
        return {**field.record, "scenarios": list(wanted), "rounds": rounds, "memory": memory}


def null(plan: Plan) -> dict[str, Any]:
    """The call alone: a network that gives back its input, through whole servers, beside a bare grpc.aio servicer."""
    console.print("[bold]null[/]")
    messages = [inputs.tensor_message("null", {"x": np.ones(WIDTH, np.float32)})]
    found: dict[str, Any] = {"absent": {}, "rounds": []}
    with ExitStack() as stack:
        client = stack.enter_context(module("client"))
        keep(client, "null", messages)
        servers: dict[str, Server] = {}
        for name in ("echo", "zoo", "triton"):
            if not plan.admits(name):
                continue
            try:
                servers[name] = stack.enter_context(_null_server(name, plan))
                servers[name].pause()
            except PeerFailed as error:
                found["absent"][name] = str(error)
        for number in range(plan.rounds):
            turn: dict[str, Any] = {}
            names = list(servers)
            first = number % len(names)
            for name in names[first:] + names[:first]:
                with running(servers[name]) as server:
                    turn[name] = {
                        f"unary, {c} callers": measured(
                            client,
                            server,
                            {"kind": "closed", "protocol": "grpc", "groups": [["null", c]], "seconds": plan.seconds},
                        )
                        for c in scenarios.CONCURRENCY
                    }
                    for count, window in STREAMS:
                        order = {"kind": "streams", "messages": "null", "count": count, "window": window}
                        turn[name][f"{count} × {window} streamed"] = measured(
                            client, server, {**order, "seconds": plan.seconds}
                        )
                console.print(f"  {name}: " + ", ".join(f"{k}: {v['calls_s']:.0f}" for k, v in turn[name].items()))
            found["rounds"].append(turn)
    return found


def _null_server(name: str, plan: Plan) -> Server:
    if name == "triton":
        return Triton(["null"], "tensors", plan.home)
    command = [sys.executable, "-m", "benchmarks.null_server", name]
    return Zoo(name, ["null"], plan.home, {}, command)


if __name__ == "__main__":
    main()
