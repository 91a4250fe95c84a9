"""`make bench-tenants`: what a tenant far over its quota does to another one.

    python -m benchmarks.tenants [--rounds 5] [--seconds 10] [--model NAME] [--quota N] [--out FILE]

One server that asks for tokens. A modest tenant sends requests at Poisson times, well within the server's capacity. A greedy
tenant sends beside it from a process of its own, once at its quota and once at ten times its quota; each round has both, and
every round begins with the other one. The ratio of the modest tenant's p99, over ÷ at the quota, is taken within one round, and
the median over the rounds is reported, with the ratio to the modest tenant alone. Latency counts from the time at which a request
was due.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import statistics
import tempfile
import time
from dataclasses import asdict, dataclass
from multiprocessing.synchronize import Event
from pathlib import Path

import grpc
import numpy as np
from grpc import aio
from rich.table import Table

from benchmarks.access import METHOD, SAME_NETWORK, message_of
from benchmarks.load.arrivals import poisson
from benchmarks.measurement.environment import machine
from benchmarks.measurement.testbed import console, rotated
from benchmarks.participants.server import OPTIONS
from benchmarks.participants.zoo import Zoo
from benchmarks.paths import RESULTS, zoo_home
from service.access.tokens import new_secret
from service.client import Client, TokenLimits

CAPACITY_S = 3.0
"""Length of the closed loop that measures the server's capacity."""
CALLERS = 32
MODEST_SHARE, QUOTA_SHARE = 0.4, 0.1
"""Of the capacity: the modest tenant's rate, and the greedy tenant's quota."""
TIMES_OVER = 10.0
SEED = 11
LEAST_CALLS = 200
"""Of the modest tenant, for a p99."""


@dataclass(frozen=True)
class Load:
    """One tenant's calls."""

    target: str
    token: str
    model: str
    rate: float
    seconds: float
    seed: int


@dataclass(frozen=True)
class Answers:
    """The outcome of a tenant's calls."""

    p50_ms: float
    p99_ms: float
    answered: int
    refused: int


@dataclass(frozen=True)
class Round:
    """The modest tenant's p99 in milliseconds, and what the greedy one got."""

    alone_ms: float
    at_quota_ms: float
    over_quota_ms: float
    refused_share: float
    """Of the greedy tenant's calls, over its quota."""

    @property
    def ratio(self) -> float:
        """Over ÷ at the quota."""
        return self.over_quota_ms / self.at_quota_ms

    @property
    def ratio_to_alone(self) -> float:
        """Over the quota ÷ without the greedy tenant."""
        return self.over_quota_ms / self.alone_ms


async def send(load: Load) -> Answers:
    """Sends a tenant's calls at their times; none waits for another. Raises grpc.RpcError for a call that fails otherwise than
    by a refusal."""
    message, metadata = message_of(load.model), (("authorization", f"Bearer {load.token}"),)
    due = poisson(load.rate, load.seconds, load.seed)
    took, refused = list[float](), 0
    async with aio.insecure_channel(load.target, [*OPTIONS, ("grpc.enable_retries", 0)]) as channel:
        call = channel.unary_unary(METHOD)  # type: ignore[call-arg]  # bytes as they are
        began = time.monotonic()

        async def one(at: float) -> None:
            nonlocal refused
            try:
                await call(message, metadata=metadata)
            except aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
                    raise
                refused += 1
            else:
                took.append(time.monotonic() - began - at)

        async with asyncio.TaskGroup() as tasks:
            for at in due:
                await asyncio.sleep(max(0.0, began + at - time.monotonic()))
                tasks.create_task(one(float(at)))
    p50, p99 = np.percentile(took, (50, 99)) * 1000.0 if took else (float("nan"), float("nan"))
    return Answers(float(p50), float(p99), len(took), refused)


def _send_apart(load: Load, ready: Event, begin: Event, results: multiprocessing.Queue[Answers]) -> None:
    ready.set()
    begin.wait()
    results.put(asyncio.run(send(load)))


def beside(modest: Load, greedy: Load | None) -> tuple[Answers, Answers | None]:
    """The modest tenant's calls, with the greedy one's from another process, whose start is over by then."""
    if greedy is None:
        return asyncio.run(send(modest)), None
    spawn = multiprocessing.get_context("spawn")
    results: multiprocessing.Queue[Answers] = spawn.Queue()
    ready, begin = spawn.Event(), spawn.Event()
    process = spawn.Process(target=_send_apart, args=(greedy, ready, begin, results))
    process.start()
    ready.wait()
    begin.set()
    try:
        return asyncio.run(send(modest)), results.get(timeout=60.0 + greedy.seconds)
    finally:
        process.join()


