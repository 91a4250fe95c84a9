"""Memory of a server under far more calls than it can answer, each with a large message, without retries.

    python -m benchmarks.flood [--requests 10000] [--open 2000] [--connections 8] [--frontend auto|aio] [--hints]

Every call is begun as soon as one of the `--open` before it has ended. The memory is the server's resident set, transport buffers
included; what it takes above the idle server is printed with the number of calls of each status.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import psutil
from grpc import aio

from benchmarks.load import inputs
from benchmarks.participants.server import OPTIONS
from benchmarks.participants.zoo import EAGER, Zoo
from benchmarks.paths import zoo_home

MODEL = "efficientnet_lite0"
METHOD = "/inference.GRPCInferenceService/ModelInfer"
TIMEOUT_S = 5.0
"""Of each call: the server is to refuse what it cannot answer, and the flood is to end."""
SAMPLE_S = 0.05
MIB = 1 << 20


@dataclass
class Flood:
    """The outcome of a flood."""

    statuses: dict[str, int]
    """Calls by the name of their status code."""
    idle_mib: float
    """Resident set of the server before."""
    peak_mib: float
    """The largest resident set during it."""
    after_mib: float
    """The resident set after the last answer."""


async def flood(
    target: str,
    pid: int,
    message: bytes,
    requests: int,
    most_open: int,
    connections: int,
    metadata: Sequence[tuple[str, str]] = (),
    method: str = METHOD,
) -> Flood:
    """Sends `requests` calls with the same message over `connections`, `most_open` at once."""
    server = psutil.Process(pid)
    idle = resident = server.memory_info().rss
    statuses = Counter[str]()
    left = iter(range(requests))
    channels = [aio.insecure_channel(target, [*OPTIONS, ("grpc.enable_retries", 0)]) for _ in range(connections)]

    async def caller(channel: aio.Channel) -> None:
        call: Any = channel.unary_unary(method)  # type: ignore[call-arg]  # bytes as they are
        for _ in left:
            try:
                await call(message, timeout=TIMEOUT_S, metadata=metadata)
                statuses["OK"] += 1
            except aio.AioRpcError as error:
                statuses[error.code().name] += 1

    async def watch() -> None:
        nonlocal resident
        while True:
            resident = max(resident, server.memory_info().rss)
            await asyncio.sleep(SAMPLE_S)

    watching = asyncio.create_task(watch())
    await asyncio.gather(*(caller(channels[i % connections]) for i in range(min(most_open, requests))))
    watching.cancel()
    for channel in channels:
        await channel.close(None)
    return Flood(dict(statuses), idle / MIB, resident / MIB, server.memory_info().rss / MIB)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Floods a server with large requests and measures its memory.")
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--open", type=int, default=2000, help="calls open at once; each costs the client a message")
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--frontend", choices=("auto", "aio"), default="auto")
    parser.add_argument("--hints", action="store_true", help="name the model in the metadata")
    arguments = parser.parse_args()
    message = inputs.tensor_message(MODEL, {"pixel_values": np.zeros((3, 224, 224), np.float32)})
    metadata = (("zoo-model", MODEL),) if arguments.hints else ()
    with Zoo("zoo", [MODEL], zoo_home(), {**EAGER, "ZOO_FRONTEND": arguments.frontend}) as server:
        server.answer(message)
        done = asyncio.run(
            flood(
                server.target,
                server.tree()[0].pid,
                message,
                arguments.requests,
                arguments.open,
                arguments.connections,
                metadata,
            )
        )
    print(json.dumps({"bytes": len(message), **asdict(done)}, indent=1))


if __name__ == "__main__":
    main()
