"""`make bench-access`: what each part of access control and observation costs a request, in processor time of the server.

    python -m benchmarks.access [--rounds 5] [--seconds 8] [--callers 32] [--only TEXT] [--out FILE]

Two servers of a model differ in one part: it is off in one and on in the other. They run turn by turn, each alone while the
other is paused. A turn takes a fifth of a second, since the machine's speed changes from second to second, and every pair of
turns begins with the other server. The turns of a round are added up. Two servers with the same settings differ by some per
cent, each as long as it lives, so every round has servers of its own, and the case "nothing" tells what is left of that in the
median over the rounds. The client is in this process; its own time does not count.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from grpc import aio
from rich.table import Table

from benchmarks.collector import collector
from benchmarks.load import inputs
from benchmarks.measurement.environment import machine
from benchmarks.measurement.testbed import console, rotated
from benchmarks.participants.null_server import WIDTH
from benchmarks.participants.server import OPTIONS, Server
from benchmarks.participants.zoo import EAGER, Zoo
from benchmarks.paths import RESULTS, zoo_home
from service.access.tokens import new_secret

METHOD = "/inference.GRPCInferenceService/ModelInfer"
CALLERS_OF_A_CONNECTION = 8
WARM_UP_S = 2.0
TURN_S = 0.2
START_S = 0.05
CNN = "efficientnet_lite0"
NULL = "null"
"""The network that returns its input: a call costs what is around the network."""

SAME_NETWORK = {**EAGER, "ZOO_LANE_PROCESSES": "off"}
"""Both servers run the network in the same way from the first call to the last."""


@dataclass(frozen=True)
class Variant:
    """One server of a case, and how its clients call it."""

    settings: Mapping[str, str] = field(default_factory=dict)
    credentials: Callable[[], grpc.ChannelCredentials] | None = None
    metadata: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Case:
    """A part, off and on."""

    name: str
    model: str
    off: Variant
    on: Variant
    aim: float | None = None
    """The largest ratio; None where it is only reported."""
    aim_us: float | None = None
    """The largest difference a call, in microseconds; None where it is only reported."""


@dataclass(frozen=True)
class Round:
    """Processor time of the server, in microseconds a call."""

    off_us: float
    on_us: float

    @property
    def ratio(self) -> float:
        """On ÷ off."""
        return self.on_us / self.off_us


def cases(folder: Path, endpoint: str) -> Sequence[Case]:
    """All cases; what they need of files goes to `folder`. `endpoint`: of a collector of traces."""
    secured, with_token = tls_variant(folder), token_variant(folder)
    return (
        Case("nothing, identity model", NULL, Variant(), Variant()),
        Case("tokens, identity model", NULL, Variant(), with_token, aim_us=10.0),
        Case("tokens, 600 KB", CNN, Variant(), with_token),
        Case("TLS, identity model", NULL, Variant(), secured, aim=1.15),
        Case("TLS, 600 KB", CNN, Variant(), secured),
        Case("1 % traced, identity model", NULL, Variant(), traced_variant(endpoint, 0.01), aim=1.02),
        Case("all traced that may be, identity model", NULL, Variant(), traced_variant(endpoint, 1.0)),
    )


def tls_variant(folder: Path) -> Variant:
    """TLS with a certificate on P-256 that is its own CA."""
    cert, key = folder / "server.crt", folder / "server.key"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=localhost"
    files = ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-out", str(cert), "-keyout", str(key)]
    subprocess.run([*command.split(), *files], check=True, capture_output=True)
    key.chmod(0o600)
    settings = {"ZOO_TLS_CERT_FILE": str(cert), "ZOO_TLS_KEY_FILE": str(key)}
    return Variant(settings, lambda: grpc.ssl_channel_credentials(cert.read_bytes()))


def token_variant(folder: Path) -> Variant:
    """A token of every scope, with limits that are never reached; the server has a database of its own."""
    secret, path = new_secret(), folder / "admin.token"
    path.write_text(f"{secret.text}\n")
    path.chmod(0o600)
    settings = {
        "ZOO_TOKENS": "required",
        "ZOO_ADMIN_TOKEN_FILE": str(path),
        "ZOO_DATABASE_URL": f"sqlite:///{folder / 'tokens.db'}",
        "ZOO_REQUESTS_PER_SECOND": "1000000",
        "ZOO_ROWS_PER_SECOND": "1000000",
        "ZOO_CONCURRENT_REQUESTS": "100000",
    }
    return Variant(settings, metadata=(("authorization", f"Bearer {secret.text}"),))


def traced_variant(endpoint: str, ratio: float) -> Variant:
    """A share of the requests is traced; a server traces at most 512 requests a second."""
    return Variant({"ZOO_OTLP_ENDPOINT": endpoint, "ZOO_TRACE_SAMPLE_RATIO": str(ratio)})


def start(case: Case, variant: Variant, name: str) -> Zoo:
    """A ready server."""
    if case.model == NULL:
        command = [sys.executable, "-m", "benchmarks.participants.null_server", "zoo"]
        return Zoo(name, [NULL], zoo_home(), variant.settings, command)
    return Zoo(name, [case.model], zoo_home(), {**SAME_NETWORK, **variant.settings})


def message_of(model: str) -> bytes:
    """A request of one row."""
    if model == NULL:
        return inputs.tensor_message(NULL, {"x": np.ones(WIDTH, np.float32)})
    return inputs.tensor_message(model, {"pixel_values": np.zeros((3, 224, 224), np.float32)})


class Callers:
    """Callers of one server, in a closed loop while `run` runs; their connections stay open between its runs."""

    def __init__(self, target: str, variant: Variant, message: bytes, callers: int, method: str = METHOD) -> None:
        self._message = message
        self._metadata = variant.metadata
        self._channels = [_channel(target, variant) for _ in range(max(1, callers // CALLERS_OF_A_CONNECTION))]
        calls = [channel.unary_unary(method) for channel in self._channels]  # type: ignore[call-arg]  # bytes as they are
        self._calls = [calls[i % len(calls)] for i in range(callers)]

    async def run(self, seconds: float) -> int:
        """Calls for some time; gives the number of calls. Raises grpc.RpcError for a call that fails."""
        end = time.monotonic() + seconds

        async def caller(call: Callable[..., Any]) -> int:
            count = 0
            while time.monotonic() < end:
                await call(self._message, metadata=self._metadata)
                count += 1
            return count

        return sum(await asyncio.gather(*map(caller, self._calls)))

    async def close(self) -> None:
        """Closes the connections."""
        for channel in self._channels:
            await channel.close(None)


def _channel(target: str, variant: Variant) -> aio.Channel:
    options = [*OPTIONS, ("grpc.enable_retries", 0)]
    if variant.credentials is None:
        return aio.insecure_channel(target, options)
    return aio.secure_channel(target, variant.credentials(), options)


@dataclass
class Cost:
    """What one server has taken in the turns of a round."""

    cpu_s: float = 0.0
    calls: int = 0

    @property
    def us(self) -> float:
        """Processor time a call, in microseconds."""
        return 1e6 * self.cpu_s / self.calls

    async def add_turn(self, server: Server, callers: Callers, seconds: float) -> None:
        """Adds a turn. What the server takes to get going again does not count."""
        server.resume(settle_s=0.0)
        try:
            await callers.run(START_S)
            before = server.cpu_seconds()
            calls = await callers.run(seconds)
            self.cpu_s += server.cpu_seconds() - before
            self.calls += calls
        finally:
            server.pause()


async def measured(servers: Mapping[str, Server], callers: Mapping[str, Callers], seconds: float) -> Round:
    """A round, with so many seconds for either server."""
    costs = {name: Cost() for name in servers}
    for turn in range(max(1, round(seconds / TURN_S))):
        for name in rotated(list(servers), turn):
            await costs[name].add_turn(servers[name], callers[name], min(TURN_S, seconds))
    return Round(costs["off"].us, costs["on"].us)


async def one_round(case: Case, seconds: float, callers: int) -> Round:
    """Starts both servers and measures them."""
    message = message_of(case.model)
    variants = {"off": case.off, "on": case.on}
    async with AsyncExitStack() as stack:
        servers, calling = dict[str, Zoo](), dict[str, Callers]()
        for name, variant in variants.items():
            servers[name] = stack.enter_context(start(case, variant, f"access-{name}"))
        for name, variant in variants.items():  # only now: a server that is paused may hold a lock on what both use
            calling[name] = Callers(servers[name].target, variant, message, callers)
            stack.push_async_callback(calling[name].close)
            await calling[name].run(WARM_UP_S)
            servers[name].pause()
        return await measured(servers, calling, seconds)


async def measure(case: Case, rounds: int, seconds: float, callers: int) -> list[Round]:
    """All rounds of a case."""
    found = []
    for _ in range(rounds):
        found.append(await one_round(case, seconds, callers))
        console.print(f"  {case.name}: {found[-1].off_us:.0f} and {found[-1].on_us:.0f} µs, {found[-1].ratio:.3f} ×")
    return found


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Measures what access control and observation cost a request.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=8.0, help="of a round, for either server")
    parser.add_argument("--callers", type=int, default=32)
    parser.add_argument("--only", default="", help="only cases whose name contains this")
    parser.add_argument("--out", type=Path, default=RESULTS / "access.json")
    arguments = parser.parse_args()
    table = Table("case", "off, µs a call", "on, µs a call", "on ÷ off", "on - off, µs", "aim")
    report = {}
    with tempfile.TemporaryDirectory(prefix="zoo-bench-access-") as folder, collector() as endpoint:
        for case in cases(Path(folder), endpoint):
            if arguments.only not in case.name:
                continue
            found = asyncio.run(measure(case, arguments.rounds, arguments.seconds, arguments.callers))
            ratio = statistics.median(one.ratio for one in found)
            more = statistics.median(one.on_us - one.off_us for one in found)
            report[case.name] = {
                "ratio": ratio,
                "more_us": more,
                "aim": case.aim,
                "aim_us": case.aim_us,
                "rounds": [asdict(one) for one in found],
            }
            off, on = (statistics.median(getattr(one, name) for one in found) for name in ("off_us", "on_us"))
            aim = f"≤ {case.aim}" if case.aim else f"≤ {case.aim_us:g} µs more" if case.aim_us else ""
            table.add_row(case.name, f"{off:.0f}", f"{on:.0f}", f"{ratio:.3f}", f"{more:+.0f}", aim)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(
        json.dumps({"machine": machine(), "callers": arguments.callers, "cases": report}, indent=1)
    )
    console.print(table)


if __name__ == "__main__":
    main()
