"""Fine-tune jobs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import grpc

from service.client._async.connection import AsyncConnection
from service.client.backoff import Backoff
from service.client.concurrency import async_sleep
from service.client.datasets import kind_value
from service.client.jobs import Checkpoint, Job, JobEvent, job_state_value, read_checkpoint, read_event, read_job
from service.client.message_fields import build, whole_number
from service.pb import fine_tuning_pb2 as pb


class AsyncJobs:
    """Creates, watches, controls and deletes jobs."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def create(self, request: pb.CreateJobRequest, timeout: float | None) -> Job:
        """Queues a job."""
        reply = await self._connection.call(self._connection.fine_tuning.CreateJob, request, timeout)
        return read_job(reply.job)

    async def check(self, request: pb.CreateJobRequest, kinds: Sequence[str], timeout: float | None) -> None:
        """Raises the error of `create`, and creates no job."""
        checked = pb.CreateJobRequest(spec=request.spec, validate_only=True, dataset_kinds=map(kind_value, kinds))
        await self._connection.call(self._connection.fine_tuning.CreateJob, checked, timeout)

    async def get(self, job_id: str, timeout: float | None) -> Job:
        """One job in its present state."""
        request = build(pb.GetJobRequest, id=job_id)
        reply = await self._connection.call(self._connection.fine_tuning.GetJob, request, timeout)
        return read_job(reply.job)

    async def list_all(self, state: str, model: str, owner: str, timeout: float | None) -> AsyncIterator[Job]:
        """All jobs that match, newest first, page by page. `timeout` is for each page."""
        token = ""
        while True:
            request = build(
                pb.ListJobsRequest, page_token=token, state=job_state_value(state), model=model, owner=owner
            )
            reply = await self._connection.call(self._connection.fine_tuning.ListJobs, request, timeout)
            for job in reply.jobs:
                yield read_job(job)
            token = reply.next_page_token
            if not token:
                return

    async def cancel(self, job_id: str, timeout: float | None) -> Job:
        """Ends a job."""
        request = build(pb.CancelJobRequest, id=job_id)
        reply = await self._connection.call(self._connection.fine_tuning.CancelJob, request, timeout)
        return read_job(reply.job)

    async def pause(self, job_id: str, timeout: float | None) -> Job:
        """Pauses a job after a checkpoint."""
        request = build(pb.PauseJobRequest, id=job_id)
        reply = await self._connection.call(self._connection.fine_tuning.PauseJob, request, timeout)
        return read_job(reply.job)

    async def resume(self, job_id: str, timeout: float | None) -> Job:
        """Queues a job again."""
        request = build(pb.ResumeJobRequest, id=job_id)
        reply = await self._connection.call(self._connection.fine_tuning.ResumeJob, request, timeout)
        return read_job(reply.job)

    async def delete(self, job_id: str, timeout: float | None) -> int:
        """Deletes a job; returns the freed bytes."""
        request = build(pb.DeleteJobRequest, id=job_id)
        reply = await self._connection.call(self._connection.fine_tuning.DeleteJob, request, timeout)
        return int(reply.freed_bytes)

    async def checkpoints(self, job_id: str, timeout: float | None) -> tuple[Checkpoint, ...]:
        """The present checkpoints of a job, in order of step."""
        request = build(pb.ListCheckpointsRequest, job_id=job_id)
        reply = await self._connection.call(self._connection.fine_tuning.ListCheckpoints, request, timeout)
        return tuple(read_checkpoint(checkpoint) for checkpoint in reply.checkpoints)

    async def watch(self, job_id: str, after: int) -> AsyncIterator[JobEvent]:
        """The events of a job after event `after`, each once, until it has ended. Opens the stream again if it breaks."""
        after = whole_number("after", after)
        backoff = Backoff(self._connection.retry)
        while True:
            request = build(pb.WatchJobRequest, id=job_id, after=after)
            call = self._connection.fine_tuning.WatchJob(request, metadata=self._connection.metadata)
            try:
                async for message in call:
                    event = read_event(message)
                    after = event.sequence
                    backoff.reset()
                    yield event
                return
            except grpc.RpcError as error:
                pause_s = backoff.next_pause(await self._connection.failure(error))
            finally:
                call.cancel()
            await async_sleep(pause_s)
