"""Servicer of `zoo.v1.FineTuning`."""

from __future__ import annotations

from service.datasets.dataset_store import DatasetStore
from service.jobs.job_service import JobService
from service.pb import fine_tuning_pb2 as pb
from service.wire.calls import Context
from service.wire.stopping import Stopping
from service.wire.zoo_v1.datasets import DatasetCalls, Parts
from service.wire.zoo_v1.jobs import JobCalls


class FineTuningServicer(DatasetCalls, JobCalls):
    """Datasets, and jobs that tune models on them."""

    def __init__(self, datasets: DatasetStore, jobs: JobService) -> None:
        self._datasets = datasets
        self._jobs = jobs
        self._stopping = Stopping()

    def stop(self) -> None:
        """Ends uploads and watchers with UNAVAILABLE; they continue at the server's successor. Call it before the gRPC server
        stops."""
        self._stopping.set()

    # A caller of one of these methods is about to create a job, so its worker process may start meanwhile.

    async def GetUpload(self, request: pb.GetUploadRequest, context: Context) -> pb.GetUploadResponse:  # noqa: N802
        """See fine_tuning.proto."""
        self._jobs.prewarm()
        return await super().GetUpload(request, context)

    async def UploadDataset(self, request_iterator: Parts, context: Context) -> pb.UploadDatasetResponse:  # noqa: N802
        """See fine_tuning.proto."""
        self._jobs.prewarm()
        return await super().UploadDataset(request_iterator, context)

    async def CreateJob(self, request: pb.CreateJobRequest, context: Context) -> pb.CreateJobResponse:  # noqa: N802
        """See fine_tuning.proto."""
        self._jobs.prewarm()
        return await super().CreateJob(request, context)
