"""Candidate runtimes of a loaded model: compiled ones, and eager ones in the lanes' processes. Each is checked, timed and swapped
in, or freed with a reason. Everything here blocks: in the tiering thread."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace

from service.engine.served_model import ServedModel
from service.engine.tier_report import TierReport
from service.observability.log import logger
from service.registry.loading.memory_ledger import Measurement
from service.registry.registry import Registry
from service.runtime.compilers.compiled_cache import CannotCompile
from service.runtime.lanes.processes import CannotMove
from service.runtime.network import Runtime
from service.tiering.interfaces import CandidateCompiler, ProcessHost
from service.tiering.runtime_benchmark import benchmark
from service.tiering.runtime_check import compare_with_reference
from service.tiering.runtime_swap import CheckedRuntime, RuntimeSwap

log = logger(__name__)


class CompiledCandidate:
    """Tries compiled runtimes."""

    def __init__(
        self, registry: Registry, compiler: CandidateCompiler, swap: RuntimeSwap, clock: Callable[[], float]
    ) -> None:
        self._registry = registry
        self._compiler = compiler
        self._swap = swap
        self._clock = clock

    def attempt(self, served: ServedModel, precision: str) -> TierReport:
        """Compiles, checks, times and swaps. The report has a reason where the network keeps its runtime."""
        unchanged = TierReport("eager", served.runtime.precision, candidate=f"compiled {precision}")
        # The measurement ends after the error was handled: until then the error keeps a batch's memory.
        with ExitStack() as measured:
            try:
                compiled = self._compiler.compile(
                    served.card, precision, lambda: announce_memory_use(self._registry, measured)
                )
                unchanged = replace(unchanged, compile_s=compiled.compile_s, cached=compiled.cached)
                return self._check_and_swap(served, compiled.runtime, unchanged)
            except CannotCompile as error:
                return replace(unchanged, reason=str(error))
            except Exception:  # the next candidate may succeed; a model that was unloaded meanwhile fails here
                if self._registry.serves(served) and not self._swap.stopped:
                    log.exception("making a model faster failed", model=served.name, candidate=unchanged.candidate)
                return replace(unchanged, reason="the attempt failed; the server's log says why")

    def _check_and_swap(self, served: ServedModel, runtime: Runtime, unchanged: TierReport) -> TierReport:
        """Checks and times a runtime, and swaps it in, or frees it and says why."""
        try:
            found, problem, decisions = compare_with_reference(served, runtime)
            report = replace(
                unchanged,
                max_error=found.max_error,
                cosine=found.cosine,
                top1_agreement=found.top1_agreement,
                reason="" if problem is None else f"it fails the check: {problem}",
            )
            if not report.reason:
                report, timings = benchmark(served, served.runtime, runtime, report, self._clock)
            if not report.reason:
                serves = replace(report, tier="compiled", precision=runtime.precision)
                problem = self._swap.swap(served, serves, CheckedRuntime(runtime, timings, decisions))
                if problem is None:
                    return serves
                report = replace(report, length_step=0, reason=f"it fails the check: {problem}")
        except BaseException:  # such as of a model that was unloaded meanwhile; the compiled code stays on disk
            runtime.free()
            raise
        runtime.free()
        return report


class ProcessCandidate:
    """Moves networks that stay eager into the lanes' processes."""

    def __init__(self, registry: Registry, processes: ProcessHost, swap: RuntimeSwap) -> None:
        self._registry = registry
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
                _, problem, decisions = compare_with_reference(served, runtime)
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
    until.callback(Measurement(registry.ledger).end)