async def capacity(target: str, token: str, model: str) -> float:
    """Calls a second of a closed loop."""
    message, metadata = message_of(model), (("authorization", f"Bearer {token}"),)
    end, count = time.monotonic() + CAPACITY_S, 0

    async with aio.insecure_channel(target, OPTIONS) as channel:
        call = channel.unary_unary(METHOD)  # type: ignore[call-arg]

        async def caller() -> None:
            nonlocal count
            while time.monotonic() < end:
                await call(message, metadata=metadata)
                count += 1

        await asyncio.gather(*(caller() for _ in range(CALLERS)))
    return count / CAPACITY_S


def measure(model: str, rounds: int, seconds: float, quota: float) -> list[Round]:
    """All rounds. `quota`: of the greedy tenant, in calls a second; 0 takes QUOTA_SHARE of the capacity."""
    found = []
    with tempfile.TemporaryDirectory(prefix="zoo-bench-tenants-") as folder:
        admin, path = new_secret(), Path(folder) / "admin.token"
        path.write_text(f"{admin.text}\n")
        path.chmod(0o600)
        settings = {
            **SAME_NETWORK,
            "ZOO_TOKENS": "required",
            "ZOO_ADMIN_TOKEN_FILE": str(path),
            "ZOO_DATABASE_URL": f"sqlite:///{folder}/tokens.db",
        }
        with Zoo("tenants", [model], zoo_home(), settings) as server:
            full = asyncio.run(capacity(server.target, admin.text, model))
            most = quota or QUOTA_SHARE * full
            with Client(server.target, token=admin.text) as client:
                modest = client.create_token("modest", ["infer"]).secret
                limits = TokenLimits(requests_per_second=most)
                greedy = client.create_token("greedy", ["infer"], limits=limits).secret
            console.print(f"  capacity {full:.0f}/s, quota {most:.0f}/s")
            rate = MODEST_SHARE * full
            length = max(seconds, LEAST_CALLS / rate)
            for number in range(rounds):
                wanted = Load(server.target, modest, model, rate, length, SEED + number)
                beside_it = Load(server.target, greedy, model, most, length, SEED + 1000 + number)
                loads = {
                    "alone": None,
                    "at": beside_it,
                    "over": Load(**{**asdict(beside_it), "rate": TIMES_OVER * most}),
                }
                figures = {name: beside(wanted, loads[name]) for name in rotated(list(loads), number)}
                over = figures["over"][1]
                assert over is not None
                share = over.refused / max(1, over.refused + over.answered)
                found.append(
                    Round(figures["alone"][0].p99_ms, figures["at"][0].p99_ms, figures["over"][0].p99_ms, share)
                )
                console.print(
                    f"  p99 {found[-1].alone_ms:.0f}, {found[-1].at_quota_ms:.0f}, {found[-1].over_quota_ms:.0f} ms: "
                    f"{found[-1].ratio:.2f} ×; {share:.0%} of the greedy calls refused"
                )
    return found


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Measures what a tenant over its quota does to another one.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=10.0, help="length of each measurement")
    parser.add_argument("--model", default="efficientnet_lite0")
    parser.add_argument("--quota", type=float, default=0.0, help="calls a second; 0 takes a tenth of the capacity")
    parser.add_argument("--out", type=Path, default=RESULTS / "tenants.json")
    arguments = parser.parse_args()
    found = measure(arguments.model, arguments.rounds, arguments.seconds, arguments.quota)
    ratio, alone = (statistics.median(getattr(one, name) for one in found) for name in ("ratio", "ratio_to_alone"))
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    report = {"machine": machine(), "ratio": ratio, "ratio_to_alone": alone, "rounds": [asdict(one) for one in found]}
    arguments.out.write_text(json.dumps(report, indent=1))
    table = Table("p99 of the modest tenant", "median", "aim")
    table.add_row("greedy one at ten times its quota ÷ at its quota", f"{ratio:.2f}", "≤ 1.3")
    table.add_row("the same ÷ alone", f"{alone:.2f}", "")
    console.print(table)


if __name__ == "__main__":
    main()
