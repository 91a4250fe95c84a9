"""The processor time of a call: how much of it each part of the server takes, and the client.

    python -m benchmarks.measurement.cpu_time [--callers 32] [--seconds 6]

The event loop runs in the server's main thread. gRPC's own threads read and write sockets. The rest are lanes (torch, collate)
and the pool that decodes and tokenises. The kernel counts the time of each thread; the time of all calls is counted, with
warm-up.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import psutil
from rich.table import Column, Table

from benchmarks.measurement.plan import Plan
from benchmarks.measurement.scenarios import closed_command
from benchmarks.measurement.testbed import Testbed, console
from benchmarks.participants.server import Server
from benchmarks.paths import zoo_home

CASES = (
    ("efficientnet_lite0", "tensors"),
    ("efficientnet_lite0", "raw"),
    ("all_minilm_l6_v2", "tensors"),
    ("all_minilm_l6_v2", "raw"),
    ("silero_vad", "raw"),
)
GRPC = ("event_engine", "grpc", "resolver", "timer")
"""Prefixes of the names of gRPC's own threads."""


def spent(server: Server) -> dict[str, float]:
    """Processor seconds so far of the event loop, of gRPC's threads, and of the lanes and the pool."""
    seconds = {"loop": 0.0, "grpc": 0.0, "rest": 0.0}
    for process in server.tree():
        for thread in process.threads():
            name = _name(process, thread.id)
            part = "loop" if thread.id == process.pid else "grpc" if name.startswith(GRPC) else "rest"
            seconds[part] += thread.user_time + thread.system_time
    return seconds


def _name(process: psutil.Process, thread: int) -> str:
    try:
        return Path(f"/proc/{process.pid}/task/{thread}/comm").read_text().strip()
    except OSError:  # the thread has ended
        return ""


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Shows where the processor time of a call goes.")
    parser.add_argument("--callers", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=6.0)
    arguments = parser.parse_args()
    plan = Plan(zoo_home(), 1, arguments.seconds, False, frozenset())
    table = Table(
        Column("model and input", no_wrap=True), "calls/s", "event loop", "gRPC's threads", "lanes and pool", "client"
    )
    for model, form in CASES:
        with Testbed((model,), form, ("zoo",), (), plan) as testbed:
            for server in testbed.each_server(0):
                testbed.load(server, closed_command(server, model, arguments.callers, 1.0))
                before = spent(server)
                figures = testbed.load(server, closed_command(server, model, arguments.callers, arguments.seconds))
                after = spent(server)
        server_s = sum(after.values()) - sum(before.values())
        cores = [figures["server_cores"] * (after[part] - before[part]) / server_s for part in after]
        cells = [f"{1000 * share / figures['calls_s']:.2f} ms" for share in (*cores, figures["client_cores"])]
        table.add_row(f"{model} {form}", f"{figures['calls_s']:.1f}", *cells)
    console.print(table)


if __name__ == "__main__":
    main()
