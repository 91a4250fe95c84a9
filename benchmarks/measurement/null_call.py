"""The call alone: a network that returns its input, through whole servers, beside a bare grpc.aio servicer."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from typing import Any

import numpy as np

from benchmarks.load import inputs
from benchmarks.measurement import scenarios
from benchmarks.measurement.testbed import Plan, console, measure, resumed, rotated, store_messages
from benchmarks.participants.null_server import WIDTH
from benchmarks.participants.process import ParticipantFailed, Process, start_module
from benchmarks.participants.server import Server
from benchmarks.participants.triton import Triton
from benchmarks.participants.zoo import Zoo

STREAMS = ((1, 64), (4, 16), (64, 1))
"""Number of streams, and requests in flight on each."""


def measure_null_call(plan: Plan) -> dict[str, Any]:
    """All rounds of the null case."""
    console.print("[bold]null[/]")
    messages = [inputs.tensor_message("null", {"x": np.ones(WIDTH, np.float32)})]
    found: dict[str, Any] = {"absent": {}, "rounds": []}
    with ExitStack() as stack:
        client = stack.enter_context(start_module("load.client"))
        store_messages(client, "null", messages)
        servers: dict[str, Server] = {}
        for name in ("echo", "zoo", "triton"):
            if not plan.admits(name):
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
                    figures[name] = _measure_server(client, server, plan.seconds)
                console.print(f"  {name}: " + ", ".join(f"{k}: {v['calls_s']:.0f}" for k, v in figures[name].items()))
            found["rounds"].append(figures)
    return found


def _measure_server(client: Process, server: Server, seconds: float) -> dict[str, Any]:
    """Unary calls at each concurrency, then streams."""
    figures = {}
    for callers in scenarios.CONCURRENCY:
        command = {"kind": "closed", "protocol": "grpc", "groups": [["null", callers]], "seconds": seconds}
        figures[f"unary, {callers} callers"] = measure(client, server, command)
    for count, window in STREAMS:
        command = {"kind": "streams", "messages": "null", "count": count, "window": window, "seconds": seconds}
        figures[f"{count} × {window} streamed"] = measure(client, server, command)
    return figures


def _start(name: str, plan: Plan) -> Server:
    if name == "triton":
        return Triton(["null"], "tensors", plan.home)
    command = [sys.executable, "-m", "benchmarks.participants.null_server", name]
    return Zoo(name, ["null"], plan.home, {}, command)
