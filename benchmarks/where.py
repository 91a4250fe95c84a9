"""Where the processor time of a call goes: who in the server spends how much of it, and the client beside it.

    python -m benchmarks.where [--callers 32] [--seconds 6]

The event loop is the server's main thread; gRPC's own threads read and write sockets; the rest are lanes (torch, collate) and
the pool that decodes and tokenises. Times are the kernel's, by thread, over all that was called, warm-up included.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import psutil
from rich.table import Column, Table

from benchmarks.field import Field, Plan, console
from benchmarks.peers.base import Server
from benchmarks.run import home
from benchmarks.scenarios import closed_order

CASES = (
    ("efficientnet_lite0", "tensors"),
    ("efficientnet_lite0", "raw"),
    ("all_minilm_l6_v2", "tensors"),
    ("all_minilm_l6_v2", "raw"),
)
GRPC = ("event_engine", "grpc", "resolver", "timer")
"""How gRPC's own threads are called."""


def spent(server: Server) -> dict[str, float]:
    """Processor seconds so far of the event loop, of gRPC's threads, and of lanes and pool."""
    seconds = {"loop": 0.0, "grpc": 0.0, "rest": 0.0}
    for process in server.tree():
        for thread in process.threads():
            name = _name(process, thread.id)
            who = "loop" if thread.id == process.pid else "grpc" if name.startswith(GRPC) else "rest"
            seconds[who] += thread.user_time + thread.system_time
    return seconds


def _name(process: psutil.Process, thread: int) -> str:
    try:
        return Path(f"/proc/{process.pid}/task/{thread}/comm").read_text().strip()
    except OSError:  # it has ended
        return ""


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description="Shows where the processor time of a call goes.")
    parser.add_argument("--callers", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=6.0)
    arguments = parser.parse_args()
    plan = Plan(home(), 1, arguments.seconds, False, frozenset())
    table = Table(
        Column("model and input", no_wrap=True), "calls/s", "event loop", "gRPC's threads", "lanes and pool", "client"
    )
    for model, form in CASES:
        with Field((model,), form, ("zoo",), (), plan) as field:
            for server in field.turns(0):
                field.load(server, closed_order(server, model, arguments.callers, 1.0))
                before = spent(server)
                figures = field.load(server, closed_order(server, model, arguments.callers, arguments.seconds))
                after = spent(server)
        server_s = sum(after.values()) - sum(before.values())
        cores = [figures["server_cores"] * (after[who] - before[who]) / server_s for who in after]
        cells = [f"{1000 * share / figures['calls_s']:.2f} ms" for share in (*cores, figures["client_cores"])]
        table.add_row(f"{model} {form}", f"{figures['calls_s']:.1f}", *cells)
    console.print(table)


if __name__ == "__main__":
    main()
