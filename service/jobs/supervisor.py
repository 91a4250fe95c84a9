"""Jobs as users know them, and the loop that has them worked on.

    create ──► store (QUEUED) ──► claimed by a supervisor with room ──► runner.py ──► the next state
    cancel, pause, resume ──► store ──► whoever works on it hears of it with the next heartbeat, at once on this server

Everything here runs on the event loop; the database and the disk are asked in threads.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from service.database import Database, DatabaseUnavailable
from service.datasets.dataset import DatasetKind
from service.errors import Draining, InvalidInput
from service.jobs.change_notifier import ChangeNotifier
from service.jobs.hooks import Hooks, JobLimits
from service.jobs.identity import Identity
from service.jobs.job_folder import JOBS, checkpoint_faults, job_folder
from service.jobs.persistence.event_store import EventStore
from service.jobs.persistence.job_store import JobStore
from service.jobs.persistence.leases import Lease, Leases
from service.jobs.persistence.retention import Retention
from service.jobs.persistence.transitions import LeaseLost
from service.jobs.runner import JobContext, JobRunner
from service.jobs.types import Checkpoint, Event, Job, JobSpec, JobState, Page
from service.jobs.worker_outcome import (
    DRAINED,
    GONE,
    DesiredState,
    End,
    Ending,
    next_of,
)
from service.jobs.workers.launcher import Launcher, ProcessLauncher
from service.jobs.workers.prewarmed import WorkerProfile
from service.observability.log import logger
from service.observability.recorder import Recorder

log = logger(__name__)

EVENTS_AT_ONCE = 500
"""That a watcher reads from the database."""
LAST_S = 5.0
"""After the grace of a stop: how long killed workers may take to be gone, and their jobs to be handed back."""


class Jobs:
    """All jobs of a server. Construct, `await start()`, use, `await stop()`. Without `start`, jobs are kept but not worked on."""

    def __init__(
        self,
        database: Database,
        home: Path,
        hooks: Hooks,
        recorder: Recorder,
        limits: JobLimits | None = None,
        device: str = "cpu",
        launcher: Launcher | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store, self._leases = JobStore(database, clock), Leases(database, clock)
        self._history, self._retention = EventStore(database), Retention(database, home, clock)
        self._home, self._hooks, self._recorder, self._device = home, hooks, recorder, device
        self._limits = limits or JobLimits()
        self._launcher = launcher or ProcessLauncher(ready_s=self._limits.ready_s)
        self._notices = ChangeNotifier()
        self._works: dict[str, tuple[JobRunner, asyncio.Task[None]]] = {}
        self._wake = asyncio.Event()
        self._stopping = False
        self._loop: asyncio.Task[None] | None = None
        self._forgetting: asyncio.Task[None] | None = None
        self._identity: Identity | None = None

    # ── asked by users ────────────────────────────────────────────────────────────────────────────────────────

    async def create(self, spec: JobSpec, request_id: str = "", owner: str = "") -> Job:
        """Queues a job; with a `request_id` that was used before, gives the job that it made then.

        Raises NotFound for an unknown base or dataset, InvalidInput where they do not fit or a field is wrong, AlreadyExists
        where the `request_id` made another job, QuotaExceeded, Draining.
        """
        if self._stopping:
            raise Draining
        if (before := await self._store.repeated(spec, request_id, owner)) is not None:
            return before
        chosen = await self._chosen(spec)
        job = await self._store.create(spec, chosen, request_id, owner, self._limits.quotas)
        log.info("a job is queued", job=job.id, base=spec.base, model=spec.model, method=chosen.method)
        self._changed(job.id)
        return job

    async def check(self, spec: JobSpec, kinds: Sequence[DatasetKind] = (), owner: str = "") -> JobSpec:
        """What `create` would make of it now, with task and method as chosen; nothing is made. Raises as `create`.

        Without a dataset, what can be told before there is one; `kinds` are those that it may be of, none where any may come.
        """
        if self._stopping:
            raise Draining
        chosen = await self._chosen(spec, kinds)
        await self._store.check_quotas(owner, self._limits.quotas)
        return chosen

    async def _chosen(self, spec: JobSpec, kinds: Sequence[DatasetKind] = ()) -> JobSpec:
        if self._hooks.reserved(spec.model):
            raise InvalidInput("spec.model", f"{spec.model!r} is a model of the zoo; choose a name of your own")
        card = self._hooks.base_card(spec.base)
        if not spec.dataset_id:
            self._hooks.judge(card, spec, kinds)
            return spec
        return self._hooks.plan(card, await self._hooks.dataset(spec.dataset_id), spec)

    def expect(self) -> None:
        """Somebody seems to be about to create a job: a worker may get ready for it."""
        if not self._stopping and self._limits.per_device:
            self._launcher.expect(WorkerProfile(self._device, self._limits.threads))

    async def get(self, job_id: str) -> Job:
        """One job. Raises NotFound."""
        return await self._store.get(job_id)

    async def list(
        self, size: int, after: str = "", *, state: JobState | None = None, model: str = "", owner: str = ""
    ) -> Page:
        """Up to `size` jobs, the newest first; `after` is the `next_token` of the page before. Raises InvalidInput."""
        return await self._store.list(size, after, state=state, model=model, owner=owner)

    async def cancel(self, job_id: str) -> Job:
        """Ends a job within a step. One that has ended already is left as it is. Raises NotFound."""
        job = await self._store.cancel(job_id)
        self._changed(job_id)
        return job

    async def pause(self, job_id: str) -> Job:
        """Lets a job rest after a checkpoint. Raises NotFound, IllegalMove."""
        job = await self._store.pause(job_id)
        self._changed(job_id)
        return job

    async def resume(self, job_id: str) -> Job:
        """Queues a job that rests or has failed again. Raises NotFound, IllegalMove, QuotaExceeded."""
        job = await self._store.resume(job_id, self._limits.quotas)
        self._changed(job_id)
        return job

    async def delete(self, job_id: str) -> int:
        """Deletes a job that has ended and gives the bytes that came back; its version stays. Raises NotFound, IllegalMove."""
        freed = await self._retention.delete(job_id)
        self._changed(job_id)
        return freed

    async def watch(self, job_id: str, after: int = 0) -> AsyncGenerator[tuple[Event, Job | None], None]:
        """Every event after one, in order, each once, until the job has ended; with the latest of them, the job.

        Raises NotFound; Draining where the server stops first.
        """
        with self._notices.listen(job_id) as news:
            while True:
                news.clear()
                job, events = await self._history.after(job_id, after, EVENTS_AT_ONCE)
                for event in events:
                    after = event.sequence
                    yield event, job if after == job.last_event else None
                if events:
                    continue
                if job.state.ended:
                    return
                if self._stopping:
                    raise Draining
                with suppress(TimeoutError):
                    await asyncio.wait_for(news.wait(), self._limits.poll_s)

    async def checkpoints(self, job_id: str) -> tuple[Checkpoint, ...]:
        """Those that a job has now, in order of step. Raises NotFound."""
        known = await self._history.checkpoints(job_id)
        faults = await asyncio.to_thread(checkpoint_faults, job_folder(self._home, job_id)) if known else {}
        return tuple(
            replace(checkpoint, damaged=checkpoint.damaged or faults.get(checkpoint.step, ""))
            for checkpoint in known
            if checkpoint.step in faults or checkpoint.damaged
        )

    async def in_use(self, dataset_id: str) -> bool:
        """Whether a job that has not ended needs a dataset."""
        return bool(await self._store.using(dataset_id))

    # ── life ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def start(self) -> None:
        """Takes up what this server left when it last ended, and works on jobs from now on. The database must be open.

        Must be called in the process's main thread: workers are tied to the thread that starts them.
        """
        self._identity = await asyncio.to_thread(Identity, self._home / JOBS)
        self._place = JobContext(
            self._home,
            self._identity.name,
            self._device,
            self._leases,
            self._history,
            self._launcher,
            self._hooks,
            self._limits,
            self._recorder,
            self._notices.tell,
        )
        self._loop = asyncio.create_task(self._supervise())
        self._forgetting = asyncio.create_task(self._retention.keep_up(self._limits.retention_s))

    async def stop(self, grace_s: float = 30.0) -> None:
        """Watchers are sent away; workers rest after a checkpoint, and are killed after `grace_s`. Their jobs are QUEUED."""
        self._stopping = True
        self._notices.tell_all()
        self._wake.set()
        if self._forgetting is not None:
            self._forgetting.cancel()
            await asyncio.wait({self._forgetting})
        if self._loop is not None:
            await self._loop  # not cancelled: a job that is just being claimed is not to be left behind
        works = list(self._works.items())
        for _, (work, _) in works:
            work.drain()
        if works:
            _, late = await asyncio.wait([task for _, (_, task) in works], timeout=grace_s)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._hand_back([job_id for job_id, (_, task) in works if task in late]), LAST_S)
        await self._launcher.stop()
        if self._identity is not None:
            self._identity.close()

    # ── the loop ──────────────────────────────────────────────────────────────────────────────────────────────

    async def _supervise(self) -> None:
        ours: tuple[str, ...] = (self._place.server,)  # nobody but a process that is gone had our name before us
        while not self._stopping:
            self._wake.clear()
            try:
                await self._take_over(ours)
                ours = ()
                while self._has_room() and (lease := await self._claim()) is not None:
                    self._begin(lease)
                self._recorder.jobs_counted({str(state): n for state, n in (await self._store.counts()).items()})
            except DatabaseUnavailable as error:
                log.warning("jobs wait for the database", reason=str(error))
            except Exception:
                log.exception("the supervisor of jobs stumbled and goes on")
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), self._limits.poll_s)

    def _has_room(self) -> bool:
        return not self._stopping and len(self._works) < self._limits.per_device

    async def _claim(self) -> Lease | None:
        return await self._leases.claim(self._place.server, self._device, self._limits.lease_s)

    def _begin(self, lease: Lease) -> None:
        job_id, work = lease.job.id, JobRunner(lease, self._place)

        def done(task: asyncio.Task[None]) -> None:
            self._works.pop(job_id, None)
            self._wake.set()
            self.expect()  # who tries one thing soon tries the next
            if not task.cancelled() and (error := task.exception()) is not None:
                log.error("work on a job broke off", job=job_id, exc_info=error)

        task = asyncio.create_task(work.run(), name=f"job {job_id}")
        self._works[job_id] = (work, task)
        task.add_done_callback(done)
        self._changed(job_id)

    async def _take_over(self, gone: tuple[str, ...]) -> None:
        """Jobs whose server is gone wait for the next one, count that as a death, or end where that was wanted."""
        for job_id, holder in await self._leases.abandoned(gone):
            if job_id in self._works:  # our own, in the very moment of losing its lease
                continue
            try:
                lease = await self._leases.take_over(job_id, holder, self._place.server, self._limits.lease_s)
                if lease.job.state is JobState.CANCELLING:
                    self._begin(lease)
                    continue
                limits, ending = self._limits, Ending(End.DIED, "the server went away")
                following = next_of(ending, DesiredState.WORK, lease.deaths, limits.deaths, limits.retry_delay_s)
                reason = following.reason if following.state is JobState.FAILED else GONE
                job = await self._leases.move(
                    job_id, self._place.server, following.state, reason, deaths=following.deaths, not_before=0.0
                )
            except LeaseLost:  # another server was faster
                continue
            except DatabaseUnavailable:
                raise
            except Exception:  # the others must not wait for this one
                log.exception("a job cannot be taken over", job=job_id)
                continue
            log.warning("a job's server went away", job=job_id, holder=holder, state=job.state)
            self._changed(job_id)

    async def _hand_back(self, job_ids: Iterable[str]) -> None:
        for job_id in job_ids:
            with suppress(LeaseLost, DatabaseUnavailable):
                await self._leases.move(job_id, self._place.server, JobState.QUEUED, DRAINED)

    def _changed(self, job_id: str) -> None:
        self._notices.tell(job_id)
        if (mine := self._works.get(job_id)) is not None:
            mine[0].look()
        self._wake.set()
