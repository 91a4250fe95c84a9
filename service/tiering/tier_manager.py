"""Makes loaded models faster in the background: compiled, checked against the reference, timed, and swapped in.

    READY ──► queue ──► one thread: compile (a process of its own) ──► right? ──► faster? ──► heads on it right, too? ──► event
    loop: swap

A network that stays eager on a CPU moves into the lanes' processes instead (`runtime/lanes/processes.py`), by the same checks.

What fails on the way costs nothing but the attempt: the model goes on as it is, its evidence says why, and the next candidate is
tried.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Protocol

from model_zoo.cards.card import Card
from model_zoo.golden.golden_items import GoldenItem
from service.engine.decisions import Decisions
from service.engine.served_head import HeadServed
from service.engine.served_model import ServedModel
from service.engine.tier_report import TierReport
from service.observability.log import logger
from service.observability.recorder import Recorder
from service.registry.loading.memory_ledger import Measurement
from service.registry.registry import Registry
from service.runtime.compilers.compiled_cache import CannotCompile
from service.runtime.lanes.processes import CannotMove
from service.runtime.network import Runtime
from service.tasks.base import Task
from service.tiering.runtime_benchmark import Timings, timed
from service.types import Item, Tensors
from service.verification.golden_check import golden_problem, items_of
from service.verification.head_checks import HeadCheck, check_head
from service.verification.network_checks import decisions_of
from service.verification.probes import (
    Comparison,
    alone,
    closeness_problem,
    compare,
    invariance_problem,
    probe_items,
)

log = logger(__name__)

LOOK_S = 0.5
"""How often whoever waits for the loop looks whether the server stops."""
NO_CHECKS: Mapping[HeadServed, HeadCheck] = {}
SETTLED_S = 10.0
"""How long the event loop may take to swap; it takes microseconds unless it has stopped."""


class Compiled(Protocol):
    """What a compiler gives."""

    @property
    def runtime(self) -> Runtime:
        """Ready to run."""

    @property
    def compile_s(self) -> float:
        """Seconds that compiling took, now or when it was stored."""

    @property
    def cached(self) -> bool:
        """Whether it came from disk."""


class Moves(Protocol):
    """What runs eager networks in processes of their own."""

    @property
    def lanes(self) -> int:
        """How many processes."""

    def open(self, card: Card, precision: str) -> Runtime:
        """Blocks for seconds. Raises CannotMove."""


class Compiles(Protocol):
    """What makes a network faster."""

    def compile(self, card: Card, precision: str, before_load: Callable[[], object]) -> Compiled:
        """Blocks, maybe for minutes. `before_load` is called once all that is left is to load into this process. Raises
        CannotCompile."""

    def stop(self) -> None:
        """Ends what runs. From any thread."""


@dataclass(frozen=True, slots=True)
class _Work:
    served: weakref.ref[ServedModel]
    """One that is unloaded before its turn goes at once."""
    precisions: tuple[str, ...]
    """To compile for; none for a network that is to stay eager."""


class TierManager:
    """Watches a registry. Belongs to the event loop, save what `_run` calls, which has a thread of its own."""

    def __init__(
        self,
        registry: Registry,
        recorder: Recorder,
        compiler: Compiles,
        has_instructions: Callable[[str], bool],
        enter_thread: Callable[[], None] = lambda: None,
        after_swap: Callable[[], object] = lambda: None,
        clock: Callable[[], float] = time.perf_counter,
        processes: Moves | None = None,
    ) -> None:
        """`has_instructions(precision)` says whether the device computes in it at full speed. In the tuner's thread
        `enter_thread` is called once, and `after_swap` when the runtime before was let go. `processes`, where there are any, get
        the networks that stay eager. Nothing is compiled before `start`.
        """
        self._registry = registry
        self._recorder = recorder
        self._compiler = compiler
        self._has_instructions = has_instructions
        self._enter_thread = enter_thread
        self._after_swap = after_swap
        self._clock = clock
        self._processes = processes
        self._loop = asyncio.get_running_loop()
        self._work: queue.SimpleQueue[_Work | None] = queue.SimpleQueue()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="tuner", daemon=True)
        registry.on_ready.append(self._ready)

    def start(self) -> None:
        """Begins with what is loaded, in the order in which it was."""
        self._thread.start()

    def stop(self) -> None:
        """Compiles nothing more, and ends what compiles. Idempotent; does not wait."""
        self._stopped = True
        self._work.put(None)
        self._compiler.stop()

    # ── on the event loop ─────────────────────────────────────────────────────────────────────────────────────

    def _ready(self, served: ServedModel) -> None:
        options = self._registry.status(served.name).options
        runs = served.runtime.precision
        precisions: tuple[str, ...] = ()
        if options.optimize == "off":
            reason = "optimize is off"
        elif served.card.adapter is not None:
            reason = "compiled, a LoRA version would hold a copy of the weights that it shares with its base"
        elif served.reference is None:
            reason = "there is no reference to check anything against"
        else:
            reason = "it is about to be tried"
            precisions = self._candidates(options.precision or "auto")
        self._settle(served, TierReport("eager", runs, reason=reason))
        if precisions or self._may_move(served):
            self._work.put(_Work(weakref.ref(served), precisions))

    def _may_move(self, served: ServedModel) -> bool:
        """A LoRA version would hold as many copies of its base's weights as there are processes."""
        return self._processes is not None and served.reference is not None and served.card.adapter is None

    def _candidates(self, precision: str) -> tuple[str, ...]:
        """Precisions to compile for, the fastest first; one that is emulated is slower than fp32."""
        if precision != "auto":
            return (precision,)
        return ("bf16", "fp32") if self._has_instructions("bf16") else ("fp32",)

    def _settle(
        self,
        served: ServedModel,
        evidence: TierReport,
        runtime: Runtime | None = None,
        timings: Timings = (),
        checks: Mapping[HeadServed, HeadCheck] = NO_CHECKS,
        decisions: Decisions | None = None,
    ) -> bool:
        """Swaps, if there is a runtime, and tells what runs. Drops all of it if the model was unloaded meanwhile.

        False where a head is on the network that does not hold in this runtime, or came after the `checks`; then nothing has
        changed.
        """
        if self._stopped or not self._registry.serves(served):
            if runtime is not None:
                runtime.free()
            return True
        holding = {head for head, found in checks.items() if found.problem is None}
        if runtime is not None and not {*self._registry.heads_on(served)} <= holding:
            return False
        if runtime is not None:
            self._registry.note_head_checks(served, runtime, checks)
            served.use(runtime)
            served.decisions = decisions
            for rows, length, seconds in timings:  # what the scheduler learned was of the other one
                served.learn(rows, length, seconds)
        served.evidence = evidence
        speedup = evidence.speedup if evidence.tier == "compiled" else 1.0
        self._recorder.model_runs(served.name, served.version, evidence.tier, evidence.precision, speedup)
        self._registry.refresh(served.name)
        return True

    # ── in the tuner's thread ─────────────────────────────────────────────────────────────────────────────────

    def _run(self) -> None:
        self._enter_thread()
        while (work := self._work.get()) is not None and not self._stopped:
            served = work.served()
            if served is None:
                continue
            try:
                self._tune(served, work.precisions)
            except Exception:  # a model must not suffer from the attempt; one that was unloaded meanwhile fails here
                if self._registry.serves(served):
                    log.exception("moving a network failed", model=served.name)
            del served  # else the next wait would keep an unloaded model from being freed

    def _tune(self, served: ServedModel, precisions: Sequence[str]) -> None:
        """Tries candidates until one is right and faster; what stays eager moves."""
        for precision in precisions:
            if not self._registry.serves(served):
                return
            evidence = self._try(served, precision)
            if self._stopped or not self._registry.serves(served):
                return
            fields = {"model": served.name, "candidate": evidence.candidate, "cached": evidence.cached}
            if evidence.reason:
                self._tell(served, evidence)
                log.info("the network stays as it is", **fields, reason=evidence.reason)
            elif served.evidence is evidence:
                self._after_swap()
                log.info("a faster network serves", **fields, speedup=round(evidence.speedup, 2))
                return
        self._move(served)

    def _move(self, served: ServedModel) -> None:
        """Has a network that stays eager run in the lanes' processes, if it answers there as it does here."""
        if self._processes is None or not self._may_move(served) or not self._registry.serves(served):
            return
        evidence = served.evidence
        assert evidence is not None
        with ExitStack() as measured:
            self._measure(measured)
            try:
                runtime = self._processes.open(served.card, evidence.precision)
            except CannotMove as error:
                log.info("the network stays in this process", model=served.name, reason=str(error))
                return
            try:
                _, problem, decisions = self._compared(served, runtime)
                moved = replace(evidence, processes=self._processes.lanes)
                problem = problem or self._swap(served, moved, runtime, (), decisions)
            except BaseException:
                runtime.free()
                raise
            if problem is not None:
                runtime.free()
                log.warning(
                    "the network stays in this process",
                    model=served.name,
                    reason=f"it answers otherwise: {problem}",
                )
        if served.runtime is runtime:
            self._after_swap()
            log.info("the network runs in processes of its own", model=served.name, processes=self._processes.lanes)

    def _swap(
        self,
        served: ServedModel,
        evidence: TierReport,
        runtime: Runtime,
        timings: Timings,
        decisions: Decisions | None = None,
    ) -> str | None:
        """Swaps once every head on the network was checked on the new one. Heads that do not hold there move to an fp32
        runtime of
        the base first. What is wrong, where the network keeps its runtime: that is an fp32 runtime for heads, and one of them
        does not hold on the faster one."""
        checks: dict[HeadServed, HeadCheck] = {}
        while True:
            for head in self._registry.heads_on(served):
                if head not in checks:
                    checks[head] = check_head(served.task, runtime, head, served.limits.max_batch_size)
            failed = {head: found for head, found in checks.items() if found.problem is not None}
            if failed and self._registry.is_fp32_runtime(served):
                head, found = next(iter(failed.items()))
                return f"version {head.version} of {head.name!r}, which rides on it: {found.problem}"
            if failed and not self._carried_in_fp32(served, runtime, failed):
                return "the server is shutting down"
            if self._tell(served, evidence, runtime, timings, checks, decisions):
                return None

    def _carried_in_fp32(self, served: ServedModel, runtime: Runtime, checks: Mapping[HeadServed, HeadCheck]) -> bool:
        """Has the loop move heads to an fp32 runtime, and waits for that. False where the server stops first."""
        moved = asyncio.run_coroutine_threadsafe(self._registry.move_heads_to_fp32(served, runtime, checks), self._loop)
        while not self._stopped:
            try:
                moved.result(timeout=LOOK_S)
            except TimeoutError:
                if not moved.done():
                    continue
                raise
            return True
        moved.cancel()
        return False

    def _tell(
        self,
        served: ServedModel,
        evidence: TierReport,
        runtime: Runtime | None = None,
        timings: Timings = (),
        checks: Mapping[HeadServed, HeadCheck] = NO_CHECKS,
        decisions: Decisions | None = None,
    ) -> bool:
        """Has it settled on the loop, and waits for that; gives what `_settle` gives."""
        settled = threading.Event()
        outcome = [True]

        def settle() -> None:
            try:
                outcome[0] = self._settle(served, evidence, runtime, timings, checks, decisions)
            finally:
                settled.set()

        try:
            self._loop.call_soon_threadsafe(settle)
        except RuntimeError:  # the loop has closed
            self._stopped = True
        else:
            settled.wait(SETTLED_S)
        return outcome[0]

    def _try(self, served: ServedModel, precision: str) -> TierReport:
        """Compiles a candidate, and puts it to the proof. What it gives has a reason where the network stays as it is."""
        stays = TierReport("eager", served.runtime.precision, candidate=f"compiled {precision}")
        with ExitStack() as measured:  # ends after what is caught, which keeps a batch's memory while it is handled
            try:
                compiled = self._compiler.compile(served.card, precision, lambda: self._measure(measured))
                stays = replace(stays, compile_s=compiled.compile_s, cached=compiled.cached)
                return self._prove(served, compiled.runtime, stays)
            except CannotCompile as error:
                return replace(stays, reason=str(error))
            except Exception:  # the next candidate may do better; one that was unloaded meanwhile fails here
                if self._registry.serves(served):
                    log.exception("making a model faster failed", model=served.name, candidate=stays.candidate)
                return replace(stays, reason="the attempt failed; the server's log says why")

    def _measure(self, until: ExitStack) -> None:
        """From now on memory comes and goes that nobody who measures may take for his own."""
        until.callback(Measurement(self._registry.ledger).end)

    def _prove(self, served: ServedModel, runtime: Runtime, stays: TierReport) -> TierReport:
        """Checks and times what was compiled, and swaps it in, or frees it and says why."""
        try:
            evidence, decisions = self._check(served, runtime, stays)
            if not evidence.reason:
                evidence, timings = timed(served, served.runtime, runtime, evidence, self._clock)
            if not evidence.reason:
                serves = replace(evidence, tier="compiled", precision=runtime.precision)
                problem = self._swap(served, serves, runtime, timings, decisions)
                if problem is None:
                    return serves
                evidence = replace(evidence, length_step=0, reason=f"it answers otherwise: {problem}")
        except BaseException:  # as of a model that was unloaded meanwhile; what was compiled stays on disk
            runtime.free()
            raise
        runtime.free()
        return evidence

    def _check(
        self, served: ServedModel, runtime: Runtime, evidence: TierReport
    ) -> tuple[TierReport, Decisions | None]:
        """Adds the errors against the reference, and a reason if they are too large. Gives a tuned version's decisions, too."""
        found, problem, decisions = self._compared(served, runtime)
        checked = replace(
            evidence,
            max_error=found.max_error,
            cosine=found.cosine,
            top1_agreement=found.top1_agreement,
            reason="" if problem is None else f"it answers otherwise: {problem}",
        )
        return checked, decisions

    @staticmethod
    def _compared(served: ServedModel, runtime: Runtime) -> tuple[Comparison, str | None, Decisions | None]:
        """How near a runtime's answers come to the reference, and what is wrong where that is not near enough.

        In a reduced precision a tuned version is judged by its decisions, where its held-out examples are there.
        """
        task, reference = served.task, served.reference
        assert reference is not None
        golden = served.golden()
        items = probe_items(task, items_of(served.card, golden))
        found = compare(task, runtime, reference, items, served.limits.max_batch_size)
        if runtime.precision != "fp32":
            decisions = decisions_of(task, runtime, served.record, served.limits.max_batch_size)
            if decisions is not None:
                return found, decisions.problem or None, decisions
        problem = closeness_problem(served.card, runtime.precision, found)
        if problem is None and runtime.precision == "fp32":
            problem = _exact_problem(task, runtime, items, golden)
        return found, problem, None


def _exact_problem(task: Task, runtime: Runtime, items: Sequence[Item], golden: Sequence[GoldenItem]) -> str | None:
    """What a network in fp32 is held to at load, whatever runs it."""
    own: Sequence[Tensors] = alone(task, runtime, items)
    return invariance_problem(task, runtime, own, items) or golden_problem(task, runtime, golden)
