"""`make bench-zoo`: networks in Zoo beside the same networks in their makers' own libraries, turn by turn in one run.

    python -m benchmarks.library.run [--only NAME,…] [--rounds 3] [--seconds 4] [--quick] [--out FILE]

Zoo runs twice, as shipped (`zoo`) and eager (`zoo-eager`), each with 32 callers that send raw inputs over gRPC; the library has
all cores and the best of five batch sizes. One of them runs at a time while the others are paused. A network that has no card in
the zoo is pulled from its folder first, which compares its answers with those of the library.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc

from benchmarks.library.networks import NETWORKS, Published
from benchmarks.load import inputs
from benchmarks.measurement.environment import machine
from benchmarks.measurement.plan import Plan
from benchmarks.measurement.sentinel import Sentinel
from benchmarks.measurement.testbed import console, measure, resumed, rotated, start_sentinel, store_messages
from benchmarks.participants.process import ParticipantFailed, Process, start_module
from benchmarks.participants.server import OPTIONS
from benchmarks.participants.zoo import EAGER, Zoo, new_home
from benchmarks.paths import RESULTS, zoo_home
from model_zoo.store import Store
from service.pb import open_inference_pb2 as pb
from service.pb import open_inference_pb2_grpc
from service.settings import usable_cores
from service.types import AudioInstance, ImageInstance, TextInstance

OUT = RESULTS / "zoo.json"
CALLERS = 32
SWEEP_S, SINGLE_S = 2.0, 3.0
TURNS = 6
"""Answers of each caller for which a measurement lasts at least, at the library's rate."""
DEFAULTS = ("efficientnet_lite0", "all_minilm_l6_v2", "silero_vad")
"""What `zoo serve` loads without further words."""
LOADS = 3


