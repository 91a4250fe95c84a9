"""Makes loaded models faster in the background: compiled, checked against the reference, timed, and swapped in.

    READY ──► queue ──► thread: compile (in a process) ──► right? ──► faster? ──► heads right, too? ──► event loop: swap

Quick compilers are tried for all models before slow ones. A network of a slow compiler replaces one of a quick compiler if it is
faster again.

A network that stays eager on a CPU moves into the lanes' processes instead (`runtime/lanes/processes.py`), after the same checks.

A failure costs nothing but the attempt: the model keeps its runtime, its report says why, and the next candidate is tried.
"""

from __future__ import annotations

import itertools
import queue
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from model_zoo.cards.recipes import LabelledImageRecipe, ScaledImageRecipe, VolumeRecipe
from model_zoo.versions import Versions
from service.engine.served_model import ServedModel
from service.engine.tier_report import TierReport
from service.observability.log import logger
from service.observability.recorder import Recorder
from service.registry.registry import Registry
from service.tiering.candidate import CompiledCandidate, ProcessCandidate
from service.tiering.interfaces import CandidateCompiler, ProcessHost
from service.tiering.pacing import Pacing
from service.tiering.runtime_swap import RuntimeSwap

log = logger(__name__)

READS_ONNX = ("openvino",)
"""Compilers that read the graph of an ONNX file; the others trace a network of torch."""


@dataclass(frozen=True, slots=True, order=True)
class _Work:
    stage: int
    """The position of the compiler among those to try; -1 ends the thread."""
    number: int
    """Models of a stage have their turn in the order in which they were loaded."""
    served: weakref.ref[ServedModel] | None = field(default=None, compare=False)
    """A model that is unloaded before its turn is freed at once."""
    precisions: tuple[str, ...] = field(default=(), compare=False)
    """To compile for, the preferred one first; empty for a network that stays eager."""
    note: str = field(default="", compare=False)
    """Why the network does not run in int8, which was requested."""


