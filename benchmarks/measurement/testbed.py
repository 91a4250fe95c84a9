"""The testbed of a case: it starts all participants, pauses them, and runs one at a time."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Self

import grpc
import numpy as np
from rich.console import Console

from benchmarks.load import inputs
from benchmarks.measurement.in_process_limit import InProcessLimit
from benchmarks.measurement.plan import Plan
from benchmarks.measurement.sentinel import Sentinel, unguarded
from benchmarks.participants.litserve import LitServe
from benchmarks.participants.mlserver import MLServer
from benchmarks.participants.process import ParticipantFailed, Process, start_module
from benchmarks.participants.server import OPTIONS, Server
from benchmarks.participants.triton import Triton
from benchmarks.participants.zoo import TIER_S, Zoo, start_zoo
from model_zoo.store import Store
from service.pb import open_inference_pb2 as pb
from service.pb import open_inference_pb2_grpc
from service.settings import usable_cores

LEAST_COSINE = 0.999
"""Between a participant's answers and those of eager fp32 in-process. Below it, the figures would be of another network."""
OVERLOAD_DEADLINE_MS = 500.0
HOPELESS_MS = 0.001
"""A deadline that no server can meet, for the cost of a refusal."""

console = Console(highlight=False)


class Testbed:
    """The participants of one case; use it as a context manager.

    `record` goes into the report; it lists the participants that could not start under `absent`.
    """

    def __init__(
        self, models: Sequence[str], form: str, names: Sequence[str], tiers: Sequence[str], plan: Plan
    ) -> None:
        self._models, self._form, self._plan = list(models), form, plan
        self._names = [name for name in names if plan.admits(name)]
        self._tiers = [tier for tier in tiers if plan.admits(f"limit-{tier}")]
        self.quick = plan.quick
        self._stack = ExitStack()
        self.servers: dict[str, Server] = {}
        self.limits: dict[str, InProcessLimit] = {}
        self.messages: dict[tuple[str, str], list[bytes]] = {}
        """By server and model, in the form that the server takes."""
        self.record: dict[str, Any] = {"absent": {}, "settings": {}, "tiers": {}, "agreement": {}, "sweeps": {}}
        self.sentinel = unguarded()

    def __enter__(self) -> Self:
        try:
            self.client = self._stack.enter_context(start_module("load.client"))
            self.sentinel = start_sentinel(self._stack, self._plan)
            for tier in self._tiers:
                self._start_limit(tier)
            for name in self._names:
                self._start_server(name)
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _start_limit(self, tier: str) -> None:
        console.print(f"  starting the in-process limit, {tier}")
        try:
            limit = InProcessLimit(self._models[0], tier, self._plan)
        except ParticipantFailed as error:
            self._record_absent(f"limit-{tier}", error)
            return
        self._stack.enter_context(limit.process)
        self.limits[tier] = limit
        self.record["sweeps"][tier] = limit.best

    def _start_server(self, name: str) -> None:
        console.print(f"  starting {name}")
        try:
            server = self._stack.enter_context(start_server(name, self._models, self._form, self._plan.home))
            if isinstance(server, Zoo) and name == "zoo-eager":
                self.record["eager tiers"] = server.wait_for_processes()
            elif isinstance(server, Zoo):
                key = "tiers" if name == "zoo" else f"tiers of {name}"
                self.record[key] = server.settle(60.0 if self._plan.quick else TIER_S)
            self._send_messages(server)
        except ParticipantFailed as error:
            self._record_absent(name, error)
            return
        server.pause()
        self.servers[name] = server
        self.record["settings"][name] = server.settings

    def _record_absent(self, name: str, error: ParticipantFailed) -> None:
        console.print(f"  [yellow]without {name}[/]: {str(error).splitlines()[0]}")
        self.record["absent"][name] = str(error)

    def _send_messages(self, server: Server) -> None:
        """Make the messages in the server's own form, check its answers, and send the messages to the client."""
        for model in self._models:
            task = inputs.task_of(model, Store(self._plan.home))
            messages = [server.message(message) for message in inputs.messages(task, self._form)]
            store_messages(self.client, f"{server.name} {model}", messages)
            grpc = server.protocol == "grpc"
            self.messages[server.name, model] = messages
            for key, timeout_ms in (("within", OVERLOAD_DEADLINE_MS), ("too late", HOPELESS_MS)):
                limited = [inputs.within(m, timeout_ms) for m in messages] if grpc else messages
                store_messages(self.client, f"{server.name} {model} {key}", limited)
            if model == self._models[0] and "eager" in self.limits and self._form != "reviews":
                self._check_answers(server, messages)

    def _check_answers(self, server: Server, messages: Sequence[bytes]) -> None:
        """Compare the server's answers with eager fp32. Raises ParticipantFailed if they differ."""
        expected = self.limits["eager"].process.ask({"do": "reference"})["answers"]
        agreement = {"least_cosine": 1.0, "max_error": 0.0}
        for message, text in zip(messages, expected, strict=True):
            want = np.frombuffer(base64.b64decode(text), np.float32).astype(np.float64)
            got = server.answer(message).astype(np.float64).reshape(-1)
            if got.shape != want.shape:
                raise ParticipantFailed(f"{server.name} returns {got.size} values; expected {want.size}")
            cosine = float(got @ want / (np.linalg.norm(got) * np.linalg.norm(want)))
            agreement["least_cosine"] = min(agreement["least_cosine"], cosine)
            agreement["max_error"] = max(agreement["max_error"], float(np.abs(got - want).max()))
        self.record["agreement"][server.name] = agreement
        if agreement["least_cosine"] < LEAST_COSINE:
            raise ParticipantFailed(
                f"the answers of {server.name} differ from eager fp32: cosine {agreement['least_cosine']:.4f}"
            )

    # ── measurements ──────────────────────────────────────────────────────────────────────────────────────────

    def each_server(self, round_number: int, names: Sequence[str] = ()) -> Iterator[Server]:
        """Each server, or those of `names`, running while the caller has it and paused otherwise; every round begins with another
        one."""
        for name in rotated([name for name in self.servers if not names or name in names], round_number):
            with resumed(self.servers[name]) as server:
                yield server

    def load(self, server: Server, command: Mapping[str, Any]) -> dict[str, Any]:
        """Send one command to the client, against one server, beside the sentinel; see `measure`."""
        return self.sentinel.guard(lambda: measure(self.client, server, command))

    def limit(self, ask: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Ask an in-process limit, beside the sentinel."""
        return self.sentinel.guard(ask)

    def max_batch_size(self, server: Server, model: str) -> int:
        """Rows of a batch at most, as the server states them."""
        with grpc.insecure_channel(server.target, OPTIONS) as channel:
            stub = open_inference_pb2_grpc.GRPCInferenceServiceStub(channel)
            return int(stub.ModelConfig(pb.ModelConfigRequest(name=model), timeout=30).config.max_batch_size)

    def memory(self) -> dict[str, dict[str, float]]:
        """Memory of every server so far."""
        return {name: {"peak_mib": s.peak_mib(), "pss_mib": s.pss_mib()} for name, s in self.servers.items()}


def start_server(name: str, models: Sequence[str], form: str, home: Path) -> Server:
    """Start a server and wait until it answers. Raises ParticipantFailed."""
    peer_form = "raw" if form == "reviews" else form
    if name in ("triton", "triton-openvino"):
        return Triton(models, peer_form, home, network="openvino" if name == "triton-openvino" else "eager")
    if name == "litserve":
        return LitServe(models, peer_form, home)
    if name == "mlserver":
        return MLServer(models, peer_form, home)
    return start_zoo(name, models, home)


def start_sentinel(stack: ExitStack, plan: Plan) -> Sentinel:
    """The sentinel of a run; it guards nothing in a quick one."""
    if plan.quick:
        return unguarded()
    loop = stack.enter_context(start_module("measurement.sentinel_loop", str(usable_cores())))
    return Sentinel(lambda: loop.ask({"do": "read"}))


def rotated(names: list[str], round_number: int) -> list[str]:
    """The names in their order, beginning with another one every round."""
    first = round_number % max(1, len(names))
    return names[first:] + names[:first]


def store_messages(client: Process, key: str, messages: Sequence[bytes]) -> None:
    """Send messages to the client once; later commands name them by the key."""
    client.ask({"kind": "keep", "key": key, "messages": [base64.b64encode(m).decode() for m in messages]})


@contextmanager
def resumed(server: Server) -> Iterator[Server]:
    """The server, resumed on entry and paused on exit."""
    server.resume()
    try:
        yield server
    finally:
        server.pause()


def measure(client: Process, server: Server, command: Mapping[str, Any]) -> dict[str, Any]:
    """Run one command of the client against a server; see `with_server_figures`."""
    return with_server_figures(server, lambda: client.ask({**command, "target": server.target}))


def with_server_figures(server: Server, load: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The answer of a load, with the server's cores, rows a batch and padding during it."""
    before, cpu, began = server.counters(), server.cpu_seconds(), time.monotonic()
    answer = load()
    took = time.monotonic() - began
    answer["server_cores"] = (server.cpu_seconds() - cpu) / took
    counted = {key: value - before[key] for key, value in server.counters().items()}
    if counted.get("batches"):
        answer["batch_rows"] = counted["rows"] / counted["batches"]
        answer["padding"] = counted["padding"] / counted["batches"]
    return answer
