"""Swapping a checked runtime into a loaded model, without a head that it would break.

tiering thread: check the heads on the network ──► event loop: no head came since? ──► swap
                    └── some do not hold ──► event loop: move them to an fp32 runtime of the base
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from service.engine.decisions import Decisions
from service.engine.served_head import ServedHead
from service.engine.served_model import ServedModel
from service.engine.tier_report import TierReport
from service.observability.recorder import Recorder
from service.registry.registry import Registry
from service.runtime.network import Runtime
from service.tiering.runtime_benchmark import Timings
from service.verification.head_checks import HeadCheck, check_head

STOP_POLL_S = 0.5
"""How often the tiering thread, while it waits for the event loop, looks whether the server stops."""
SWAP_TIMEOUT_S = 10.0
"""How long the event loop may take to swap; it takes microseconds unless it has stopped."""


@dataclass(frozen=True, slots=True)
class CheckedRuntime:
    """A runtime that may serve a model, and what was measured of it."""

    runtime: Runtime
    timings: Timings = ()
    decisions: Decisions | None = None
    """How a tuned version decides in it; None where that was not measured."""
    head_checks: Mapping[ServedHead, HeadCheck] = field(default_factory=dict)
    """Checks of the heads on the network."""

    @property
    def holding_heads(self) -> set[ServedHead]:
        """Heads that may run in it."""
        return {head for head, check in self.head_checks.items() if check.problem is None}


class RuntimeSwap:
    """Swaps runtimes of loaded models and reports which runs."""

    def __init__(self, registry: Registry, recorder: Recorder) -> None:
        """Belongs to the event loop on which it is constructed."""
        self._registry = registry
        self._recorder = recorder
        self._loop = asyncio.get_running_loop()
        self.stopped = False
        """Set once the server stops, from any thread: nothing is swapped any more."""

    # ── on the event loop ─────────────────────────────────────────────────────────────────────────────────────────────

    def settle(self, served: ServedModel, report: TierReport, checked: CheckedRuntime | None = None) -> bool:
        """Swaps, if there is a runtime, and reports what runs. Frees the runtime if the model was unloaded meanwhile.

        False, with nothing changed, where a head on the network does not hold in the runtime or was not checked on it.
        """
        if self.stopped or not self._registry.serves(served):
            if checked is not None:
                checked.runtime.free()
            return True
        if checked is not None:
            if not {*self._registry.heads_on(served)} <= checked.holding_heads:
                return False
            self._registry.note_head_checks(served, checked.runtime, checked.head_checks)
            served.use(checked.runtime)
            served.decisions = checked.decisions
            for rows, length, seconds in checked.timings:  # the scheduler's costs were of the other runtime
                served.learn(rows, length, seconds)
        served.tier_report = report
        speedup = report.speedup if report.tier == "compiled" else 1.0
        self._recorder.model_runs(served.name, served.version, report.tier, report.precision, speedup)
        self._registry.refresh(served.name)
        return True

    # ── in the tiering thread ─────────────────────────────────────────────────────────────────────────────────────────

    def swap(self, served: ServedModel, report: TierReport, checked: CheckedRuntime) -> str | None:
        """Swaps once every head on the network was checked on the new runtime. Heads that do not hold there move to an fp32
        runtime of the base first.

        Returns a problem where the network keeps its runtime: it is itself the fp32 runtime of heads, and one of them does not
        hold on the new one.
        """
        checks: dict[ServedHead, HeadCheck] = {}
        while True:
            for head in self._registry.heads_on(served):
                if head not in checks:
                    checks[head] = check_head(served.task, checked.runtime, head, served.limits.max_batch_size)
            failed = {head: found for head, found in checks.items() if found.problem is not None}
            if failed and self._registry.is_fp32_runtime(served):
                head, found = next(iter(failed.items()))
                return f"version {head.version} of {head.name!r}, which runs on it: {found.problem}"
            if failed and not self._move_heads(served, checked.runtime, failed):
                return "the server is shutting down"
            if self.report(served, report, _with_heads(checked, checks)):
                return None

    def report(self, served: ServedModel, report: TierReport, checked: CheckedRuntime | None = None) -> bool:
        """Runs `settle` on the event loop, waits for it, and returns its result."""
        settled = threading.Event()
        outcome = [True]

        def settle() -> None:
            try:
                outcome[0] = self.settle(served, report, checked)
            finally:
                settled.set()

        try:
            self._loop.call_soon_threadsafe(settle)
        except RuntimeError:  # the loop has closed
            self.stopped = True
        else:
            settled.wait(SWAP_TIMEOUT_S)
        return outcome[0]

    def end_trials(self, served: ServedModel) -> None:
        """Shows that no other tier is to be tried."""

        def end() -> None:
            served.tiers_pending = False
            if self._registry.serves(served):
                self._registry.refresh(served.name)

        with suppress(RuntimeError):  # the loop has closed
            self._loop.call_soon_threadsafe(end)

    def _move_heads(self, served: ServedModel, runtime: Runtime, checks: Mapping[ServedHead, HeadCheck]) -> bool:
        """Moves heads to an fp32 runtime on the event loop, and waits for that. False where the server stops first."""
        work = self._registry.move_heads_to_fp32(served, runtime, checks)
        moved = asyncio.run_coroutine_threadsafe(work, self._loop)
        while not self.stopped:
            try:
                moved.result(timeout=STOP_POLL_S)
            except TimeoutError:
                if not moved.done():
                    continue
                raise
            return True
        moved.cancel()
        return False


def _with_heads(checked: CheckedRuntime, checks: Mapping[ServedHead, HeadCheck]) -> CheckedRuntime:
    return CheckedRuntime(checked.runtime, checked.timings, checked.decisions, dict(checks))
