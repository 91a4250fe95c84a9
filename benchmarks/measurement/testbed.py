"""The testbed of a case: it starts all participants, pauses them, and runs one at a time."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from rich.console import Console

from benchmarks.load import inputs
from benchmarks.participants.litserve import LitServe
from benchmarks.participants.mlserver import MLServer
from benchmarks.participants.process import ParticipantFailed, Process, start_module
from benchmarks.participants.server import Server
from benchmarks.participants.triton import Triton
from benchmarks.participants.zoo import TIER_S, Zoo, start_zoo
from model_zoo.store import Store
from service.settings import usable_cores

LEAST_COSINE = 0.999
"""Between a participant's answers and those of eager fp32 in-process. Below it, the figures would be of another network."""
SWEEP_S = 2.0
OVERLOAD_DEADLINE_MS = 500.0

console = Console(highlight=False)


@dataclass(frozen=True)
class Plan:
    """The length of a run, its home and its participants."""

    home: Path
    rounds: int
    seconds: float
    quick: bool
    participants: frozenset[str]
    """Names of the participants; empty means all."""

    def admits(self, name: str) -> bool:
        """Whether a participant takes part."""
        return not self.participants or name in self.participants


class InProcessLimit:
    """A network in-process, in one tier. One process sweeps the settings; a fresh one measures, so that its peak is a
    script's."""

    def __init__(self, model: str, tier: str, plan: Plan) -> None:
        self._arguments = ("participants.in_process", model, str(plan.home), str(usable_cores()), tier)
        with start_module(*self._arguments) as sweeping:
            self.best = sweeping.ask({"do": "sweep", "seconds": 0.3 if plan.quick else SWEEP_S})
        self.process = start_module(*self._arguments)
        self._settings = {"rows": self.best["rows"], "lanes": self.best["lanes"]}

    def rate(self, seconds: float) -> dict[str, Any]:
        """Rows a second at the best settings."""
        return self.process.ask({"do": "rate", **self._settings, "seconds": seconds})

    def texts(self, order: str, seconds: float) -> dict[str, Any]:
        """Texts of different lengths; see `in_process.InProcessNetwork.texts`."""
        texts = {"count": inputs.REVIEWS, "seed": inputs.SEED}
        return self.process.ask({"do": "texts", "order": order, **self._settings, "seconds": seconds, **texts})


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
        self.record: dict[str, Any] = {"absent": {}, "settings": {}, "tiers": {}, "agreement": {}, "sweeps": {}}

    def __enter__(self) -> Self:
        try:
            self.client = self._stack.enter_context(start_module("load.client"))
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
            if isinstance(server, Zoo) and name == "zoo":
                self.record["tiers"] = server.settle(60.0 if self._plan.quick else TIER_S)
            elif isinstance(server, Zoo):
                self.record["eager tiers"] = server.wait_for_processes()
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
            limited = [inputs.within(m, OVERLOAD_DEADLINE_MS) for m in messages] if grpc else messages
            store_messages(self.client, f"{server.name} {model} within", limited)
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

    def each_server(self, round_number: int) -> Iterator[Server]:
        """Each server, running while the caller has it and paused otherwise; every round begins with another one."""
        for name in rotated(list(self.servers), round_number):
            with resumed(self.servers[name]) as server:
                yield server

    def load(self, server: Server, command: Mapping[str, Any]) -> dict[str, Any]:
        """Send one command to the client, against one server; see `measure`."""
        return measure(self.client, server, command)

    def memory(self) -> dict[str, dict[str, float]]:
        """Memory of every server so far."""
        return {name: {"peak_mib": s.peak_mib(), "pss_mib": s.pss_mib()} for name, s in self.servers.items()}


def start_server(name: str, models: Sequence[str], form: str, home: Path) -> Server:
    """Start a server and wait until it answers. Raises ParticipantFailed."""
    peer_form = "raw" if form == "reviews" else form
    if name == "triton":
        return Triton(models, peer_form, home)
    if name == "litserve":
        return LitServe(models, peer_form, home)
    if name == "mlserver":
        return MLServer(models, peer_form, home)
    return start_zoo(name, models, home)


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
    """Run one command of the client against a server; the answer also holds the server's cores, rows a batch and padding."""
    before, cpu, began = server.counters(), server.cpu_seconds(), time.monotonic()
    answer = client.ask({**command, "target": server.target})
    took = time.monotonic() - began
    answer["server_cores"] = (server.cpu_seconds() - cpu) / took
    counted = {key: value - before[key] for key, value in server.counters().items()}
    if counted.get("batches"):
        answer["batch_rows"] = counted["rows"] / counted["batches"]
        answer["padding"] = counted["padding"] / counted["batches"]
    return answer
