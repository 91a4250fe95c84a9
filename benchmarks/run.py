"""`make bench`: the server beside its limits, turn by turn.

    python -m benchmarks.run [--quick] [--rounds N] [--seconds S] [--out FILE]

In every round each network runs in-process at its best batch size, then through the server at each concurrency, then the
null network beside a bare echo. A ratio is taken within its round; the median over the rounds is what is printed. The
machine's noise hits both sides of a ratio alike, which is why absolute figures are only given for the record.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from benchmarks import inputs
from benchmarks.null_server import WIDTH
from benchmarks.processes import ROOT, Client, Process, ZooServer
from model_zoo.store import Store
from service.settings import usable_cores

CASES = (
    ("efficientnet_lite0", "tensors"),
    ("efficientnet_lite0", "raw"),
    ("all_minilm_l6_v2", "raw"),
    ("silero_vad", "raw"),
)
CONCURRENCY = (1, 8, 32, 64)

console = Console(highlight=False)


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description="Measures Zoo beside its limits.")
    parser.add_argument("--quick", action="store_true", help="one short round, to see that it runs")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=6.0, help="length of each measurement")
    parser.add_argument("--only", default="", help="only cases whose name contains this")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "serving.json")
    arguments = parser.parse_args()
    rounds, seconds = (1, 2.0) if arguments.quick else (arguments.rounds, arguments.seconds)
    home = Path(os.environ.get("ZOO_TEST_HOME") or os.environ.get("ZOO_HOME") or ROOT / ".cache" / "zoo-home")

    report: dict[str, Any] = {"machine": machine(), "rounds": rounds, "seconds": seconds, "cases": {}}
    for model, form in CASES:
        if arguments.only in f"{model} {form}":
            report["cases"][f"{model} {form}"] = network_case(model, form, home, rounds, seconds)
    if arguments.only in "null":
        report["null"] = null_case(rounds, seconds)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(report, indent=1))
    show(report)
    console.print(f"written to {arguments.out}")


def machine() -> dict[str, Any]:
    """What the figures were taken on."""
    names = [
        line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line
    ]
    return {
        "processor": names[0] if names else platform.processor(),
        "cores": usable_cores(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "taken": time.strftime("%Y-%m-%d"),
    }


def network_case(model: str, form: str, home: Path, rounds: int, seconds: float) -> dict[str, Any]:
    """One network: its limit, and the server at each concurrency, in turns."""
    messages = inputs.messages(inputs.task_of(model, Store(home)), form)
    cores = usable_cores()
    turns: list[dict[str, Any]] = []
    with (
        Process("-m", "benchmarks.limit", model, str(home), str(cores)) as limit,
        ZooServer([model], home, {}) as server,
        Client() as client,
    ):
        sweep = limit.read()
        for _ in range(rounds):
            turn: dict[str, Any] = {"limit": limit.ask(str(seconds)), "server": {}}
            for concurrency in CONCURRENCY:
                turn["server"][concurrency] = served(server, client, messages, concurrency, seconds)
            turns.append(turn)
            console.print(f"{model} {form}: " + summary(turn))
        memory = {"limit_mib": turns[-1]["limit"]["peak_mib"], "server_mib": server.peak_mib()}
    ratios = {
        str(c): statistics.median(t["server"][c]["calls_s"] / t["limit"]["rows_s"] for t in turns) for c in CONCURRENCY
    }
    return {"sweep": sweep, "turns": turns, "throughput_to_limit": ratios, "memory": memory}


def served(
    server: ZooServer, client: Client, messages: list[bytes], concurrency: int, seconds: float
) -> dict[str, float]:
    """One measurement through the server, with what its batches and its processor did meanwhile."""
    before, cpu = server.batches(), sum(server.watch.cpu_times()[:2])
    began = time.monotonic()
    answer = client.load(server.port, messages, concurrency, seconds)
    took, after = time.monotonic() - began, server.batches()
    batches = after["count"] - before["count"]
    answer["batch_rows"] = (after["sum"] - before["sum"]) / batches if batches else 0.0
    answer["cpu_cores"] = (sum(server.watch.cpu_times()[:2]) - cpu) / took
    return answer


def null_case(rounds: int, seconds: float) -> dict[str, Any]:
    """The call alone: the null network through the whole server beside a bare grpc.aio servicer."""
    import numpy as np

    messages = [inputs.tensor_message("null", {"x": np.ones(WIDTH, np.float32)})]
    turns: list[dict[int, dict[str, dict[str, float]]]] = []
    with (
        Process("-m", "benchmarks.null_server", "zoo", log=True) as zoo,
        Process("-m", "benchmarks.null_server", "echo", log=True) as echo,
        Client() as client,
    ):
        zoo_port = int(zoo.wait_for("live")["grpc_port"])
        zoo.wait_for("ready")
        echo_port = int(echo.wait_for("ready")["grpc_port"])
        for _ in range(rounds):
            turn = {}
            for concurrency in CONCURRENCY:
                turn[concurrency] = {
                    "zoo": client.load(zoo_port, messages, concurrency, seconds),
                    "echo": client.load(echo_port, messages, concurrency, seconds),
                }
            turns.append(turn)
            console.print(
                "null: "
                + ", ".join(f"{c}: {t['zoo']['calls_s']:.0f} / {t['echo']['calls_s']:.0f}" for c, t in turn.items())
            )
    costs = {
        str(c): statistics.median(t[c]["echo"]["calls_s"] / t[c]["zoo"]["calls_s"] for t in turns) for c in CONCURRENCY
    }
    return {"turns": turns, "cost_to_echo": costs}


def summary(turn: dict[str, Any]) -> str:
    """A round in a line."""
    limit = turn["limit"]["rows_s"]
    parts = [f"{c}: {s['calls_s']:.1f} ({s['calls_s'] / limit:.2f})" for c, s in turn["server"].items()]
    return f"limit {limit:.1f} rows/s, server at " + ", ".join(parts)


def show(report: dict[str, Any]) -> None:
    """The medians as a table."""
    table = Table("case", "concurrency", "to the limit", "calls/s", "p50 ms", "p99 ms", "rows a batch", "server cores")
    for name, case in report["cases"].items():
        for concurrency in CONCURRENCY:
            turns = [turn["server"][concurrency] for turn in case["turns"]]
            middle = {key: statistics.median(turn[key] for turn in turns) for key in turns[0]}
            table.add_row(
                name,
                str(concurrency),
                f"{case['throughput_to_limit'][str(concurrency)]:.2f}",
                f"{middle['calls_s']:.1f}",
                f"{middle['p50_ms']:.1f}",
                f"{middle['p99_ms']:.1f}",
                f"{middle['batch_rows']:.1f}",
                f"{middle['cpu_cores']:.2f}",
            )
        memory = case["memory"]
        table.add_row(
            name,
            "memory",
            f"{memory['server_mib'] / memory['limit_mib']:.2f}",
            f"{memory['server_mib']:.0f} MiB",
            "",
            "",
            "",
            "",
        )
    console.print(table)
    if "null" in report:
        costs = ", ".join(f"{c}: {v:.2f}" for c, v in report["null"]["cost_to_echo"].items())
        console.print(f"a call of the null network costs, in bare echoes, at concurrency {costs}")


if __name__ == "__main__":
    main()
