"""A tier manager between a world of fakes and a fake compiler."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from copy import copy
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np

from model_zoo.cards.card import Card
from model_zoo.versions import Versions
from service.engine.tier_report import TierReport
from service.registry.loading.loaded import Loaded
from service.registry.loading.memory_ledger import Ledger
from service.runtime.compilers.compiled_cache import CannotCompile
from service.settings import ModelOptions
from service.tiering.tier_manager import TierManager
from service.types import Answer, Instance, Prediction, Tensors, TextInstance
from service.verification.probes import alone, probe_items
from tests.support.registry.fakes import (
    PATIENCE_S,
    FakeTask,
    World,
    world,
)
from tests.support.registry.tuned_versions import with_tuned
from tests.support.scheduler.fakes import until


class Clock:
    """Time passes only while a network runs."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Task(FakeTask):
    """With golden inputs: 3, 4 and 5."""

    golden_says: str | None = None

    def golden_instance(self, given: object) -> Instance:
        return TextInstance(b"3")

    def golden_texts(self, expect: object) -> list[str]:
        return ["4", "5"]

    def golden_problem(self, expect: object, answer: Answer, answer_of: Mapping[str, Answer]) -> str | None:
        return self.golden_says


class Network:
    """y = 2 x + 1 + `off`, in `seconds` a row (`alone_s`, where set, for a batch of one). What is `batched_off` is added to
    every row but the first."""

    device = "cpu"
    shared = None

    def __init__(
        self, clock: Clock, seconds: float, precision: str = "fp32", off: float = 0.0, batched_off: float = 0.0
    ) -> None:
        self.clock, self.seconds, self.precision, self.off, self.batched_off = (
            clock,
            seconds,
            precision,
            off,
            batched_off,
        )
        self.alone_s: float | None = None
        self.tier = "eager"
        self.compiler = ""
        self.fails: Exception | None = None
        self.gate = threading.Event()
        """Cleared, batches wait for it inside."""
        self.gate.set()
        self.entered = threading.Event()
        self.freed = False
        self.rows = 0

    @property
    def memory_bytes(self) -> int:
        return 0 if self.freed else 4096

    def run(self, tensors: Tensors) -> dict[str, Any]:
        assert not self.freed, "a batch ran in a network that was freed"
        self.entered.set()
        assert self.gate.wait(PATIENCE_S)
        if self.fails is not None:
            raise self.fails
        x = np.asarray(tensors["x"], np.float32)
        self.rows += len(x)
        self.clock.now += self.alone_s if self.alone_s is not None and len(x) == 1 else self.seconds * len(x)
        return {"y": x * 2 + 1 + self.off + self.batched_off * (np.arange(len(x)) > 0)[:, None].astype(np.float32)}

    def free(self) -> None:
        self.freed = True


class Compiler:
    """Returns the network that a test offers for a precision; with `gate` cleared, it waits before it loads anything.

    A test may name several compilers; offers of one are under "compiler precision".
    """

    def __init__(self) -> None:
        self.offers: dict[str, Network | Exception] = {}
        self.compilers: tuple[str, ...] = ("fake",)
        self.given: list[Network] = []
        self.asked: list[str] = []
        """The precisions; with several compilers, these before them."""
        self.loaded: list[str] = []
        self.trials: list[str] = []
        """The candidates whose trial began, and ended."""
        self.stored: dict[str, dict[str, Any]] = {}
        """Evidence by candidate."""
        self.gate = threading.Event()
        self.gate.set()
        self.loads: Callable[[], object] = lambda: None
        """What loading does to the machine."""
        self.stopped = False

    def expect(self) -> None:
        pass

    def compile(
        self, card: Card, precision: str, compiler: str, calibration: Callable[[], Sequence[Tensors]] = tuple
    ) -> Any:
        key = precision if len(self.compilers) == 1 else f"{compiler} {precision}"
        self.asked.append(key)
        assert self.gate.wait(PATIENCE_S)
        offer = self.offers.get(key, CannotCompile("no compiler"))
        if isinstance(offer, CannotCompile):
            raise offer
        return SimpleNamespace(
            load=partial(self._load, key, offer, compiler),
            compile_s=12.5,
            cached=False,
            trial=partial(self._trial, key),
            evidence=lambda: self.stored.get(key),
            store_evidence=partial(self.stored.__setitem__, key),
        )

    @contextmanager
    def _trial(self, key: str) -> Iterator[None]:
        self.trials.append(key)
        try:
            yield
        finally:
            self.trials.append(f"end of {key}")

    def _load(self, key: str, offer: Network | Exception, compiler: str) -> Network:
        self.loads()
        if isinstance(offer, Exception):
            raise offer
        if offer in self.given:  # a network is compiled anew for each that asks
            offer = copy(offer)
        offer.tier, offer.compiler = "compiled", compiler
        self.given.append(offer)
        self.loaded.append(key)
        return offer

    def stop(self) -> None:
        self.stopped = True
        self.gate.set()


