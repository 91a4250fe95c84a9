"""All who take part in a case: up, stopped, and given the machine one at a time."""

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

from benchmarks import inputs
from benchmarks.peers import zoo
from benchmarks.peers.base import Server
from benchmarks.peers.litserve import LitServe
from benchmarks.peers.mlserver import MLServer
from benchmarks.peers.triton import Triton
from benchmarks.processes import PeerFailed, Process, module
from model_zoo.store import Store
from service.settings import usable_cores

LEAST_COSINE = 0.999
"""Between a participant's answers and those of eager fp32 in-process; below it, its figures would be of another network."""
SWEEP_S = 2.0

console = Console(highlight=False)


@dataclass(frozen=True)
class Plan:
    """How long and where."""

    home: Path
    rounds: int
    seconds: float
    quick: bool
    participants: frozenset[str]
    """Whom to let take part; empty means all."""

    def admits(self, name: str) -> bool:
        """Whether somebody may take part."""
        return not self.participants or name in self.participants


class Limits:
    """A network in-process, in one tier: swept in one process, then measured in a fresh one, whose peak is a script's own."""

    def __init__(self, model: str, tier: str, plan: Plan) -> None:
        self._arguments = ("limit", model, str(plan.home), str(usable_cores()), tier)
        with module(*self._arguments) as sweeping:
            self.best = sweeping.ask({"do": "sweep", "seconds": 0.3 if plan.quick else SWEEP_S})
        self.process = module(*self._arguments)
        self.at = {"rows": self.best["rows"], "lanes": self.best["lanes"]}

    def rate(self, seconds: float) -> dict[str, Any]:
        """At its best."""
        return self.process.ask({"do": "rate", **self.at, "seconds": seconds})

    def texts(self, order: str, seconds: float) -> dict[str, Any]:
        """Texts of unlike lengths; see limit.Limit.texts."""
        about = {"count": inputs.REVIEWS, "seed": inputs.SEED}
        return self.process.ask({"do": "texts", "order": order, **self.at, "seconds": seconds, **about})


