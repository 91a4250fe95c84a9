"""The call alone: a network that returns its input, through whole servers, beside a bare grpc.aio servicer.

`server_us` is the server's processor time of a call in microseconds.
"""

from __future__ import annotations

import math
import sys
from contextlib import ExitStack
from functools import partial
from typing import Any

import numpy as np

from benchmarks.load import inputs
from benchmarks.measurement.plan import CONCURRENCY, Plan
from benchmarks.measurement.sentinel import Sentinel
from benchmarks.measurement.testbed import console, measure, resumed, rotated, start_sentinel, store_messages
from benchmarks.participants.null_server import WIDTH
from benchmarks.participants.process import ParticipantFailed, Process, start_module
from benchmarks.participants.server import Server
from benchmarks.participants.triton import Triton
from benchmarks.participants.zoo import Zoo

STREAMS = ((1, 64), (4, 16), (64, 1))
"""Number of streams, and requests in flight on each."""
CALLERS_OF_AIMS = (32, 64)


def measure_null_call(plan: Plan) -> dict[str, Any]:
    """All rounds of the null case."""
    console.print("[bold]null[/]")
    messages = [inputs.tensor_message("null", {"x": np.ones(WIDTH, np.float32)})]
    found: dict[str, Any] = {"absent": {}, "rounds": []}
    with ExitStack() as stack:
        client = stack.enter_context(start_module("load.client"))
        store_messages(client, "null", messages)
        sentinel = start_sentinel(stack, plan)
        servers: dict[str, Server] = {}
        for name in ("echo", "zoo", "triton"):
            if not plan.admits(name) or (plan.aims and name == "triton"):
                continue
            try:
                servers[name] = stack.enter_context(_start(name, plan))
                servers[name].pause()
            except ParticipantFailed as error:
                found["absent"][name] = str(error)
        for number in range(plan.rounds):
            figures: dict[str, Any] = {}
            for name in rotated(list(servers), number):
                with resumed(servers[name]) as server:
                    figures[name] = _measure_server(client, server, plan, sentinel)
                console.print(f"  {name}: " + ", ".join(f"{k}: {v['calls_s']:.0f}" for k, v in figures[name].items()))
            found["rounds"].append(figures)
        found["sentinel"] = sentinel.record()
    return found


def _measure_server(client: Process, server: Server, plan: Plan, sentinel: Sentinel) -> dict[str, Any]:
    """Unary calls at each concurrency, then streams."""
    commands: dict[str, dict[str, Any]] = {
        f"unary, {callers} callers": {"kind": "closed", "protocol": "grpc", "groups": [["null", callers]]}
        for callers in (CALLERS_OF_AIMS if plan.aims else CONCURRENCY)
    }
    for count, window in STREAMS:
        commands[f"{count} × {window} streamed"] = {
            "kind": "streams",
            "messages": "null",
            "count": count,
            "window": window,
        }
    figures = {}
    for kind, command in commands.items():
        timed = {**command, "seconds": plan.seconds}
        one = figures[kind] = sentinel.guard(partial(measure, client, server, timed))
        one["server_us"] = 1e6 * one["server_cores"] / one["calls_s"] if one["calls_s"] else math.inf
    return figures


def _start(name: str, plan: Plan) -> Server:
    if name == "triton":
        return Triton(["null"], "tensors", plan.home)
    command = [sys.executable, "-m", "benchmarks.participants.null_server", name]
    return Zoo(name, ["null"], plan.home, {}, command)
