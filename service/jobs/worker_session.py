"""One worker at one job, from its start to its end: reads its messages, watches it, and suspends it for served models."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from service.datasets.dataset import dataset_folder
from service.disk import FullDisk, is_full
from service.jobs.desired_state import DesiredState, JobControl
from service.jobs.job_limits import JobLimits
from service.jobs.persistence.event_buffer import EventBuffer
from service.jobs.preemption import PreemptionPolicy
from service.jobs.types import Checkpoint, Log, Metric, Progress
from service.jobs.worker_outcome import OutcomeKind, WorkerOutcome, exit_reason
from service.jobs.workers.launcher import Worker
from service.observability.log import logger
from service.training.job_spec import WorkOrder
from service.training.protocol import (
    CANCEL,
    FEATURES_READY,
    FEATURES_SHARE,
    PAUSE,
    CheckpointWritten,
    Failed,
    Finished,
    Heartbeat,
    Stopped,
    WorkerMessage,
    decode_message,
)

REASON_LIMIT = 1000
"""Characters of a reason that a worker gives."""
MAX_UNREADABLE_LOGGED = 20
"""Lines that are no messages are logged up to this number."""
SUSPENDED_LOG_S = 60.0
"""Between two events of a job that say that it is suspended, at least."""

log = logger(__name__)


class FeatureSource(Protocol):
    """Computes the features of a frozen base in the server."""

    async def compute(self, base: str, dataset_id: str, on_progress: Callable[[int, int], None]) -> None:
        """Fills the cache of a base's features of a dataset as far as it can; the worker computes what is missing.

        `on_progress` gets the examples that are done, and their number.
        """


class WorkerSession:
    """Construct with a started worker, `await run()` once. Follows the desired state of the job. Lives on the event loop."""

    def __init__(
        self,
        order: WorkOrder,
        worker: Worker,
        events: EventBuffer,
        control: JobControl,
        *,
        features: FeatureSource,
        pressure: Callable[[], float] | None,
        limits: JobLimits,
        folder: Path,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`folder` is the job's; `pressure` is that of `JobContext`."""
        self._order, self._worker, self._events, self._control = order, worker, events, control
        self._features, self._pressure = features, pressure
        self._limits, self._folder, self._clock = limits, folder, clock
        self._preemption = PreemptionPolicy(limits.preemption)
        self._last_sign = clock()
        """When the worker last wrote a message, or could not for a reason of the server's."""
        self._starved_s = 0.0
        self._last_message: Finished | Stopped | Failed | None = None
        self._kill_outcome: WorkerOutcome | None = None
        self._stop_requested_at: float | None = None
        self._unreadable = 0
        self._suspension_logged = float("-inf")

    @property
    def suspended(self) -> bool:
        """Whether the worker is suspended for the served models."""
        return self._preemption.suspended and self._control.desired is DesiredState.RUN

    async def run(self) -> WorkerOutcome:
        """Runs until the worker has ended; a cancelled call leaves no worker either. Raises LeaseLost."""
        self._control.follow(self._request_stop)
        watching = asyncio.create_task(self._watch())
        beside = [watching, asyncio.create_task(self._preempt())]
        if self._order.features_from_server:
            beside.append(asyncio.create_task(self._compute_features()))
        listening = asyncio.create_task(self._read_messages())
        try:
            # `_watch` ends only by an exception, which ends the session; the two others may end by themselves.
            await asyncio.wait({listening, watching}, return_when=asyncio.FIRST_COMPLETED)
            if not listening.done():
                watching.result()
            code = await listening
        finally:
            self._control.unfollow()
            for task in (listening, *beside):
                task.cancel()
            self._worker.kill()
            await self._worker.wait()
            await asyncio.gather(listening, *beside, return_exceptions=True)
        await self._events.flush()
        return self._outcome(code)

    def _request_stop(self, desired: DesiredState) -> None:
        """Sends the word of the desired state: all but a cancel end the worker after a checkpoint."""
        self._stop_requested_at = self._clock()
        self._worker.resume()  # a suspended worker reads nothing
        self._worker.send(CANCEL if desired is DesiredState.CANCEL else PAUSE)

    # ── messages ──────────────────────────────────────────────────────────────────────────────────────────────

    async def _read_messages(self) -> int:
        """Reads until the worker has ended, and returns its exit code."""
        while self._last_message is None and (line := await self._worker.read_line()) is not None:
            message = decode_message(line)
            if message is None:
                self._log_unreadable(line)
                continue
            self._last_sign = self._clock()
            self._handle(message)
        with suppress(TimeoutError):
            return await asyncio.wait_for(self._worker.wait(), self._limits.exit_s)
        self._worker.kill()
        return await self._worker.wait()

    def _handle(self, message: WorkerMessage) -> None:
        match message:
            case Progress() | Metric() | Log():
                self._events.add(message)
            case CheckpointWritten():
                self._events.add(Checkpoint(**message.model_dump(), time=datetime.now(UTC)))
            case Heartbeat():
                limit = self._order.memory_mib
                if limit and message.resident_mib > limit:
                    reason = f"the worker held {message.resident_mib:.0f} MiB, and may hold {limit} MiB"
                    self._kill(WorkerOutcome(OutcomeKind.FAILED, reason))
            case _:
                self._last_message = message

    def _log_unreadable(self, line: bytes) -> None:
        self._unreadable += 1
        if self._unreadable <= MAX_UNREADABLE_LOGGED:
            log.warning("a worker wrote a line that is no message", job=self._order.job_id, line=repr(line[:200]))

    def _outcome(self, code: int) -> WorkerOutcome:
        if self._kill_outcome is not None:
            return self._kill_outcome
        match self._last_message:
            case Finished():
                return WorkerOutcome(OutcomeKind.FINISHED)
            case Failed(reason=reason):
                return WorkerOutcome(OutcomeKind.FAILED, reason[:REASON_LIMIT])
            case Stopped() if self._control.desired is not DesiredState.RUN:
                return WorkerOutcome(OutcomeKind.STOPPED)
            case Stopped():
                return WorkerOutcome(OutcomeKind.DIED, "the worker stopped by itself")
        if is_full(self._folder):  # the cause of a death on a full disk
            return WorkerOutcome(OutcomeKind.FAILED, FullDisk.HOME.value)
        return WorkerOutcome(OutcomeKind.DIED, exit_reason(code))

    # ── beside the messages ───────────────────────────────────────────────────────────────────────────────────

    async def _watch(self) -> None:
        """Writes events, and ends a worker that hangs, does not stop, or has lost its data. Ends only by LeaseLost."""
        dataset, limits = dataset_folder(self._order.home, self._order.spec.dataset_id), self._limits
        while True:
            await asyncio.sleep(limits.flush_s)
            await self._events.flush(self.suspended, force=False)
            now, starved_s = self._clock(), self._worker.starved_s()
            if self.suspended:
                self._last_sign = now
            else:  # a worker without a core cannot give a sign
                self._last_sign = min(now, self._last_sign + starved_s - self._starved_s)
            self._starved_s = starved_s
            stop_s = limits.cancel_s if self._control.desired is DesiredState.CANCEL else limits.pause_s
            if self._stop_requested_at is not None and now - self._stop_requested_at > stop_s:
                self._kill(WorkerOutcome(OutcomeKind.DIED, "the worker did not stop in time and was ended"))
            elif now - self._last_sign > limits.silence_s:
                reason = f"the worker gave no sign of life for {limits.silence_s:.0f} s"
                self._kill(WorkerOutcome(OutcomeKind.DIED, reason))
            elif not dataset.is_dir():
                self._kill(WorkerOutcome(OutcomeKind.FAILED, dataset_deleted(self._order.spec.dataset_id)))

    async def _preempt(self) -> None:
        """Suspends the worker while calls to served models wait too long. On a GPU the steps of a worker are short enough."""
        while self._pressure is not None and self._order.device == "cpu":
            await asyncio.sleep(self._limits.pressure_poll_s)
            before = self._preemption.suspended
            if self._control.desired is not DesiredState.RUN:
                continue
            if self._preemption.decide(self._clock(), self._pressure()) == before:
                continue
            if not before:
                self._worker.suspend()
                self._log_suspension()
            else:
                self._last_sign = self._clock()
                self._worker.resume()

    def _log_suspension(self) -> None:
        if self._clock() - self._suspension_logged >= SUSPENDED_LOG_S:
            self._suspension_logged = self._clock()
            self._events.add(Log(level="info", text="the job rests while calls to served models wait"))

    async def _compute_features(self) -> None:
        """Computes in the server what it can of the base's features, then lets the worker continue with them."""
        spec = self._order.spec

        def on_progress(done: int, total: int) -> None:
            self._events.add(
                Progress(phase="features", ratio=FEATURES_SHARE * done / max(total, 1), step=done, steps=total)
            )

        try:
            await self._features.compute(spec.base, spec.dataset_id, on_progress)
        except Exception:
            log.warning("features are left to the worker", job=self._order.job_id, base=spec.base, exc_info=True)
        self._worker.send(FEATURES_READY)

    def _kill(self, outcome: WorkerOutcome) -> None:
        self._kill_outcome = self._kill_outcome or outcome
        self._worker.kill()


def dataset_deleted(dataset_id: str) -> str:
    """Why a job fails whose data are gone."""
    return f"the data set {dataset_id!r} is gone; it was deleted while the job needed it"
