"""One worker at one job, from its start to its end: listened to, watched, held back while served models are waited for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from service.datasets.dataset import dataset_folder
from service.disk import FullDisk, is_full
from service.jobs.hooks import Hooks, JobLimits
from service.jobs.persistence.event_buffer import EventBuffer
from service.jobs.preemption import PreemptionPolicy
from service.jobs.types import Checkpoint, Log, Metric, Progress
from service.jobs.worker_outcome import (
    DesiredState,
    End,
    Ending,
    death,
)
from service.jobs.workers.launcher import Worker
from service.observability.log import logger
from service.training.job_spec import Method, WorkOrder
from service.training.protocol import (
    CANCEL,
    FEATURES_READY,
    PAUSE,
    CheckpointWritten,
    Failed,
    Finished,
    Heartbeat,
    Stopped,
    WorkerMessage,
    decode_message,
)

LONGEST_REASON = 1000
MOST_UNREADABLE = 20
"""Lines that are nothing a worker says, of which the log tells."""
RESTS_TOLD_S = 60.0
"""At most so often do a job's own events say that it rests."""

log = logger(__name__)


class WorkerSession:
    """Construct with a started worker, `await run()` once. The other methods may be called meanwhile, from the event loop."""

    def __init__(
        self,
        order: WorkOrder,
        worker: Worker,
        journal: EventBuffer,
        hooks: Hooks,
        limits: JobLimits,
        folder: Path,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._order, self._worker, self._journal = order, worker, journal
        self._hooks, self._limits, self._folder, self._clock = hooks, limits, folder, clock
        self._yielding = PreemptionPolicy(limits.yielding)
        self._heard = clock()
        self._starved = 0.0
        self._last: Finished | Stopped | Failed | None = None
        self._killed: Ending | None = None
        self._told, self._told_at = DesiredState.WORK, 0.0
        self._unreadable = 0
        self._rested_told = float("-inf")

    @property
    def told(self) -> DesiredState:
        """What the worker was told to do last."""
        return self._told

    @property
    def held(self) -> bool:
        """Whether the worker rests for the served models' sake."""
        return self._yielding.held and self._told is DesiredState.WORK

    def tell(self, told: DesiredState) -> None:
        """Has the worker pause or cancel. A cancel comes before all else; a pause after a cancel means nothing."""
        if self._told is DesiredState.CANCEL or self._told is told:
            return
        self._told, self._told_at = told, self._clock()
        self._worker.go()  # one that is held hears nothing
        self._worker.say(CANCEL if told is DesiredState.CANCEL else PAUSE)

    def abandon(self) -> None:
        """The job is another server's now: ends the worker."""
        self._kill(Ending(End.LOST))

    async def run(self) -> Ending:
        """Until the worker has ended; none is left even where this is cancelled. Raises LeaseLost."""
        beside = [asyncio.create_task(self._watch()), asyncio.create_task(self._yield())]
        if self._order.spec.method is Method.HEAD:
            beside.append(asyncio.create_task(self._features()))
        listening = asyncio.create_task(self._listen())
        try:
            # `_watch` ends only by an exception, and what it raises ends this; the two others may end by themselves.
            await asyncio.wait({listening, beside[0]}, return_when=asyncio.FIRST_COMPLETED)
            if not listening.done():
                beside[0].result()
            code = await listening
        finally:
            for task in (listening, *beside):
                task.cancel()
            self._worker.kill()
            await self._worker.wait()
            await asyncio.gather(listening, *beside, return_exceptions=True)
        await self._journal.flush()
        return self._ending(code)

    # ── what it says ──────────────────────────────────────────────────────────────────────────────────────────

    async def _listen(self) -> int:
        """Until the worker's end; its exit code."""
        while self._last is None and (line := await self._worker.line()) is not None:
            said = decode_message(line)
            if said is None:
                self._shrug(line)
                continue
            self._heard = self._clock()
            self._hear(said)
        with suppress(TimeoutError):
            return await asyncio.wait_for(self._worker.wait(), self._limits.last_s)
        self._worker.kill()
        return await self._worker.wait()

    def _hear(self, said: WorkerMessage) -> None:
        match said:
            case Progress() | Metric() | Log():
                self._journal.add(said)
            case CheckpointWritten():
                parts = said.model_dump()
                self._journal.add(Checkpoint(**parts, time=datetime.now(UTC)))
            case Heartbeat():
                most = self._order.memory_mib
                if most and said.resident_mib > most:
                    self._kill(
                        Ending(End.FAILED, f"the worker held {said.resident_mib:.0f} MiB, and may hold {most} MiB")
                    )
            case _:
                self._last = said

    def _shrug(self, line: bytes) -> None:
        self._unreadable += 1
        if self._unreadable <= MOST_UNREADABLE:
            log.warning("a worker said what is no word of it", job=self._order.job_id, line=repr(line[:200]))

    def _ending(self, code: int) -> Ending:
        if self._killed is not None:
            return self._killed
        match self._last:
            case Finished():
                return Ending(End.FINISHED)
            case Failed(reason=reason):
                return Ending(End.FAILED, reason[:LONGEST_REASON])
            case Stopped() if self._told is not DesiredState.WORK:
                return Ending(End.STOPPED)
            case Stopped():
                return Ending(End.DIED, "the worker stopped by itself")
        if is_full(self._folder):  # a worker that dies where there is no room dies of that
            return Ending(End.FAILED, FullDisk.HOME.value)
        return Ending(End.DIED, death(code))

    # ── beside it ─────────────────────────────────────────────────────────────────────────────────────────────

    async def _watch(self) -> None:
        """Writes events, and ends a worker that hangs, will not stop, or has lost its data. Only raises: LeaseLost."""
        dataset = dataset_folder(self._order.home, self._order.spec.dataset_id)
        while True:
            await asyncio.sleep(self._limits.flush_s)
            await self._journal.flush(self.held, whole=False)
            now, starved = self._clock(), self._worker.starved_s()
            if self.held:
                self._heard = now
            else:  # time in which it got no core says nothing about it
                self._heard = min(now, self._heard + starved - self._starved)
            self._starved = starved
            patience = self._limits.cancel_s if self._told is DesiredState.CANCEL else self._limits.pause_s
            if self._told is not DesiredState.WORK and now - self._told_at > patience:
                self._kill(Ending(End.DIED, "the worker did not stop in time and was ended"))
            elif now - self._heard > self._limits.silent_s:
                self._kill(Ending(End.DIED, f"the worker gave no sign of life for {self._limits.silent_s:.0f} s"))
            elif not dataset.is_dir():
                self._kill(Ending(End.FAILED, deleted(self._order.spec.dataset_id)))

    async def _yield(self) -> None:
        """Holds the worker while calls to served models wait too long. On a GPU its own steps are short enough."""
        pressure = self._hooks.pressure
        while pressure is not None and self._order.device == "cpu":
            await asyncio.sleep(self._limits.look_s)
            before = self._yielding.held
            if self._told is not DesiredState.WORK or self._yielding.decide(self._clock(), pressure()) == before:
                continue
            if not before:
                self._worker.hold()
                self._tell_rest()
            else:
                self._heard = self._clock()
                self._worker.go()

    def _tell_rest(self) -> None:
        if self._clock() - self._rested_told >= RESTS_TOLD_S:
            self._rested_told = self._clock()
            self._journal.add(Log(level="info", text="the job rests while calls to served models wait"))

    async def _features(self) -> None:
        """Has the server compute what it can of the base's features, then tells the worker to go on with what is there."""
        spec = self._order.spec

        def progress(done: int, total: int) -> None:
            self._journal.add(
                Progress(phase="features", ratio=FEATURES_SHARE * done / max(total, 1), step=done, steps=total)
            )

        try:
            await self._hooks.features(spec.base, spec.dataset_id, self._folder, progress)
        except Exception:
            log.warning("features are left to the worker", job=self._order.job_id, base=spec.base, exc_info=True)
        self._worker.say(FEATURES_READY)

    def _kill(self, ending: Ending) -> None:
        self._killed = self._killed or ending
        self._worker.kill()


FEATURES_SHARE = 0.8
"""Of a job of method `head`: the rest takes seconds."""


def deleted(dataset_id: str) -> str:
    """Why a job fails whose data are gone."""
    return f"the data set {dataset_id!r} is gone; it was deleted while the job needed it"
