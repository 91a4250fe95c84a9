# ruff: noqa: ASYNC109 (a timeout travels to the server as the deadline)
"""The asyncio client's verbs about datasets, jobs and versions. What they take, give and raise is told at `TuningClient`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import grpc

from service.client import tuning
from service.client.channel import Metadata, Retry
from service.client.datasets import Columns, Dataset
from service.client.errors import call_error
from service.client.jobs import Checkpoint, Job, JobEvent, job_request, read_event
from service.client.models import ModelInfo
from service.client.patience import Patience
from service.client.plain import whole_number
from service.client.plan import Plan, Stubs, T, Upload
from service.client.upload import Progress, silent
from service.client.verbs import CALL_TIMEOUT_S, LOAD_TIMEOUT_S
from service.client.versions import FineTuned, RolledBack, VersionReport, Versions
from service.pb import fine_tuning_pb2 as pb


class AsyncTuningClient:
    """What `AsyncClient` knows of fine-tuning."""

    target: str
    _retry: Retry
    _stubs: Stubs
    _metadata: Metadata

    async def _run(self, plan: Plan[T]) -> T:
        raise NotImplementedError

    # ── datasets ──────────────────────────────────────────────────────────────────────────────────────────────

    async def upload_dataset(
        self,
        data: str | Path,
        *,
        kind: str = "",
        columns: Columns | Mapping[str, str] | None = None,
        display_name: str = "",
        task: str = "",
        progress: Progress = silent,
        timeout: float | None = None,
    ) -> Dataset:
        """Stores a file, a folder or what the server finds at a URI; returns once it is checked. `progress` is called from
        other threads."""
        return await self._run(
            tuning.upload(data, kind, columns, display_name, progress, self._retry, timeout, task=task)
        )

    async def _upload(self, upload: Upload) -> pb.UploadDatasetResponse:
        trouble: list[Exception] = []

        async def requests() -> AsyncIterator[pb.UploadDatasetRequest]:  # gRPC draws from it and must see no exception
            try:
                while (part := await asyncio.to_thread(next, upload.messages, None)) is not None:
                    yield part
            except Exception as error:
                trouble.append(error)

        try:
            call: Any = self._stubs.fine_tuning.UploadDataset
            reply: pb.UploadDatasetResponse = await call(requests(), timeout=upload.timeout, metadata=self._metadata)
            return reply
        except grpc.RpcError as error:
            raise trouble[0] if trouble else call_error(error, self.target) from None

    async def datasets(self, *, kind: str = "", timeout: float | None = CALL_TIMEOUT_S) -> AsyncIterator[Dataset]:
        """The datasets, the newest first, page by page; without the lists of what was skipped."""
        token = ""
        while True:
            page, token = await self._run(tuning.datasets_page(token, kind, timeout))
            for item in page:
                yield item
            if not token:
                return

    async def dataset(self, dataset_id: str, *, timeout: float | None = CALL_TIMEOUT_S) -> Dataset:
        """One dataset, with all that validation said of it."""
        return await self._run(tuning.dataset(dataset_id, timeout))

    async def delete_dataset(
        self, dataset_id: str, *, force: bool = False, timeout: float | None = CALL_TIMEOUT_S
    ) -> int:
        """Deletes a dataset and gives the bytes that came back. Raises IllegalMove while a job uses it, unless `force` is set:
        then the job fails."""
        return await self._run(tuning.delete_dataset(dataset_id, force, timeout))

    # ── jobs ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def create_job(
        self,
        base: str,
        dataset_id: str,
        model: str,
        *,
        task: str = "",
        method: str = "auto",
        hyperparameters: Mapping[str, Any] | None = None,
        seed: int = 0,
        priority: int = 0,
        promote: bool = True,
        display_name: str = "",
        request_id: str = "",
        timeout: float | None = CALL_TIMEOUT_S,
    ) -> Job:
        """Queues a job that tunes `base` on a dataset; its result becomes the next version of `model`.

        `method`: `auto`, `head`, `full` or `lora`. `hyperparameters` has what is not to be left to Zoo. `priority`: 1 goes
        first, 9 last, 0 as usual. `promote`: whether `stable` may move to the result. With the `request_id` of an earlier call
        it gives the job that was made then.
        """
        request = job_request(
            base,
            dataset_id,
            model,
            task=task,
            method=method,
            hyperparameters=hyperparameters,
            seed=seed,
            priority=priority,
            promote=promote,
            display_name=display_name,
            request_id=request_id,
        )
        return await self._run(tuning.create_job(request, timeout))

    async def check_job(
        self,
        base: str,
        model: str,
        *,
        dataset_id: str = "",
        kinds: Sequence[str] = (),
        task: str = "",
        method: str = "auto",
        hyperparameters: Mapping[str, Any] | None = None,
        seed: int = 0,
        priority: int = 0,
        timeout: float | None = CALL_TIMEOUT_S,
    ) -> None:
        """Raises what `create_job` would, and creates nothing. Without a dataset: what can be told before there is one; `kinds`
        are those of which it may be, where that is known."""
        request = job_request(
            base,
            dataset_id,
            model,
            task=task,
            method=method,
            hyperparameters=hyperparameters,
            seed=seed,
            priority=priority,
        )
        await self._run(tuning.check_job(request, kinds, timeout))

    async def job(self, job_id: str, *, timeout: float | None = CALL_TIMEOUT_S) -> Job:
        """One job as it is."""
        return await self._run(tuning.job(job_id, timeout))

    async def jobs(
        self, *, state: str = "", model: str = "", owner: str = "", timeout: float | None = CALL_TIMEOUT_S
    ) -> AsyncIterator[Job]:
        """The jobs, the newest first, page by page."""
        token = ""
        while True:
            page, token = await self._run(tuning.jobs_page(token, state, model, owner, timeout))
            for item in page:
                yield item
            if not token:
                return

    async def cancel_job(self, job_id: str, *, timeout: float | None = CALL_TIMEOUT_S) -> Job:
        """Ends a job within a step; one that has ended is left as it is."""
        return await self._run(tuning.cancel_job(job_id, timeout))

    async def pause_job(self, job_id: str, *, timeout: float | None = CALL_TIMEOUT_S) -> Job:
        """Lets a job rest after a checkpoint."""
        return await self._run(tuning.pause_job(job_id, timeout))

    async def resume_job(self, job_id: str, *, timeout: float | None = CALL_TIMEOUT_S) -> Job:
        """Queues a paused job again, or one that failed and has a checkpoint."""
        return await self._run(tuning.resume_job(job_id, timeout))

    async def delete_job(self, job_id: str, *, timeout: float | None = CALL_TIMEOUT_S) -> int:
        """Deletes a job that has ended, and gives the bytes that came back; its version stays. Raises IllegalMove for another."""
        return await self._run(tuning.delete_job(job_id, timeout))

    async def watch_job(self, job_id: str, *, after: int = 0) -> AsyncIterator[JobEvent]:
        """What happened to a job since event `after`, and what happens until it has ended.

        Goes on by itself where the connection breaks or the server starts anew: each event comes once.
        """
        after = whole_number("after", after)
        patience = Patience(self._retry)
        while True:
            call = self._stubs.fine_tuning.WatchJob(pb.WatchJobRequest(id=job_id, after=after))
            try:
                async for message in call:
                    event = read_event(message)
                    after = event.sequence
                    patience.progressed()
                    yield event
                return
            except grpc.RpcError as error:
                pause_s = patience.pause(call_error(error, self.target))
            finally:
                call.cancel()
            await asyncio.sleep(pause_s)

    async def checkpoints(self, job_id: str, *, timeout: float | None = CALL_TIMEOUT_S) -> tuple[Checkpoint, ...]:
        """The checkpoints that a job has now, in order of step."""
        return await self._run(tuning.checkpoints(job_id, timeout))

    async def finetune(
        self,
        base: str,
        data: str | Path | Dataset,
        name: str,
        *,
        kind: str = "",
        columns: Columns | Mapping[str, str] | None = None,
        task: str = "",
        method: str = "auto",
        hyperparameters: Mapping[str, Any] | None = None,
        seed: int = 0,
        priority: int = 0,
        promote: bool = True,
        progress: Progress = silent,
        on_event: Callable[[JobEvent], object] | None = None,
    ) -> FineTuned:
        """From data to the next served version of `name`: uploads, creates the job and waits for its end.

        See `upload_dataset` and `create_job`. `on_event` is called with everything that happens to the job. Raises JobFailed
        where it ends without a result.
        """
        request = job_request(
            base,
            "",
            name,
            task=task,
            method=method,
            hyperparameters=hyperparameters,
            seed=seed,
            priority=priority,
            promote=promote,
        )
        heard = on_event or (lambda event: None)
        return await self._run(tuning.finetune(request, data, kind, columns, progress, self._retry, heard))

    # ── versions ──────────────────────────────────────────────────────────────────────────────────────────────

    async def versions(self, model: str, *, timeout: float | None = CALL_TIMEOUT_S) -> Versions:
        """The versions of a model, the newest first, and where calls that name none go."""
        return await self._run(tuning.versions(model, timeout))

    async def report(
        self, model: str, version: int | str = "", *, timeout: float | None = CALL_TIMEOUT_S
    ) -> VersionReport:
        """How a fine-tuned version did on held-out data; of the stable one where no number or alias is given."""
        return await self._run(tuning.report(model, str(version), timeout))

    async def promote(self, model: str, version: int, *, timeout: float | None = LOAD_TIMEOUT_S) -> ModelInfo:
        """Makes a version the stable one, whatever its report says."""
        return await self._run(tuning.set_alias(model, tuning.STABLE, version, timeout))

    async def rollback(self, model: str, *, timeout: float | None = LOAD_TIMEOUT_S) -> RolledBack:
        """Makes the version stable again that was stable before. Not retried: done twice is something else."""
        return await self._run(tuning.rollback(model, timeout))

    async def set_canary(
        self, model: str, version: int, share: float, *, timeout: float | None = LOAD_TIMEOUT_S
    ) -> ModelInfo:
        """Gives a version a share (0..1) of the calls that name none; a share of 0 ends that."""
        return await self._run(tuning.set_canary(model, version, share, timeout))

    async def set_alias(
        self, model: str, alias: str, version: int, *, timeout: float | None = LOAD_TIMEOUT_S
    ) -> ModelInfo:
        """Points an alias at a version."""
        return await self._run(tuning.set_alias(model, alias, version, timeout))

    async def delete_alias(self, model: str, alias: str, *, timeout: float | None = CALL_TIMEOUT_S) -> ModelInfo:
        """Removes an alias; `stable` cannot be removed."""
        return await self._run(tuning.delete_alias(model, alias, timeout))

    async def delete_version(self, model: str, version: int, *, timeout: float | None = CALL_TIMEOUT_S) -> int:
        """Deletes a version that no alias names, and gives the bytes that came back."""
        return await self._run(tuning.delete_version(model, version, timeout))