class TierManager:
    """Tries faster runtimes for every model that becomes READY. Belongs to the event loop, except `_run` and what it calls, which
    has a thread of its own."""

    def __init__(
        self,
        registry: Registry,
        recorder: Recorder,
        compiler: CandidateCompiler,
        has_instructions: Callable[[str], bool],
        enter_thread: Callable[[], None] = lambda: None,
        after_swap: Callable[[], object] = lambda: None,
        clock: Callable[[], float] = time.perf_counter,
        processes: ProcessHost | None = None,
        busy: Callable[[], bool] = lambda: False,
        lanes: int = 1,
        versions: Versions | None = None,
    ) -> None:
        """`has_instructions(precision)` says whether the device computes in it at full speed. `enter_thread` is called once
        in the tiering thread, `after_swap` there after a runtime was replaced. `processes`, if any, get the networks that stay
        eager. `busy` says whether requests are served: checks take turns with them. `versions` have data by which their bases are
        quantised. Nothing is compiled before `start`.
        """
        self._registry = registry
        self._compiler = compiler
        self._has_instructions = has_instructions
        self._enter_thread = enter_thread
        self._after_swap = after_swap
        self._swap = RuntimeSwap(registry, recorder)
        self._pacing = Pacing(busy)
        self._compiled = CompiledCandidate(registry, compiler, self._swap, clock, self._pacing, lanes, versions)
        self._in_processes = None
        if processes is not None:
            self._in_processes = ProcessCandidate(registry, processes, self._swap, self._pacing)
        self._work: queue.PriorityQueue[_Work] = queue.PriorityQueue()
        self._numbers = itertools.count()
        self._thread = threading.Thread(target=self._run, name="tiering", daemon=True)
        registry.on_ready.append(self._model_ready)

    def start(self) -> None:
        """Begins with the loaded models, in the order in which they were loaded."""
        self._thread.start()

    def stop(self) -> None:
        """Compiles nothing more, and ends a compilation that runs. Idempotent; does not wait."""
        self._swap.stopped = True
        self._pacing.stop()
        self._work.put(_Work(-1, next(self._numbers)))
        self._compiler.stop()

    def join(self, timeout_s: float) -> None:
        """Waits for the end of its thread, which removes the files of a compilation that was ended. Not on the event loop."""
        if self._thread.ident is not None:
            self._thread.join(timeout_s)

    # ── on the event loop ─────────────────────────────────────────────────────────────────────────────────────────────

    def _model_ready(self, served: ServedModel) -> None:
        options = self._registry.status(served.name).options
        precisions: tuple[str, ...] = ()
        if options.optimize == "off":
            reason = "optimize is off"
        elif served.card.adapter is not None:
            reason = "compiled, a LoRA version would hold a copy of the weights that it shares with its base"
        elif served.card.generates:
            reason = "it writes token by token, and compilers take networks without loops"
        elif isinstance(served.card.recipe, ScaledImageRecipe):
            reason = "its images differ in height and width, and compiled code varies in one axis at most"
        elif isinstance(served.card.recipe, VolumeRecipe):
            reason = "what its second network reads depends on what the first one finds"
        elif isinstance(served.card.recipe, LabelledImageRecipe):
            reason = "each different text of a batch runs once, and compilers need to know how many there are"
        elif served.reference is None:
            reason = "there is no reference to check anything against"
        elif not self._compilers_for(served):
            reason = "no compiler on this machine reads ONNX files"
        else:
            reason = "it waits for the compiler"
            # An ONNX network runs in the number formats of its file.
            precisions = ("fp32",) if _is_onnx(served) else self._precisions(options.precision or "auto")
            self._compiler.expect()
        served.tiers_pending = bool(precisions) or self._may_move(served)
        runtime = served.runtime
        self._swap.settle(served, TierReport("eager", runtime.precision, reason=reason, compiler=runtime.compiler))
        if served.tiers_pending:
            self._work.put(_Work(0, next(self._numbers), weakref.ref(served), precisions))

    def _may_move(self, served: ServedModel) -> bool:
        """A LoRA version would hold a copy of its base's weights in each process."""
        may = served.reference is not None and served.card.adapter is None and not _is_onnx(served)
        return self._in_processes is not None and may

    def _compilers_for(self, served: ServedModel) -> Sequence[str]:
        """The compilers that can read a network."""
        compilers = self._compiler.compilers
        return [name for name in compilers if name in READS_ONNX] if _is_onnx(served) else compilers

    def _precisions(self, precision: str) -> tuple[str, ...]:
        """Precisions to compile for, the fastest first; an emulated one is slower than fp32."""
        if precision not in ("auto", "int8"):
            return (precision,)
        others = ("bf16", "fp32") if self._has_instructions("bf16") else ("fp32",)
        return ("int8", *others) if precision == "int8" else others

    # ── in the tiering thread ─────────────────────────────────────────────────────────────────────────────────────────

    def _run(self) -> None:
        self._enter_thread()
        while (work := self._work.get()).served is not None and not self._swap.stopped:
            served = work.served()
            if served is None:
                continue
            more = False
            try:
                more = self._try_candidates(served, work)
            except Exception:  # the attempt must not harm the model; a model that was unloaded meanwhile fails here
                # Where the server stops, its processes end under the attempt.
                if self._registry.serves(served) and not self._swap.stopped:
                    log.exception("moving a network failed", model=served.name)
            if not more:
                self._swap.end_trials(served)
            del served  # an unloaded model would stay in memory until the next one comes

    def _try_candidates(self, served: ServedModel, work: _Work) -> bool:
        """Tries one compiler for each precision until a network is right and faster; the next compiler has its turn later. A
        network that no compiler makes faster moves into processes. Returns whether more is to be tried."""
        compilers = self._compilers_for(served) if work.precisions else ()
        for precision in work.precisions if compilers else ():
            if not self._registry.serves(served):
                return False
            in_service = served.tier_report
            if precision == "int8" and work.stage:  # which only the first compiler has
                if in_service is not None and in_service.precision == precision:
                    return False
                continue
            report = self._attempt(served, precision, compilers[work.stage], work.note)
            if precision == "int8" and report.reason:
                work = replace(work, note=f"int8 was not possible: {report.reason}")
            if self._swap.stopped or not self._registry.serves(served):
                return False
            now = served.tier_report
            if now is not None and now.tier == "compiled" and (now is not in_service or now.precision == precision):
                break  # the precisions that follow are slower
        if work.stage + 1 < len(compilers):
            self._work.put(replace(work, stage=work.stage + 1))
            return True
        if served.tier_report is None or served.tier_report.tier == "eager":
            self._move(served)
        return False

    def _attempt(self, served: ServedModel, precision: str, compiler: str, note: str) -> TierReport:
        """Tries one candidate, and reports it unless another compiled network serves on. Returns its report."""
        serving = served.tier_report
        if serving is not None and serving.tier == "eager" and not self._swap.stopped:
            reason = f"{compiler} {precision} is being compiled and checked"
            under_way = TierReport(
                "eager", serving.precision, reason=reason, processes=serving.processes, compiler=serving.compiler
            )
            self._swap.report(served, under_way)
        report = self._compiled.attempt(served, precision, compiler, note)
        if self._swap.stopped or not self._registry.serves(served):
            return report
        fields = {"model": served.name, "candidate": report.candidate, "cached": report.cached}
        if served.tier_report is report:
            self._after_swap()
            log.info("a faster network serves", **fields, speedup=round(report.speedup, 2))
        elif report.reason:
            if report.tier == "eager":
                self._swap.report(served, replace(report, reason="; ".join(filter(None, (report.reason, note)))))
            log.info("the network stays as it is", **fields, reason=report.reason)
        return report

    def _move(self, served: ServedModel) -> None:
        """Has a network that stays eager run in the lanes' processes."""
        if self._in_processes is None or not self._may_move(served) or not self._registry.serves(served):
            return
        if self._in_processes.attempt(served):
            self._after_swap()
            log.info("the network runs in processes of its own", model=served.name, processes=self._in_processes.lanes)


def _is_onnx(served: ServedModel) -> bool:
    return served.card.architecture.builder == "onnx"
