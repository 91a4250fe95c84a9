"""The job methods of `zoo.v1.FineTuning`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing

from service.datasets.dataset_store import DatasetStore
from service.errors import InvalidInput
from service.inference import current_call
from service.jobs.job_service import JobService
from service.pb import fine_tuning_pb2 as pb
from service.pb import fine_tuning_pb2_grpc
from service.wire.calls import Context
from service.wire.stopping import Stopping
from service.wire.zoo_v1.datasets_convert import read_kinds
from service.wire.zoo_v1.jobs_convert import (
    read_request_id,
    read_spec,
    read_state,
    without_nul,
    write_checkpoint,
    write_event,
    write_job,
    write_spec,
)
from service.wire.zoo_v1.owner import check_dataset_is_own, listed_owner, may_see, own_job, owner_of, terms_of_caller
from service.wire.zoo_v1.pages import page_size, read_token, write_token

LAST_EVENT = 2**31 - 1
"""No job has so many events; databases count in 32 bits."""


class JobCalls(fine_tuning_pb2_grpc.FineTuningServicer):
    """Creates, shows, pauses, resumes, cancels, deletes and watches jobs."""

    _jobs: JobService
    _datasets: DatasetStore
    _stopping: Stopping

    async def CreateJob(self, request: pb.CreateJobRequest, context: Context) -> pb.CreateJobResponse:  # noqa: N802
        """See fine_tuning.proto."""
        if not request.HasField("spec"):
            raise InvalidInput("spec", "is required")
        owner, request_id, terms = owner_of(context), read_request_id(request.request_id), terms_of_caller()
        spec = read_spec(request.spec, without_data=request.validate_only)
        await check_dataset_is_own(self._datasets, spec.dataset_id)
        if request.validate_only:
            kinds = read_kinds(request.dataset_kinds)
            chosen = await self._jobs.check(spec, kinds, owner, terms)
            return pb.CreateJobResponse(job=pb.Job(spec=write_spec(chosen), owner=owner))
        job = await self._jobs.create(spec, request_id, owner, terms)
        if (call := current_call.get(None)) is not None:
            call.job_id = job.id
        return pb.CreateJobResponse(job=write_job(job))

    async def GetJob(self, request: pb.GetJobRequest, context: Context) -> pb.GetJobResponse:  # noqa: N802
        """See fine_tuning.proto."""
        return pb.GetJobResponse(job=write_job(await self._jobs.get(await own_job(self._jobs, required(request.id)))))

    async def ListJobs(self, request: pb.ListJobsRequest, context: Context) -> pb.ListJobsResponse:  # noqa: N802
        """See fine_tuning.proto."""
        filters = ("jobs", request.state, request.model, request.owner)
        page = await self._jobs.list(
            page_size(request.page_size),
            read_token(request.page_token, *filters),
            state=read_state(request.state),
            model=without_nul(request.model, "model"),
            owner=listed_owner(without_nul(request.owner, "owner")),
        )
        following = write_token(page.next_token, *filters)
        return pb.ListJobsResponse(
            jobs=[write_job(job) for job in page.jobs if may_see(job)], next_page_token=following
        )

    async def CancelJob(self, request: pb.CancelJobRequest, context: Context) -> pb.CancelJobResponse:  # noqa: N802
        """See fine_tuning.proto."""
        return pb.CancelJobResponse(
            job=write_job(await self._jobs.cancel(await own_job(self._jobs, required(request.id))))
        )

    async def PauseJob(self, request: pb.PauseJobRequest, context: Context) -> pb.PauseJobResponse:  # noqa: N802
        """See fine_tuning.proto."""
        return pb.PauseJobResponse(
            job=write_job(await self._jobs.pause(await own_job(self._jobs, required(request.id))))
        )

    async def ResumeJob(self, request: pb.ResumeJobRequest, context: Context) -> pb.ResumeJobResponse:  # noqa: N802
        """See fine_tuning.proto."""
        return pb.ResumeJobResponse(
            job=write_job(await self._jobs.resume(await own_job(self._jobs, required(request.id)), terms_of_caller()))
        )

    async def DeleteJob(self, request: pb.DeleteJobRequest, context: Context) -> pb.DeleteJobResponse:  # noqa: N802
        """See fine_tuning.proto."""
        return pb.DeleteJobResponse(
            freed_bytes=await self._jobs.delete(await own_job(self._jobs, required(request.id)))
        )

    async def WatchJob(  # noqa: N802
        self, request: pb.WatchJobRequest, context: Context
    ) -> AsyncIterator[pb.WatchJobResponse]:
        """See fine_tuning.proto. Reads an event when the event before was sent, so a slow reader delays only itself."""
        if not 0 <= request.after <= LAST_EVENT:
            raise InvalidInput("after", f"expected 0 to {LAST_EVENT}, got {request.after}")
        job_id = await own_job(self._jobs, required(request.id))
        async with (
            aclosing(self._jobs.watch(job_id, request.after)) as happened,
            aclosing(self._stopping.each(happened)) as events,
        ):
            async for event, job in events:
                yield pb.WatchJobResponse(event=write_event(event), job=None if job is None else write_job(job))

    async def ListCheckpoints(  # noqa: N802
        self, request: pb.ListCheckpointsRequest, context: Context
    ) -> pb.ListCheckpointsResponse:
        """See fine_tuning.proto."""
        found = await self._jobs.checkpoints(await own_job(self._jobs, required(request.job_id, "job_id")))
        return pb.ListCheckpointsResponse(checkpoints=[write_checkpoint(checkpoint) for checkpoint in found])


def required(text: str, field: str = "id") -> str:
    """Raises InvalidInput for an empty field, and as `without_nul`."""
    if not text:
        raise InvalidInput(field, "is required")
    return without_nul(text, field)
