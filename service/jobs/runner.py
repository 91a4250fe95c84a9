"""One job that this server works on, from its claim to its next state.

    claimed ──► already published? ──yes──────────────────────────► announce ──► SUCCEEDED
                     │ no                                              ▲
                result/ there? ──yes──► publish ───────────────────────┤
                     │ no                                              │
                  attempt ── FINISHED ──► publish ─────────────────────┘
                     └────── else ──► what `worker_outcome.py` says

A server that dies anywhere in this leaves a job that the next one can claim, and goes through the same questions.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from model_zoo.errors import StoreUnusable, ZooModelError
from model_zoo.versions import Versions
from service.database import DatabaseUnavailable
from service.datasets.dataset import dataset_folder
from service.disk import FullDisk, full_disk
from service.errors import NotReady, ZooError
from service.jobs.hooks import Hooks, JobLimits
from service.jobs.job_folder import (
    RESULT,
    clean,
    job_folder,
    write_order,
)
from service.jobs.persistence.event_buffer import EventBuffer
from service.jobs.persistence.event_store import EventStore
from service.jobs.persistence.leases import Lease, Leases
from service.jobs.persistence.transitions import LeaseLost
from service.jobs.types import Checkpoint, Happening, JobState, Metric, Progress
from service.jobs.worker_outcome import (
    DesiredState,
    End,
    Ending,
    Next,
    next_of,
)
from service.jobs.worker_session import WorkerSession, deleted
from service.jobs.workers.launcher import Launcher
from service.observability.log import logger
from service.observability.recorder import Recorder
from service.training.job_spec import Method, Promotion, WorkOrder

log = logger(__name__)

T = TypeVar("T")

NOT_ANNOUNCED = "the version is published but could not be loaded; the server's log has the details"


@dataclass(frozen=True, slots=True)
class JobContext:
    """Where jobs are worked on: all that is the same for every job of a server."""

    home: Path
    server: str
    """Its name in leases."""
    device: str
    leases: Leases
    history: EventStore
    launcher: Launcher
    hooks: Hooks
    limits: JobLimits
    recorder: Recorder
    changed: Callable[[str], None]
    """Called with the id of a job of which there is something new in the database."""


class JobRunner:
    """Construct with a lease, `await run()` once."""

    def __init__(self, lease: Lease, place: JobContext) -> None:
        self._place = place
        self._job = lease.job
        self._deaths = lease.deaths
        self._told = DesiredState.PAUSE if lease.pause_wanted else DesiredState.WORK
        if lease.job.state is JobState.CANCELLING:
            self._told = DesiredState.CANCEL
        self._attempt: WorkerSession | None = None
        self._nudged = asyncio.Event()
        self._folder = job_folder(place.home, lease.job.id)
        self._journal = EventBuffer(
            place.history,
            lease.job.id,
            place.server,
            place.leases.clock,
            written=partial(place.changed, lease.job.id),
            heard=self._hear,
        )

    def look(self) -> None:
        """Somebody may have paused or cancelled the job: looks now rather than at the next heartbeat."""
        self._nudged.set()

    def drain(self) -> None:
        """Has the worker rest after a checkpoint; the job waits for the next server."""
        self._tell(DesiredState.DRAIN)

    async def run(self) -> None:
        """Until the job is in another state, or another server's. Where this is cancelled, the worker is ended first."""
        keeping = asyncio.create_task(self._keep())
        working = asyncio.create_task(self._work())
        try:
            await asyncio.wait({keeping, working}, return_when=asyncio.FIRST_COMPLETED)
            if not working.done():  # the lease is lost
                keeping.result()
            await working
        except LeaseLost:
            log.warning("the job is no longer this server's", job=self._job.id)
        finally:
            for task in (keeping, working):
                task.cancel()
            await asyncio.gather(keeping, working, return_exceptions=True)
            self._place.recorder.job_left(self._job.id, self._job.spec.model)
            self._place.changed(self._job.id)

    # ── the work ──────────────────────────────────────────────────────────────────────────────────────────────

    async def _work(self) -> None:
        try:
            ending = await self._do()
        except (LeaseLost, asyncio.CancelledError):
            raise
        except OSError as error:
            full = full_disk(error, self._place.home)
            if full is not FullDisk.HOME:
                log.exception("a job cannot be worked on", job=self._job.id)
            ending = Ending(End.FAILED, full.value if full else "the job's folder or worker could not be made")
        except Exception:
            log.exception("a job cannot be worked on", job=self._job.id)
            ending = Ending(End.FAILED, "something broke on the server's side; its log has the details")
        if ending.end is End.LOST:
            raise LeaseLost(self._job.id)
        if ending.end is not End.FINISHED:
            limits = self._place.limits
            await self._settle(next_of(ending, self._told, self._deaths, limits.deaths, limits.retry_delay_s))

    async def _do(self) -> Ending:
        """FINISHED once the job has SUCCEEDED; else how its worker ended."""
        versions = Versions(self._place.home)
        number = await asyncio.to_thread(versions.published_by, self._job.spec.model, self._job.id)
        if number is None:
            if not (self._folder / RESULT).is_dir():
                if self._told is not DesiredState.WORK:
                    return Ending(End.STOPPED)
                ending = await self._train()
                if ending.end is not End.FINISHED:
                    return ending
            if self._told is DesiredState.CANCEL:
                return Ending(End.STOPPED)
            self._journal.add(Progress(phase="publishing", ratio=0.99))
            await self._journal.flush()
            try:
                number = await asyncio.to_thread(versions.publish, self._job.spec.model, self._folder / RESULT)
            except StoreUnusable as error:
                full = full_disk(error, self._place.home)
                return Ending(End.FAILED, full.value if full else "the result could not be published")
            except ZooModelError as error:
                return Ending(End.FAILED, f"the worker's result cannot be published: {error}")
        await self._succeed(number)
        return Ending(End.FINISHED)

    async def _train(self) -> Ending:
        place, spec = self._place, self._job.spec
        if not dataset_folder(place.home, spec.dataset_id).is_dir():
            return Ending(End.FAILED, deleted(spec.dataset_id))
        try:
            await place.hooks.files(spec.base)
        except NotReady as error:
            return Ending(End.FAILED, error.message)
        order = WorkOrder(
            job_id=self._job.id,
            spec=spec,
            home=place.home,
            device=place.device,
            threads=place.limits.threads,
            memory_mib=place.limits.memory_mib,
            rival=place.hooks.rival(spec.model),
            features_from_server=spec.method is Method.HEAD,
            mlflow_uri=place.limits.mlflow_uri,
        )
        await asyncio.to_thread(write_order, self._folder, order)
        # In this thread, the event loop's: the worker must not outlive it, and the kernel ties it to the thread.
        worker = await place.launcher.start(order, self._folder)
        log.info("a worker has started", job=self._job.id, worker=worker.name, attempt=self._job.attempts)
        attempt = WorkerSession(order, worker, self._journal, place.hooks, place.limits, self._folder)
        if self._told is not DesiredState.WORK:
            attempt.tell(self._told)
        self._attempt = attempt
        try:
            return await attempt.run()
        finally:
            self._attempt = None

    async def _succeed(self, number: int) -> None:
        model = self._job.spec.model
        try:
            gated = self._job.spec.promotion is not Promotion.NEVER
            outcome = await self._surely(partial(self._place.hooks.published, model, number, gated))
        except ZooError as error:
            outcome = f"the version is published but could not be loaded: {error.message}"
        except Exception:
            log.exception("a published version could not be announced", model=model, version=number)
            outcome = NOT_ANNOUNCED
        self._journal.add(Progress(phase="publishing", ratio=1.0))
        await self._settle(Next(JobState.SUCCEEDED), version=number, promotion_outcome=outcome)

    async def _settle(self, following: Next, **also: Any) -> None:
        """The job's next state, as soon as the database takes it; then the folder is cleaned of what nobody needs."""
        place = self._place
        await self._surely(self._journal.finish)
        if following.state is JobState.QUEUED:
            also["not_before"] = place.leases.clock() + following.delay_s
        move = partial(place.leases.move, self._job.id, place.server, following.state, following.reason)
        job = await self._surely(partial(move, deaths=following.deaths, **also))
        self._place.changed(self._job.id)
        log.info("a job has left its worker", job=job.id, state=job.state, reason=job.state_reason, version=job.version)
        if job.state in (JobState.SUCCEEDED, JobState.CANCELLED):
            await asyncio.to_thread(clean, self._folder)
            await place.history.keep_checkpoints(job.id, ())

    async def _surely(self, write: Callable[[], Awaitable[T]]) -> T:
        """`write`, again and again while the database does not answer: an end must not be forgotten. Raises LeaseLost."""
        while True:
            try:
                return await write()
            except DatabaseUnavailable as error:
                log.warning("the database does not answer", job=self._job.id, reason=str(error))
                await asyncio.sleep(self._place.limits.poll_s)

    # ── beside it ─────────────────────────────────────────────────────────────────────────────────────────────

    async def _keep(self) -> None:
        """Renews the lease, and hears with it what users want. Only raises: LeaseLost."""
        place, limits = self._place, self._place.limits
        renewed = time.monotonic()
        while True:
            self._nudged.clear()
            try:
                lease = await place.leases.renew(self._job.id, place.server, limits.lease_s)
            except DatabaseUnavailable:
                if time.monotonic() - renewed > 0.8 * limits.lease_s:  # another server will take it any moment
                    raise LeaseLost(self._job.id) from None
            else:
                renewed = time.monotonic()
                if lease.job.state is JobState.CANCELLING:
                    self._tell(DesiredState.CANCEL)
                elif lease.pause_wanted:
                    self._tell(DesiredState.PAUSE)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._nudged.wait(), min(limits.poll_s, limits.lease_s / 3))

    def _tell(self, told: DesiredState) -> None:
        if self._told is DesiredState.CANCEL or (self._told is DesiredState.PAUSE and told is DesiredState.DRAIN):
            return
        self._told = told
        if self._attempt is not None:
            self._attempt.tell(told)

    def _hear(self, what: Happening) -> None:
        job, recorder = self._job, self._place.recorder
        match what:
            case Progress():
                recorder.job_progress(job.id, job.spec.model, what.ratio)
            case Metric():
                recorder.job_metric(job.id, job.spec.model, what.name, what.split, what.value)
            case Checkpoint():
                self._deaths = 0  # it gets further, so it is worth another try
