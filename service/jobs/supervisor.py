"""The loop that starts work on jobs: it claims queued jobs while it has room, and takes over those of servers that have ended.

Every claimed job has a `JobRunner` in a task of its own. Everything here runs on the event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress

from service.database import DatabaseUnavailable
from service.jobs.desired_state import DesiredState
from service.jobs.identity import Identity
from service.jobs.job_folder import JOBS
from service.jobs.persistence.job_store import JobStore
from service.jobs.persistence.leases import Lease
from service.jobs.persistence.retention import Retention
from service.jobs.persistence.transitions import LeaseLost
from service.jobs.runner import JobContext, JobRunner
from service.jobs.types import JobState
from service.jobs.worker_outcome import DRAINED, SERVER_GONE, OutcomeKind, WorkerOutcome, next_state
from service.jobs.workers.job_trace import end_trace
from service.jobs.workers.launcher import WorkerProfile
from service.observability.log import logger

log = logger(__name__)

HAND_BACK_S = 5.0
"""After the grace of a stop: how long killed workers may take to end, and the database to take their jobs back."""


class Supervisor:
    """Construct, `await start()`, `await stop()`."""

    def __init__(self, context: JobContext, store: JobStore, retention: Retention) -> None:
        self._context, self._store, self._retention = context, store, retention
        self._limits = context.limits
        self._runners: dict[str, tuple[JobRunner, asyncio.Task[None]]] = {}
        self._wake = asyncio.Event()
        self._stopping = False
        self._loop_task: asyncio.Task[None] | None = None
        self._retention_task: asyncio.Task[None] | None = None
        self._identity: Identity | None = None
        self._server = ""

    async def start(self) -> None:
        """Takes up the jobs that this server left when it last ended, and works on jobs from now on. The database is open.

        Call it in the main thread of the process: workers are tied to the thread that starts them.
        """
        self._identity = await asyncio.to_thread(Identity, self._context.home / JOBS)
        self._server = self._identity.name
        self._loop_task = asyncio.create_task(self._supervise())
        self._retention_task = asyncio.create_task(self._retention.run(self._limits.retention_s))

    async def stop(self, grace_s: float = 30.0) -> None:
        """Ends workers after a checkpoint, and kills them after `grace_s`. Their jobs are QUEUED."""
        self._stopping = True
        self._wake.set()
        if self._retention_task is not None:
            self._retention_task.cancel()
            await asyncio.wait({self._retention_task})
        if self._loop_task is not None:
            await self._loop_task  # not cancelled, so that a job that is being claimed gets its runner
        runners = list(self._runners.items())
        for _, (runner, _) in runners:
            runner.drain()
        if runners:
            _, late = await asyncio.wait([task for _, (_, task) in runners], timeout=grace_s)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
            with suppress(TimeoutError):
                killed = [job_id for job_id, (_, task) in runners if task in late]
                await asyncio.wait_for(self._hand_back(killed), HAND_BACK_S)
        await self._context.launcher.stop()
        if self._identity is not None:
            self._identity.close()

    def job_changed(self, job_id: str) -> None:
        """Wakes all that waits for a change of a job in the database: its watchers, its runner and the loop."""
        self._context.notifier.notify(job_id)
        if (running := self._runners.get(job_id)) is not None:
            running[0].refresh()
        self._wake.set()

    def prewarm(self) -> None:
        """Prepares a worker for a job that is likely to come. Returns at once."""
        if not self._stopping and self._limits.per_device:
            self._context.launcher.prewarm(WorkerProfile(self._context.device, self._limits.threads))

    # ── the loop ──────────────────────────────────────────────────────────────────────────────────────────────

    async def _supervise(self) -> None:
        ended: tuple[str, ...] = (self._server,)  # an earlier process with this name has ended
        while not self._stopping:
            self._wake.clear()
            try:
                await self._take_over(ended)
                ended = ()
                while self._has_room() and (lease := await self._claim()) is not None:
                    self._run(lease)
                counts = await self._store.counts()
                self._context.recorder.jobs_counted({str(state): count for state, count in counts.items()})
            except DatabaseUnavailable as error:
                log.warning("jobs wait for the database", reason=str(error))
            except Exception:
                log.exception("a round of the supervisor of jobs failed")
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), self._limits.poll_s)

    def _has_room(self) -> bool:
        return not self._stopping and len(self._runners) < self._limits.per_device

    async def _claim(self) -> Lease | None:
        return await self._context.leases.claim(self._server, self._context.device, self._limits.lease_s)

    def _run(self, lease: Lease) -> None:
        job_id, runner = lease.job.id, JobRunner(lease, self._server, self._context)

        def on_done(task: asyncio.Task[None]) -> None:
            self._runners.pop(job_id, None)
            self._wake.set()
            self.prewarm()  # a user who has tried one job is likely to try the next soon
            if not task.cancelled() and (error := task.exception()) is not None:
                log.error("the runner of a job failed", job=job_id, exc_info=error)

        task = asyncio.create_task(runner.run(), name=f"job {job_id}")
        self._runners[job_id] = (runner, task)
        task.add_done_callback(on_done)
        self.job_changed(job_id)

    async def _take_over(self, ended_servers: tuple[str, ...]) -> None:
        """Queues jobs whose server has ended, which counts as a death, or moves them to the state that their users want.

        Another server than the `ended_servers` has ended, or hangs, where its lease has run out.
        """
        for job_id, holder in await self._context.leases.abandoned(ended_servers):
            if job_id in self._runners:  # this server's own, which is about to notice that its lease is lost
                continue
            try:
                await self._take_over_one(job_id, holder)
            except LeaseLost:  # another server was faster
                continue
            except DatabaseUnavailable:
                raise
            except Exception:  # the other jobs do not wait for this one
                log.exception("a job cannot be taken over", job=job_id)

    async def _take_over_one(self, job_id: str, holder: str) -> None:
        leases, limits = self._context.leases, self._limits
        lease = await leases.take_over(job_id, holder, self._server, limits.lease_s)
        if lease.desired is DesiredState.CANCEL:
            self._run(lease)
            return
        died = WorkerOutcome(OutcomeKind.DIED, "the server went away")
        following = next_state(died, DesiredState.RUN, lease.deaths, limits.max_deaths, limits.retry_delay_s)
        reason = following.reason if following.state is JobState.FAILED else SERVER_GONE
        job = await leases.move(job_id, self._server, following.state, reason, deaths=following.deaths, not_before=0.0)
        end_trace(job, self._context.recorder, leases.clock)
        log.warning("a job was taken over from a server that has ended", job=job_id, holder=holder, state=job.state)
        self.job_changed(job_id)

    async def _hand_back(self, job_ids: Iterable[str]) -> None:
        for job_id in job_ids:
            with suppress(LeaseLost, DatabaseUnavailable):
                await self._context.leases.move(job_id, self._server, JobState.QUEUED, DRAINED)
