"""The jobs of a server as users ask for them: create, get, list, watch, cancel, pause, resume, delete.

    create ──► store (QUEUED) ──► the supervisor claims it when it has room ──► runner.py ──► the next state
    cancel, pause, resume ──► store ──► the job's runner reads it at its next heartbeat, on this server at once

Everything here runs on the event loop; the database and the disk are read and written in threads.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Protocol

from model_zoo.cards.card import Card
from service.datasets.dataset import DatasetInfo, DatasetKind
from service.errors import Draining, InvalidInput
from service.jobs.job_folder import checkpoint_faults, job_folder
from service.jobs.job_limits import OwnerTerms
from service.jobs.persistence.job_store import JobStore
from service.jobs.persistence.retention import Retention
from service.jobs.runner import JobContext
from service.jobs.supervisor import Supervisor
from service.jobs.types import Checkpoint, Event, Job, JobSpec, JobState, Page
from service.jobs.workers.job_trace import end_trace, trace_of
from service.observability.log import logger
from service.training import compatibility

log = logger(__name__)

FREE = OwnerTerms()

EVENTS_AT_ONCE = 500
"""Events that a watcher reads from the database in one query."""

Plan = Callable[[Card, DatasetInfo, JobSpec], JobSpec]
"""Chooses task and method of a job. Raises InvalidInput that names the field."""


class Datasets(Protocol):
    """What jobs need of the store of datasets."""

    async def get(self, dataset_id: str) -> DatasetInfo:
        """A dataset by id. Raises NotFound with similar ids."""


class JobService:
    """The verbs of users. They work before `Supervisor.start` as well: jobs are then stored and wait."""

    def __init__(
        self,
        context: JobContext,
        store: JobStore,
        retention: Retention,
        datasets: Datasets,
        supervisor: Supervisor,
        plan: Plan = compatibility.plan,
    ) -> None:
        self._context, self._store, self._retention = context, store, retention
        self._datasets, self._supervisor, self._plan = datasets, supervisor, plan
        self._closed = False

    def close(self) -> None:
        """Refuses new jobs from now on, and ends every watch with Draining."""
        self._closed = True
        self._context.notifier.notify_all()

    async def create(self, spec: JobSpec, request_id: str = "", owner: str = "", terms: OwnerTerms = FREE) -> Job:
        """Queues a job; with a `request_id` that was used before, returns the job that it created then.

        Raises NotFound for an unknown base or dataset, InvalidInput where they do not fit or a field is wrong, AlreadyExists
        where the `request_id` created another job, QuotaExceeded, PermissionDenied where the model is another owner's, Draining.
        """
        if self._closed:
            raise Draining
        if (repeated := await self._store.repeated(spec, request_id, owner)) is not None:
            return repeated
        clock = self._context.leases.clock
        asked_at = clock()
        chosen = await self._choose(spec)
        job = await self._store.create(spec, chosen, request_id, owner, self._context.limits.quotas, terms)
        if (trace := trace_of(job, self._context.recorder, clock)) is not None:
            trace.passed("validate", asked_at)
        log.info("a job is queued", job=job.id, base=spec.base, model=spec.model, method=chosen.method)
        self._supervisor.job_changed(job.id)
        return job

    async def check(
        self, spec: JobSpec, kinds: Sequence[DatasetKind] = (), owner: str = "", terms: OwnerTerms = FREE
    ) -> JobSpec:
        """The spec that `create` would store now, with task and method as chosen; nothing is created. Raises as `create`.

        Without a dataset, checks what does not depend on one; `kinds` are those that the dataset may have, none for any.
        """
        if self._closed:
            raise Draining
        chosen = await self._choose(spec, kinds)
        await self._store.check_may_create(chosen.model, owner, self._context.limits.quotas, terms)
        return chosen

    async def _choose(self, spec: JobSpec, kinds: Sequence[DatasetKind] = ()) -> JobSpec:
        bases = self._context.bases
        if bases.is_reserved(spec.model):
            raise InvalidInput("spec.model", f"{spec.model!r} is a model of the zoo; choose a name of your own")
        card = bases.card(spec.base)
        if not spec.dataset_id:
            compatibility.check_before_upload(card, spec, kinds)
            return spec
        return self._plan(card, await self._datasets.get(spec.dataset_id), spec)

    def prewarm(self) -> None:
        """Prepares a worker: a user seems to be about to create a job. Returns at once."""
        self._supervisor.prewarm()

    async def get(self, job_id: str) -> Job:
        """One job. Raises NotFound."""
        return await self._store.get(job_id)

    async def list(
        self, size: int, after: str = "", *, state: JobState | None = None, model: str = "", owner: str = ""
    ) -> Page:
        """Up to `size` jobs, the newest first; `after` is the `next_token` of the page before. Raises InvalidInput."""
        return await self._store.list(size, after, state=state, model=model, owner=owner)

    async def owner_of_version(self, model: str, number: int) -> str | None:
        """The owner of the job that published a version; None where no job is known."""
        return await self._store.owner_of_version(model, number)

    async def cancel(self, job_id: str) -> Job:
        """Ends a job within one step of its training. Leaves a job that has ended as it is. Raises NotFound."""
        job = await self._store.cancel(job_id)
        if job.state is JobState.CANCELLED:  # no worker has to end first; a repeated request makes the same span
            end_trace(job, self._context.recorder, self._context.leases.clock)
        self._supervisor.job_changed(job_id)
        return job

    async def pause(self, job_id: str) -> Job:
        """Pauses a job after a checkpoint. Raises NotFound, IllegalMove."""
        job = await self._store.pause(job_id)
        self._supervisor.job_changed(job_id)
        return job

    async def resume(self, job_id: str, terms: OwnerTerms = FREE) -> Job:
        """Queues a job again that is PAUSED or has FAILED. Raises NotFound, IllegalMove, QuotaExceeded."""
        job = await self._store.resume(job_id, terms.applied_to(self._context.limits.quotas))
        self._supervisor.job_changed(job_id)
        return job

    async def delete(self, job_id: str) -> int:
        """Deletes a job that has ended and returns the bytes that this frees; its version stays. Raises NotFound, IllegalMove."""
        freed = await self._retention.delete(job_id)
        self._supervisor.job_changed(job_id)
        return freed

    async def watch(self, job_id: str, after: int = 0) -> AsyncGenerator[tuple[Event, Job | None], None]:
        """Every event after one, in order, each once, until the job has ended; with the latest event comes the job.

        Raises NotFound; Draining where the server stops first.
        """
        with self._context.notifier.subscribe(job_id) as changed:
            while True:
                changed.clear()
                job, events = await self._context.events.after(job_id, after, EVENTS_AT_ONCE)
                for event in events:
                    after = event.sequence
                    yield event, job if after == job.last_event else None
                if events:
                    continue
                if job.state.ended:
                    return
                if self._closed:
                    raise Draining
                with suppress(TimeoutError):
                    await asyncio.wait_for(changed.wait(), self._context.limits.poll_s)

    async def checkpoints(self, job_id: str) -> tuple[Checkpoint, ...]:
        """The checkpoints that a job has now, in order of step. Raises NotFound."""
        stored = await self._context.events.checkpoints(job_id)
        folder = job_folder(self._context.home, job_id)
        faults = await asyncio.to_thread(checkpoint_faults, folder) if stored else {}
        return tuple(
            replace(checkpoint, damaged=checkpoint.damaged or faults.get(checkpoint.step, ""))
            for checkpoint in stored
            if checkpoint.step in faults or checkpoint.damaged
        )

    async def in_use(self, dataset_id: str) -> bool:
        """Whether a job that has not ended needs a dataset."""
        return bool(await self._store.using(dataset_id))
