"""Fine-tuning in one call: check, upload, create the job, wait, look up the version."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from service.client._async.datasets import AsyncDatasets
from service.client._async.jobs import AsyncJobs
from service.client._async.versions import AsyncVersions
from service.client.channel import CALL_TIMEOUT_S
from service.client.concurrency import run_in_thread
from service.client.datasets import Columns, Dataset
from service.client.jobs import JobEvent, JobFailed
from service.client.upload import Progress, kinds_in
from service.client.versions import FineTuned
from service.pb import fine_tuning_pb2 as pb


class AsyncFineTuning:
    """Combines datasets, jobs and versions."""

    def __init__(self, datasets: AsyncDatasets, jobs: AsyncJobs, versions: AsyncVersions) -> None:
        self._datasets = datasets
        self._jobs = jobs
        self._versions = versions

    async def run(
        self,
        request: pb.CreateJobRequest,
        data: str | Path | Dataset,
        kind: str,
        columns: Columns | Mapping[str, str] | None,
        progress: Progress,
        on_event: Callable[[JobEvent], object] | None,
    ) -> FineTuned:
        """From data to a version. The job is checked before the upload. Raises JobFailed if the job ends without a version."""
        if not isinstance(data, Dataset):
            kinds = (kind,) if kind else await run_in_thread(kinds_in, data)
            await self._jobs.check(request, kinds, CALL_TIMEOUT_S)
            data = await self._datasets.upload(data, kind, columns, "", request.spec.task, progress, None)
        request.spec.dataset_id = data.id
        created = await self._jobs.create(request, CALL_TIMEOUT_S)
        async for event in self._jobs.watch(created.id, 0):
            if on_event is not None:
                on_event(event)
        ended = await self._jobs.get(created.id, CALL_TIMEOUT_S)
        if ended.state != "SUCCEEDED":
            raise JobFailed(ended)
        known = await self._versions.list_all(ended.model, CALL_TIMEOUT_S)
        made = next((version for version in known.versions if version.number == ended.version), None)
        return FineTuned(ended, data, made)