class Processes:
    """Returns a network, or raises."""

    lanes = 2

    def __init__(self, offer: Network | Exception) -> None:
        self.offer = offer
        self.asked: list[tuple[str, str]] = []

    def open(self, card: Card, precision: str) -> Any:
        self.asked.append((card.name, precision))
        if isinstance(self.offer, Exception):
            raise self.offer
        return self.offer


class TieredWorld:
    """A world with the model "adder" (and others, if named), a fake compiler, and a tier manager between them."""

    def __init__(self, within: World, has_bf16: bool, processes: Any = None) -> None:
        self.world, self.clock, self.compiler = within, Clock(), Compiler()
        self.before = Network(self.clock, 0.010)
        self.after = Network(self.clock, 0.005)
        self.after.tier = "compiled"
        self.beside: list[Network] = []
        """fp32 runtimes of "adder" that were loaded for heads."""
        self.task: Task | None = None
        self.threads: list[str] = []
        self._load_others = within.loader.load
        cast(Any, within.loader).load = self._load
        self.tiers = TierManager(
            within.registry,
            within.recorder,
            cast(Any, self.compiler),
            lambda precision: has_bf16,
            enter_thread=lambda: self.threads.append(threading.current_thread().name),
            clock=self.clock,
            processes=processes,
        )

    def _load(self, card: Card, precision: str | None = None) -> Loaded:
        if card.name != "adder":
            return self._load_others(card)
        if precision is not None:
            self.beside.append(Network(self.clock, 0.010, precision))
            task = Task(card)
            reference = alone(task, Network(Clock(), 0.0), probe_items(task))
            return Loaded(task, cast(Any, self.beside[-1]), 0.1, reference)
        self.task = task = Task(card)
        reference = alone(task, Network(Clock(), 0.0), probe_items(task))
        return Loaded(task, cast(Any, self.before), 0.1, reference)

    @property
    def report(self) -> TierReport:
        runtime = self.world.registry.status("adder").runtime
        assert runtime is not None
        assert runtime.tier_report is not None
        return runtime.tier_report

    async def outcome(self) -> TierReport:
        """The report after the attempt."""
        under_way = ("it waits for the compiler", "is being compiled and checked")
        await until(lambda: not self.report.reason.endswith(under_way))
        return self.report

    async def ask(self, text: str) -> float:
        reply = await self.world.inference.infer(self.world.request(text))
        [prediction] = reply.predictions
        assert isinstance(prediction, Prediction)
        return float(prediction.tensors["y"][0])

    def tier(self, tier: str, precision: str) -> float:
        return self.world.sample("zoo_model_tier", model="adder", version="1", tier=tier, precision=precision)


@asynccontextmanager
async def tiered(
    precision: Any = "auto",
    optimize: Any = "auto",
    has_bf16: bool = False,
    start: bool = True,
    home: Path = Path("/nowhere"),
    processes: Any = None,
    names: Sequence[str] = (),
    ledger: Ledger | None = None,
) -> AsyncIterator[TieredWorld]:
    given = {name: ModelOptions(precision=precision, optimize=optimize) for name in ("adder", *names)}
    async with world(*names, load=False, given=given, versions=Versions(home), ledger=ledger or Ledger()) as within:
        with_tuned(within, home)
        made = TieredWorld(within, has_bf16, processes)
        made.compiler.offers["fp32"] = made.after
        await within.registry.load("adder")
        if start:
            made.tiers.start()
        try:
            yield made
        finally:
            made.compiler.gate.set()
            made.after.gate.set()
            made.tiers.stop()