class Field:
    """Use it as a context manager. `record` goes into the report; those who could not start stand in it under `absent`."""

    def __init__(
        self, models: Sequence[str], form: str, names: Sequence[str], tiers: Sequence[str], plan: Plan
    ) -> None:
        self._models, self._form, self._plan = list(models), form, plan
        self._names = [name for name in names if plan.admits(name)]
        self._tiers = [tier for tier in tiers if plan.admits(f"limit-{tier}")]
        self.quick = plan.quick
        self._stack = ExitStack()
        self.servers: dict[str, Server] = {}
        self.limits: dict[str, Limits] = {}
        self.record: dict[str, Any] = {"absent": {}, "settings": {}, "tiers": {}, "agreement": {}, "sweeps": {}}

    def __enter__(self) -> Self:
        try:
            self.client = self._stack.enter_context(module("client"))
            for tier in self._tiers:
                self._enter_limit(tier)
            for name in self._names:
                self._enter_server(name)
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _enter_limit(self, tier: str) -> None:
        console.print(f"  starting the in-process limit, {tier}")
        try:
            limit = Limits(self._models[0], tier, self._plan)
        except PeerFailed as error:
            self._lacks(f"limit-{tier}", error)
            return
        self._stack.enter_context(limit.process)
        self.limits[tier] = limit
        self.record["sweeps"][tier] = limit.best

    def _enter_server(self, name: str) -> None:
        console.print(f"  starting {name}")
        try:
            server = self._stack.enter_context(start(name, self._models, self._form, self._plan.home))
            if isinstance(server, zoo.Zoo) and name == "zoo":
                self.record["tiers"] = server.settle(60.0 if self._plan.quick else zoo.TIER_S)
            elif isinstance(server, zoo.Zoo):
                self.record["eager tiers"] = server.move()
            self._give_messages(server)
        except PeerFailed as error:
            self._lacks(name, error)
            return
        server.pause()
        self.servers[name] = server
        self.record["settings"][name] = server.settings

    def _lacks(self, name: str, error: PeerFailed) -> None:
        console.print(f"  [yellow]without {name}[/]: {str(error).splitlines()[0]}")
        self.record["absent"][name] = str(error)

    def _give_messages(self, server: Server) -> None:
        """Makes the messages in the server's own form, checks its answers, hands the messages to the client."""
        for model in self._models:
            task = inputs.task_of(model, Store(self._plan.home))
            ready = [server.message(message) for message in inputs.messages(task, self._form)]
            keep(self.client, f"{server.name} {model}", ready)
            late = [inputs.within(m, OVERLOAD_DEADLINE_MS) for m in ready] if server.protocol == "grpc" else ready
            keep(self.client, f"{server.name} {model} within", late)
            if model == self._models[0] and "eager" in self.limits and self._form != "reviews":
                self._compare(server, ready)

    def _compare(self, server: Server, messages: Sequence[bytes]) -> None:
        expected = self.limits["eager"].process.ask({"do": "reference"})["answers"]
        likeness = {"least_cosine": 1.0, "max_error": 0.0}
        for message, text in zip(messages, expected, strict=True):
            want = np.frombuffer(base64.b64decode(text), np.float32).astype(np.float64)
            got = server.answer(message).astype(np.float64).reshape(-1)
            if got.shape != want.shape:
                raise PeerFailed(f"{server.name} gives {got.size} values where {want.size} are right")
            cosine = float(got @ want / (np.linalg.norm(got) * np.linalg.norm(want)))
            likeness["least_cosine"] = min(likeness["least_cosine"], cosine)
            likeness["max_error"] = max(likeness["max_error"], float(np.abs(got - want).max()))
        self.record["agreement"][server.name] = likeness
        if likeness["least_cosine"] < LEAST_COSINE:
            raise PeerFailed(f"{server.name} answers otherwise than eager fp32: cosine {likeness['least_cosine']:.4f}")

    # ── turns ─────────────────────────────────────────────────────────────────────────────────────────────────

    def turns(self, number: int) -> Iterator[Server]:
        """Each server in turn, running while it is given out; every round begins with another."""
        names = list(self.servers)
        first = number % max(1, len(names))
        for name in names[first:] + names[:first]:
            with running(self.servers[name]) as server:
                yield server

    def load(self, server: Server, order: Mapping[str, Any]) -> dict[str, Any]:
        """One order to the client, against one server, with what its batches and its processor did meanwhile."""
        return measured(self.client, server, order)

    def memory(self) -> dict[str, dict[str, float]]:
        """Of every participant, so far."""
        return {name: {"peak_mib": s.peak_mib(), "pss_mib": s.pss_mib()} for name, s in self.servers.items()}


OVERLOAD_DEADLINE_MS = 500.0


def start(name: str, models: Sequence[str], form: str, home: Path) -> Server:
    """A participant, up. Raises PeerFailed."""
    asked = "raw" if form == "reviews" else form
    if name == "triton":
        return Triton(models, asked, home)
    if name == "litserve":
        return LitServe(models, asked, home)
    if name == "mlserver":
        return MLServer(models, asked, home)
    return zoo.start(name, models, home)


def keep(client: Process, key: str, messages: Sequence[bytes]) -> None:
    """Hands messages to the client, once."""
    client.ask({"kind": "keep", "key": key, "messages": [base64.b64encode(m).decode() for m in messages]})


@contextmanager
def running(server: Server) -> Iterator[Server]:
    """A server that is not stopped."""
    server.resume()
    try:
        yield server
    finally:
        server.pause()


def measured(client: Process, server: Server, order: Mapping[str, Any]) -> dict[str, Any]:
    """See Field.load."""
    before, cpu, began = server.counters(), server.cpu_seconds(), time.monotonic()
    answer = client.ask({**order, "target": server.target})
    took = time.monotonic() - began
    answer["server_cores"] = (server.cpu_seconds() - cpu) / took
    done = {key: value - before[key] for key, value in server.counters().items()}
    if done.get("batches"):
        answer["batch_rows"] = done["rows"] / done["batches"]
        answer["padding"] = done["padding"] / done["batches"]
    return answer
