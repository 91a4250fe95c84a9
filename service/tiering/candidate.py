"""Candidate runtimes of a loaded model: compiled ones, and eager ones in the lanes' processes. Each is checked, timed and swapped
in, or freed with a reason. Everything here blocks: in the tiering thread."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace

import numpy as np

from model_zoo.versions import Versions
from service.engine.decisions import Decisions
from service.engine.served_model import ServedModel
from service.engine.tier_report import TierReport
from service.observability.log import logger
from service.registry.registry import Registry
from service.runtime.compilers.by_rows import RuntimeByRows
from service.runtime.compilers.compiled_cache import CannotCompile
from service.runtime.free_memory import free_bytes
from service.runtime.lanes.processes import CannotMove
from service.runtime.network import Runtime
from service.tiering.combination import split_by_rows
from service.tiering.interfaces import CandidateCompiler, Prepared, ProcessHost
from service.tiering.pacing import PacedRuntime, Pacing
from service.tiering.runtime_benchmark import Timings, benchmark
from service.tiering.runtime_check import compare_with_reference, decisions_in_reduced_precision
from service.tiering.runtime_swap import CheckedRuntime, RuntimeSwap
from service.tiering.stored_evidence import Measured, conditions, store, stored
from service.types import Item, Tensors
from service.verification.calibration import RealInputs, real_inputs
from service.verification.golden_check import items_of
from service.verification.probes import alone, closeness, closeness_problem, probe_items

log = logger(__name__)

FREE = 4
"""Times the weights of a network must be free in memory, so that it is kept beside another one."""


class CompiledCandidate:
    """Tries compiled runtimes."""

    def __init__(
        self,
        registry: Registry,
        compiler: CandidateCompiler,
        swap: RuntimeSwap,
        clock: Callable[[], float],
        pacing: Pacing,
        lanes: int,
        versions: Versions | None = None,
    ) -> None:
        self._registry = registry
        self._versions = versions
        self._compiler = compiler
        self._swap = swap
        self._clock = clock
        self._pacing = pacing
        self._lanes = lanes

    def attempt(self, served: ServedModel, precision: str, compiler: str, note: str = "") -> TierReport:
        """Compiles, checks, times and swaps. The report has a reason where the network keeps its runtime.

        `note`: why the network does not have the precision that was requested.
        """
        serving = served.tier_report
        tier = "eager" if serving is None else serving.tier
        in_service = "" if serving is None else serving.compiler
        candidate = f"{compiler} {precision}"
        unchanged = TierReport(tier, served.runtime.precision, compiler=in_service, candidate=candidate)
        # The measurement ends after the error was handled: until then the error keeps a batch's memory.
        with ExitStack() as measured:
            try:
                prepared = self._compile(served, precision, compiler)
                unchanged = replace(unchanged, compile_s=prepared.compile_s, cached=prepared.cached)
                under = conditions(served, candidate, self._lanes)
                evidence = stored(prepared, under)
                if evidence is not None and evidence.report.reason:
                    return evidence.report
                announce_memory_use(self._registry, measured)
                measured.enter_context(prepared.trial())
                runtime = prepared.load()
                if evidence is not None and evidence.from_rows:
                    runtime = self._combined(served, runtime, evidence.from_rows, for_many=evidence.for_many)
                return self._check_and_swap(served, runtime, unchanged, prepared, under, evidence, note)
            except CannotCompile as error:
                return replace(unchanged, reason=str(error))
            except Exception:  # the next candidate may succeed; a model that was unloaded meanwhile fails here
                if self._registry.serves(served) and not self._swap.stopped:
                    log.exception("making a model faster failed", model=served.name, candidate=unchanged.candidate)
                return replace(unchanged, reason="the attempt failed; the server's log says why")

    def _compile(self, served: ServedModel, precision: str, compiler: str) -> Prepared:
        def calibration() -> Sequence[Tensors]:
            golden = probe_items(served.task, items_of(served.card, served.golden()))
            return self._real_inputs(served).batches(served.task, golden)

        return self._compiler.compile(served.card, precision, compiler, calibration)

    def _real_inputs(self, served: ServedModel) -> RealInputs:
        return real_inputs(served.task, served.record, self._versions)

    def _judging(self, served: ServedModel) -> list[tuple[Item, Tensors]]:
        """Real inputs by which a quantised network is judged, with the answers of the network in service, which is eager in
        fp32."""
        items = self._real_inputs(served).judging
        return list(zip(items, alone(served.task, PacedRuntime(served.runtime, self._pacing), items), strict=True))

    def _check_and_swap(
        self,
        served: ServedModel,
        runtime: Runtime,
        unchanged: TierReport,
        prepared: Prepared,
        under: str,
        evidence: Measured | None,
        note: str,
    ) -> TierReport:
        """Checks and times a runtime, unless there is evidence, and swaps it in, or frees it and says why."""
        try:
            decisions: Decisions | None = None
            if evidence is not None and (problem := self._wrong_at_once(served, runtime)) is None:
                report, timings = evidence.report, evidence.timings
                decisions = decisions_in_reduced_precision(served, runtime)
            else:
                measured, decisions = self._measure(served, runtime, unchanged)
                together = self._measure_together(served, runtime, unchanged, measured)
                if together is not None:
                    runtime, measured, decisions = together
                if not measured.report.reason or not self._pacing.paused:  # requests may have slowed it down
                    store(prepared, under, measured)
                report, timings = measured.report, measured.timings
            if not report.reason:
                serves = replace(
                    report, tier="compiled", precision=runtime.precision, compiler=runtime.compiler, reason=note
                )
                problem = self._swap.swap(served, serves, CheckedRuntime(runtime, timings, decisions))
                if problem is None:
                    return serves
                report = replace(report, length_step=0, reason=f"it fails the check: {problem}")
        except BaseException:  # such as of a model that was unloaded meanwhile; the compiled code stays on disk
            runtime.free()
            raise
        runtime.free()
        return report

    def _measure(
        self, served: ServedModel, runtime: Runtime, unchanged: TierReport
    ) -> tuple[Measured, Decisions | None]:
        """Checks and times a runtime."""
        self._pacing.paused = False
        timings: Timings = ()
        others = self._judging(served) if runtime.precision == "int8" else ()
        found, problem, decisions = compare_with_reference(served, PacedRuntime(runtime, self._pacing), others)
        report = replace(
            unchanged,
            max_error=found.max_error,
            cosine=found.cosine,
            top1_agreement=found.top1_agreement,
            reason="" if problem is None else f"it fails the check: {problem}",
        )
        if problem is not None:
            self._pacing.paused = False  # the problem is not one of speed
        else:
            serving = served.tier_report
            report, timings = benchmark(served, served.runtime, runtime, report, self._clock, self._pacing.pause)
            if serving is not None and serving.tier == "compiled":  # rates are those over the eager tier
                faster = report.speedup * serving.speedup, report.single_speedup * serving.single_speedup
                report = replace(report, speedup=faster[0], single_speedup=faster[1])
        return Measured(report, timings), decisions

    def _measure_together(
        self, served: ServedModel, runtime: Runtime, unchanged: TierReport, alone: Measured
    ) -> tuple[Runtime, Measured, Decisions | None] | None:
        """Tries a network that is right, but not faster, together with the one in service; None where that is no better.

        Both stay in memory, so there must be enough of it. With a memory budget only one is kept.
        """
        serving = served.runtime
        if not alone.timings or not alone.report.reason or serving.tier != "compiled" or self._registry.ledger.budget:
            return None
        free = free_bytes()
        if serving.precision != runtime.precision or (free is not None and free < FREE * runtime.memory_bytes):
            return None
        split = split_by_rows(served, serving, runtime, self._clock, self._pacing.pause)
        if split is None:
            return None
        for_many, from_rows = split
        both = self._combined(served, runtime, from_rows, for_many=for_many)
        measured, decisions = self._measure(served, both, unchanged)
        if measured.report.reason:
            both.other.free()
            return None
        return both, replace(measured, from_rows=from_rows, for_many=for_many), decisions

    def _combined(self, served: ServedModel, runtime: Runtime, from_rows: int, *, for_many: bool) -> RuntimeByRows:
        """A network together with another copy of the one in service, which is freed when it is replaced. Raises
        CannotCompile."""
        serving = served.runtime
        other = self._compile(served, serving.precision, serving.compiler).load()
        few, many = (other, runtime) if for_many else (runtime, other)
        return RuntimeByRows(few, many, from_rows, other)

    def _wrong_at_once(self, served: ServedModel, runtime: Runtime) -> str | None:
        """A problem with the first golden input, which a network with stored evidence runs before it serves."""
        assert served.reference is not None
        items = probe_items(served.task, items_of(served.card, served.golden()))[:1]
        found = closeness(served.card, list(enumerate(alone(served.task, runtime, items))), served.reference)
        if decisions_in_reduced_precision(served, runtime) is not None:
            return None if np.isfinite(found.max_error) else "outputs are not finite"
        return closeness_problem(served.card, runtime.precision, found)


class ProcessCandidate:
    """Moves networks that stay eager into the lanes' processes."""

    def __init__(self, registry: Registry, processes: ProcessHost, swap: RuntimeSwap, pacing: Pacing) -> None:
        self._registry = registry
        self._pacing = pacing
        self._processes = processes
        self._swap = swap

    @property
    def lanes(self) -> int:
        """How many processes."""
        return self._processes.lanes

    def attempt(self, served: ServedModel) -> bool:
        """Moves a network, if it answers in the processes as it does here. Whether it was moved."""
        report = served.tier_report
        assert report is not None
        with ExitStack() as measured:
            announce_memory_use(self._registry, measured)
            try:
                runtime = self._processes.open(served.card, report.precision)
            except CannotMove as error:
                log.info("the network stays in this process", model=served.name, reason=str(error))
                return False
            try:
                _, problem, decisions = compare_with_reference(served, PacedRuntime(runtime, self._pacing))
                moved = replace(report, processes=self.lanes)
                problem = problem or self._swap.swap(served, moved, CheckedRuntime(runtime, decisions=decisions))
            except BaseException:
                runtime.free()
                raise
            if problem is not None:
                runtime.free()
                reason = f"it fails the check: {problem}"
                log.warning("the network stays in this process", model=served.name, reason=reason)
        return served.runtime is runtime


def announce_memory_use(registry: Registry, until: ExitStack) -> None:
    """Spoils measurements of other threads until the stack is closed: memory changes that belong to no model."""
    until.callback(registry.ledger.disturb())
