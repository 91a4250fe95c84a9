"""One job on this server, from the claim of its lease to its next state.

    claimed ──► already published? ──yes──────────────────────────► announce ──► SUCCEEDED
                     │ no                                              ▲
                result/ there? ──yes──► publish ───────────────────────┤
                     │ no                                              │
                   train ──── FINISHED ──► publish ────────────────────┘
                     └─────── else ──► the state of `worker_outcome.next_state`

A server that ends at any point leaves a job that the next server can claim, and which answers the same questions again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

from model_zoo.errors import StoreUnusable, ZooModelError
from model_zoo.version_folder import Version
from model_zoo.versions import Versions
from service.database import DatabaseUnavailable
from service.datasets.dataset import dataset_folder
from service.disk import FullDisk, full_disk
from service.errors import NotReady, ZooError
from service.jobs.base_catalog import BaseCatalog
from service.jobs.change_notifier import ChangeNotifier
from service.jobs.desired_state import DesiredState, JobControl
from service.jobs.job_folder import RESULT, clean, job_folder, write_order
from service.jobs.job_limits import JobLimits
from service.jobs.persistence.event_buffer import EventBuffer
from service.jobs.persistence.event_store import EventStore
from service.jobs.persistence.leases import Lease, Leases
from service.jobs.persistence.transitions import LeaseLost
from service.jobs.types import Checkpoint, EventPayload, JobState, Metric, Progress
from service.jobs.worker_outcome import NextState, OutcomeKind, WorkerOutcome, next_state
from service.jobs.worker_session import FeatureSource, WorkerSession, dataset_deleted
from service.jobs.workers.job_trace import end_trace, trace_of
from service.jobs.workers.launcher import Launcher
from service.observability.log import logger
from service.observability.recorder import Recorder
from service.training.job_spec import TOKEN_CLASSIFICATION, Method, Promotion, WorkOrder

log = logger(__name__)

T = TypeVar("T")

NOT_LOADED = "the version is published but could not be loaded; the server's log has the details"


class VersionRegistry(Protocol):
    """What jobs need of the registry of models."""

    def folder(self, name: str, version: str = "") -> Version | None:
        """The `stable` version of a model as it is on disk; None where there is none."""

    async def take(self, name: str, number: int, *, gated: bool = True) -> str:
        """Loads a published version, moves `stable` to it if it is good enough and `gated` allows it, and returns the outcome
        in one sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobContext:
    """All that is the same for every job of a server."""

    home: Path
    device: str
    limits: JobLimits
    leases: Leases
    events: EventStore
    launcher: Launcher
    bases: BaseCatalog
    registry: VersionRegistry
    features: FeatureSource
    pressure: Callable[[], float] | None
    """How long the longest-waiting row of a served model has waited, over how long it may; 1 is the limit."""
    recorder: Recorder
    notifier: ChangeNotifier