def main() -> None:
    """The command line: measures, and writes after each network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="names of networks, or `start`, with commas")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each measurement, at least")
    parser.add_argument("--quick", action="store_true", help="without the sentinel, and with short sweeps")
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args()
    plan = Plan(zoo_home(), given.rounds, given.seconds, given.quick, frozenset())
    chosen = given.only.split(",") if given.only else ["start", *(one.name for one in NETWORKS)]
    figures: dict[str, Any] = {"machine": machine(), "rounds": given.rounds, "seconds": given.seconds, "networks": {}}
    with ExitStack() as stack:
        sentinel = start_sentinel(stack, plan)
        if "start" in chosen:
            figures["start"] = starts(plan, sentinel)
            console.print(f"[bold]start[/] {figures['start']}")
        for network in NETWORKS:
            if network.name in chosen:
                console.print(f"[bold]{network.name}[/]")
                figures["networks"][network.name] = Measurement(network, plan, sentinel).run()
                console.print(f"  {json.dumps(summary(figures['networks'][network.name]))}")
                write(given.out, figures)
        figures["sentinel"] = sentinel.record()
    write(given.out, figures)


def write(out: Path, figures: dict[str, Any]) -> None:
    """Keeps the figures so far, so that a run that is stopped has those of the networks before."""
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(figures, indent=1) + "\n", "utf-8")


def starts(plan: Plan, sentinel: Sentinel) -> dict[str, Any]:
    """Seconds from the command until all default models are READY, and of each load in it. The files were read before."""
    with new_home(plan.home) as home:
        found = [sentinel.guard(lambda: _start(Path(home))) for _ in range(1 if plan.quick else LOADS)]
    return {"ready_s": [one["ready_s"] for one in found], "loads_s": [one["loads_s"] for one in found]}


def _start(home: Path) -> dict[str, Any]:
    began = time.monotonic()
    with Zoo("zoo-start", DEFAULTS, home, {}) as server:
        wanted = set(DEFAULTS)

        def loads() -> dict[str, float]:
            events = [event for event in server.log_events() if event.get("event") == "model is ready"]
            return {str(event["model"]): float(event["seconds"]) for event in events}

        server.wait_until(lambda: loads().keys() >= wanted, "the default models")
        return {"ready_s": time.monotonic() - began, "loads_s": loads()}


class Measurement:
    """One network: the library, Zoo as shipped and Zoo eager."""

    def __init__(self, network: Published, plan: Plan, sentinel: Sentinel) -> None:
        self._network, self._plan, self._sentinel = network, plan, sentinel

    def run(self) -> dict[str, Any]:
        """The figures of all rounds. A network that cannot be measured has the reason instead."""
        with ExitStack() as stack:
            try:
                return self._run(stack)
            except ParticipantFailed as error:
                console.print(f"  [yellow]left out[/]: {str(error).splitlines()[0]}")
                return {"failed": str(error)}

    def _run(self, stack: ExitStack) -> dict[str, Any]:
        network, plan = self._network, self._plan
        home = Path(stack.enter_context(new_home(plan.home)))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="zoo-bench-"))) / network.name
        folder.mkdir()
        network.write(folder, Store(plan.home))
        if not network.own_card:
            pull(network, folder, home)
        client = stack.enter_context(start_module("load.client"))
        store_messages(client, network.name, messages(network))
        library = stack.enter_context(
            start_module("library.participant", network.library, str(folder), str(usable_cores()))
        )
        record: dict[str, Any] = {"library": network.library, "rounds": []}
        record["library load_s"] = [library.ask({"do": "load"})["load_s"] for _ in range(LOADS)]
        sweep = library.ask({"do": "sweep", "seconds": 0.5 if plan.quick else SWEEP_S})
        record["library sweep"] = sweep
        library.pause()
        servers: dict[str, Zoo] = {}
        for name, settings in (("zoo", {}), ("zoo-eager", EAGER)):
            server = stack.enter_context(Zoo(name, [network.name], home, settings))
            record[f"{name} load_s"] = loads(server, network.name)
            tiers = server.settle(60.0 if plan.quick else 300.0) if name == "zoo" else server.wait_for_processes(20.0)
            record[f"{name} tier"] = tiers[network.name]
            server.pause()
            servers[name] = server
        seconds = max(plan.seconds, TURNS * CALLERS / max(sweep["seen"].values()))
        record["seconds"] = seconds
        for number in range(plan.rounds):
            turns: dict[str, Any] = {}
            for name in rotated(["library", *servers], number):
                turns[name] = (
                    self._sentinel.guard(lambda: self._library(library, sweep["rows"]))
                    if name == "library"
                    else self._zoo(client, servers[name], seconds)
                )
            record["rounds"].append(turns)
            shown = {name: round(turn["rows_s"], 1) for name, turn in turns.items()}
            console.print(f"  round {number + 1}: {shown}")
        record["memory"] = {name: {"peak_mib": s.peak_mib(), "pss_mib": s.pss_mib()} for name, s in servers.items()}
        return record

    def _library(self, library: Process, rows: int) -> dict[str, Any]:
        library.resume()
        try:
            found = library.ask({"do": "rate", "rows": rows, "seconds": self._plan.seconds})
            return {**found, **library.ask({"do": "single", "seconds": min(SINGLE_S, self._plan.seconds)})}
        finally:
            library.pause()

    def _zoo(self, client: Process, server: Zoo, seconds: float) -> dict[str, Any]:
        command = {"kind": "closed", "protocol": "grpc", "seconds": seconds}
        with resumed(server):
            many = self._sentinel.guard(
                lambda: measure(client, server, {**command, "groups": [[self._network.name, CALLERS]]})
            )
            one = measure(client, server, {**command, "groups": [[self._network.name, 1]], "seconds": SINGLE_S})
        if many["errors"]:
            raise ParticipantFailed(f"{server.name} answered with {many['errors']}")
        return {
            "rows_s": many["calls_s"],
            "p50_ms": one["p50_ms"],
            "batch_rows": many.get("batch_rows"),
            "drift": many["drift"],
        }


def messages(network: Published) -> list[bytes]:
    """The requests of the callers: one raw input each."""
    return [
        inputs.bytes_message(network.name, network.raw_input, one.data)
        for one in inputs.instances(network.raw_input)
        if isinstance(one, ImageInstance | TextInstance | AudioInstance)
    ]


def pull(network: Published, folder: Path, home: Path) -> None:
    """Makes the folder a model of the home. Raises ParticipantFailed."""
    zoo = str(Path(sys.executable).with_name("zoo"))
    done = subprocess.run(
        [zoo, "pull", f"local:{folder}", "--name", network.name],
        env={**os.environ, "ZOO_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise ParticipantFailed(f"{network.name} could not be pulled: {done.stderr.strip()}")


def loads(server: Zoo, model: str) -> list[float]:
    """Seconds of each load of a model in a server that has imported all modules; unloading does not count."""
    found = []
    with grpc.insecure_channel(server.target, OPTIONS) as channel:
        stub = open_inference_pb2_grpc.GRPCInferenceServiceStub(channel)
        for _ in range(LOADS):
            stub.RepositoryModelUnload(pb.RepositoryModelUnloadRequest(model_name=model), timeout=60)
            began = time.monotonic()
            stub.RepositoryModelLoad(pb.RepositoryModelLoadRequest(model_name=model), timeout=120)
            found.append(time.monotonic() - began)
    return found


def summary(record: dict[str, Any]) -> dict[str, Any]:
    """Ratios over the rounds: the median, and the range."""
    if "failed" in record:
        return {"failed": record["failed"].splitlines()[0]}
    rounds = record["rounds"]

    def ratio(of: Callable[[dict[str, Any]], float]) -> list[float]:
        values = sorted(of(turns) for turns in rounds)
        return [round(one, 3) for one in (statistics.median(values), values[0], values[-1])]

    def over_library(name: str, figure: str) -> list[float]:
        return ratio(lambda turns: turns[name][figure] / turns["library"][figure])

    return {
        "zoo ÷ library": over_library("zoo", "rows_s"),
        "zoo-eager ÷ library": over_library("zoo-eager", "rows_s"),
        "p50 of one caller, zoo ÷ library": over_library("zoo", "p50_ms"),
        "milliseconds a row": round(_median([1000.0 / turns["library"]["rows_s"] for turns in rounds]), 1),
        "load_s": round(_median(record["zoo load_s"]), 2),
        "library load_s": round(_median(record["library load_s"]), 2),
        "peak ÷ library": round(record["memory"]["zoo"]["peak_mib"] / rounds[-1]["library"]["peak_mib"], 2),
        "tier": record["zoo tier"].get("tier", ""),
    }


def _median(values: Sequence[float]) -> float:
    return float(statistics.median(values))


if __name__ == "__main__":
    main()
