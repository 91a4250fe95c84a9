"""Loads on the seeded server: closed loops, raw photos, and MLPerf's Server beside Offline."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.gpu import networks
from benchmarks.load import inputs
from benchmarks.load.arrivals import largest_rate
from benchmarks.measurement.open_loops import LOWEST, MOST_LATE, P99_BOUND
from benchmarks.measurement.scenarios import closed_command
from benchmarks.measurement.testbed import measure, store_messages
from benchmarks.participants.process import Process, start_module
from benchmarks.participants.zoo import Zoo
from service.types import ImageInstance


@dataclass(frozen=True)
class LoadPlan:
    """The points of the loads and their length."""

    callers: tuple[int, ...]
    photo_callers: tuple[int, ...]
    seconds: float
    probes: int
    """Trials of the search for the Server rate."""
    messages: int = 16
    """Different inputs, which the callers send in turn."""


FULL = LoadPlan((1, 2, 4, 8, 16, 32, 64, 128, 256, 512), (1, 8, 64, 512), seconds=3.0, probes=6)
SMALLEST = LoadPlan((1, 4), (2,), seconds=0.3, probes=2, messages=2)


def measure_loads(device: str, precision: str, home: Path, plan: LoadPlan) -> dict[str, Any]:
    """All loads on one server. Raises ParticipantFailed."""
    model = networks.IMAGES
    card = networks.card_of(model)
    command = [sys.executable, "-m", "benchmarks.gpu.seeded_server", device, precision]
    tensors = [
        inputs.tensor_message(model, {name: array[0] for name, array in networks.batch_of(card, 1, seed).items()})
        for seed in range(plan.messages)
    ]
    photos = [
        inputs.bytes_message(model, card.raw_input, instance.data)
        for instance in inputs.instances(card.raw_input)
        if isinstance(instance, ImageInstance)
    ]
    name = f"zoo-{device.partition(':')[0]}-{precision}"
    with start_module("load.client") as client, Zoo(name, [model], home, {}, command) as server:
        for key, messages in ((f"{name} {model}", tensors), (f"{name} photos", photos)):
            store_messages(client, key, messages)
        closed = _closed(client, server, model, plan.callers, plan.seconds)
        return {
            "closed": closed,
            "photos": _closed(client, server, "photos", plan.photo_callers, plan.seconds),
            "server": _server(client, server, model, closed, plan),
        }


def _closed(client: Process, server: Zoo, key: str, callers: Sequence[int], seconds: float) -> dict[str, Any]:
    return {str(count): measure(client, server, closed_command(server, key, count, seconds)) for count in callers}


def _server(client: Process, server: Zoo, model: str, closed: dict[str, Any], plan: LoadPlan) -> dict[str, Any]:
    """The largest Poisson rate with 99 of 100 answers within P99_BOUND × the latency of a single caller, beside the Offline rate:
    that of the most callers."""
    single, offline = closed[str(plan.callers[0])]["p50_ms"], closed[str(plan.callers[-1])]["calls_s"]
    if not (math.isfinite(single) and offline > 0):
        return {"offline_s": offline, "server_s": 0.0}
    bound = P99_BOUND * single
    common = {"kind": "open", "protocol": "grpc", "messages": f"{server.name} {model}", "seed": 11}

    def holds(rate: float) -> bool:
        command = {**common, "rate": rate, "seconds": plan.seconds, "deadline_ms": bound}
        return bool(measure(client, server, command)["good_share"] >= 1.0 - MOST_LATE)

    rate = largest_rate(holds, LOWEST * offline, offline, plan.probes)
    return {"single_ms": single, "bound_ms": bound, "offline_s": offline, "server_s": rate, "ratio": rate / offline}


def throughput_peak(closed: dict[str, Any]) -> float:
    """The most calls a second over all numbers of callers."""
    return float(np.max([one["calls_s"] for one in closed.values()]))