class JobRunner:
    """Construct with a lease, `await run()` once. Lives on the event loop."""

    def __init__(self, lease: Lease, server: str, context: JobContext) -> None:
        """`server` is the name that holds the lease."""
        self._context, self._server = context, server
        self._job = lease.job
        self._trace = trace_of(lease.job, context.recorder, context.leases.clock)
        self._deaths = lease.deaths
        self._control = JobControl(lease.desired)
        self._lease_wanted = asyncio.Event()
        self._folder = job_folder(context.home, lease.job.id)
        self._events = EventBuffer(
            context.events,
            lease.job.id,
            server,
            context.leases.clock,
            on_event=self._record,
            on_written=partial(context.notifier.notify, lease.job.id),
        )

    def refresh(self) -> None:
        """Reads the desired state now rather than at the next heartbeat: a user may have paused or cancelled the job."""
        self._lease_wanted.set()

    def drain(self) -> None:
        """Ends the worker after a checkpoint; the job waits for the next server."""
        self._control.request(DesiredState.DRAIN)

    async def run(self) -> None:
        """Works on the job until it is in another state, or another server's. A cancelled call ends the worker first."""
        if self._trace is not None and self._job.attempts == 1:  # a job that waits again does not tell since when
            self._trace.passed("wait", self._job.created.timestamp())
        renewing = asyncio.create_task(self._renew_lease())
        working = asyncio.create_task(self._work())
        try:
            await asyncio.wait({renewing, working}, return_when=asyncio.FIRST_COMPLETED)
            if not working.done():  # the lease is lost
                renewing.result()
            await working
        except LeaseLost:
            log.warning("the job belongs to another server now", job=self._job.id)
        finally:
            for task in (renewing, working):
                task.cancel()
            await asyncio.gather(renewing, working, return_exceptions=True)
            self._context.recorder.job_left(self._job.id, self._job.spec.model)
            self._context.notifier.notify(self._job.id)

    # ── the work ──────────────────────────────────────────────────────────────────────────────────────────────

    async def _work(self) -> None:
        try:
            outcome = await self._train_and_publish()
        except (LeaseLost, asyncio.CancelledError):
            raise
        except OSError as error:
            full = full_disk(error, self._context.home)
            if full is not FullDisk.HOME:
                log.exception("a job cannot be worked on", job=self._job.id)
            reason = full.value if full else "the job's folder or worker could not be made"
            outcome = WorkerOutcome(OutcomeKind.FAILED, reason)
        except Exception:
            log.exception("a job cannot be worked on", job=self._job.id)
            outcome = WorkerOutcome(OutcomeKind.FAILED, "something broke on the server's side; its log has the details")
        if outcome.kind is not OutcomeKind.FINISHED:
            limits, desired = self._context.limits, self._control.desired
            await self._finish(next_state(outcome, desired, self._deaths, limits.max_deaths, limits.retry_delay_s))

    async def _train_and_publish(self) -> WorkerOutcome:
        """FINISHED once the job has SUCCEEDED; else how its worker ended."""
        versions = Versions(self._context.home)
        number = await asyncio.to_thread(versions.published_by, self._job.spec.model, self._job.id)
        if number is None:
            if not (self._folder / RESULT).is_dir():
                if self._control.desired is not DesiredState.RUN:
                    return WorkerOutcome(OutcomeKind.STOPPED)
                outcome = await self._train()
                if outcome.kind is not OutcomeKind.FINISHED:
                    return outcome
            if self._control.desired is DesiredState.CANCEL:
                return WorkerOutcome(OutcomeKind.STOPPED)
            self._events.add(Progress(phase="publishing", ratio=0.99))
            await self._events.flush()
            try:
                with self._step("publish"):
                    number = await asyncio.to_thread(versions.publish, self._job.spec.model, self._folder / RESULT)
            except StoreUnusable as error:
                full = full_disk(error, self._context.home)
                return WorkerOutcome(OutcomeKind.FAILED, full.value if full else "the result could not be published")
            except ZooModelError as error:
                return WorkerOutcome(OutcomeKind.FAILED, f"the worker's result cannot be published: {error}")
        await self._announce(number)
        return WorkerOutcome(OutcomeKind.FINISHED)

    async def _train(self) -> WorkerOutcome:
        context, spec = self._context, self._job.spec
        if not dataset_folder(context.home, spec.dataset_id).is_dir():
            return WorkerOutcome(OutcomeKind.FAILED, dataset_deleted(spec.dataset_id))
        try:
            await context.bases.fetch_weights(spec.base)
        except NotReady as error:
            return WorkerOutcome(OutcomeKind.FAILED, error.message)
        if self._trace is not None:
            self._trace.attempt_began(self._job.attempts)
        try:
            outcome = await self._run_worker()
        except BaseException as error:
            if self._trace is not None:
                self._trace.attempt_ended(type(error).__name__)
            raise
        if self._trace is not None:
            self._trace.attempt_ended(None if outcome.kind is OutcomeKind.FINISHED else outcome.kind.name)
        return outcome

    async def _run_worker(self) -> WorkerOutcome:
        context, spec = self._context, self._job.spec
        stable = context.registry.folder(spec.model)
        order = WorkOrder(
            job_id=self._job.id,
            spec=spec,
            home=context.home,
            device=context.device,
            threads=context.limits.threads,
            memory_mib=context.limits.memory_mib,
            rival=None if stable is None else stable.files.folder,
            features_from_server=spec.method is Method.HEAD and spec.task != TOKEN_CLASSIFICATION,
            mlflow_uri=context.limits.mlflow_uri,
            traceparent="" if self._trace is None else self._trace.traceparent,
        )
        await asyncio.to_thread(write_order, self._folder, order)
        # In this thread, that of the event loop: the kernel ends a worker with the thread that started it.
        worker = await context.launcher.start(order, self._folder)
        log.info("a worker has started", job=self._job.id, worker=worker.name, attempt=self._job.attempts)
        session = WorkerSession(
            order,
            worker,
            self._events,
            self._control,
            features=context.features,
            pressure=context.pressure,
            limits=context.limits,
            folder=self._folder,
        )
        return await session.run()

    async def _announce(self, number: int) -> None:
        """Loads the published version, and records that the job has succeeded."""
        model = self._job.spec.model
        try:
            gated = self._job.spec.promotion is not Promotion.NEVER
            with self._step("load"):
                outcome = await self._until_stored(partial(self._context.registry.take, model, number, gated=gated))
        except ZooError as error:
            outcome = f"the version is published but could not be loaded: {error.message}"
        except Exception:
            log.exception("a published version could not be announced", model=model, version=number)
            outcome = NOT_LOADED
        self._events.add(Progress(phase="publishing", ratio=1.0))
        await self._finish(NextState(JobState.SUCCEEDED), version=number, promotion_outcome=outcome)

    async def _finish(self, following: NextState, **columns: Any) -> None:
        """Moves the job to its next state as soon as the database answers, then removes what is not needed of its folder."""
        context = self._context
        await self._until_stored(self._events.finish)
        if following.state is JobState.QUEUED:
            columns["not_before"] = context.leases.clock() + following.delay_s
        move = partial(context.leases.move, self._job.id, self._server, following.state, following.reason)
        job = await self._until_stored(partial(move, deaths=following.deaths, **columns))
        context.notifier.notify(self._job.id)
        end_trace(job, context.recorder, context.leases.clock)
        log.info("a job has left its worker", job=job.id, state=job.state, reason=job.state_reason, version=job.version)
        if job.state in (JobState.SUCCEEDED, JobState.CANCELLED):
            await asyncio.to_thread(clean, self._folder)
            await context.events.keep_checkpoints(job.id, ())

    async def _until_stored(self, write: Callable[[], Awaitable[T]]) -> T:
        """Calls `write` until the database answers: the end of a job must not be lost. Raises LeaseLost."""
        while True:
            try:
                return await write()
            except DatabaseUnavailable as error:
                log.warning("the database does not answer", job=self._job.id, reason=str(error))
                await asyncio.sleep(self._context.limits.poll_s)

    # ── beside it ─────────────────────────────────────────────────────────────────────────────────────────────

    async def _renew_lease(self) -> None:
        """Renews the lease, and reads with it what users want of the job. Ends only by LeaseLost."""
        leases, limits = self._context.leases, self._context.limits
        renewed = time.monotonic()
        while True:
            self._lease_wanted.clear()
            try:
                lease = await leases.renew(self._job.id, self._server, limits.lease_s)
            except DatabaseUnavailable:
                if time.monotonic() - renewed > 0.8 * limits.lease_s:  # another server takes the job at any moment
                    raise LeaseLost(self._job.id) from None
            else:
                renewed = time.monotonic()
                self._control.request(lease.desired)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._lease_wanted.wait(), min(limits.poll_s, limits.lease_s / 3))

    def _step(self, name: str) -> AbstractContextManager[None]:
        """A step of the job as a span of its trace."""
        return nullcontext() if self._trace is None else self._trace.step(name)

    def _record(self, event: EventPayload) -> None:
        job, recorder = self._job, self._context.recorder
        if self._trace is not None and isinstance(event, Progress | Metric):
            self._trace.progress(event.phase if isinstance(event, Progress) else "", event.epoch)
        match event:
            case Progress():
                recorder.job_progress(job.id, job.spec.model, event.ratio)
            case Metric():
                recorder.job_metric(job.id, job.spec.model, event.name, event.split, event.value)
            case Checkpoint():
                self._deaths = 0  # the job makes progress, so it is worth another try
