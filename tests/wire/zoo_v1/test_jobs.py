"""Jobs over the wire: created, moved, listed and watched."""

import asyncio
from typing import Any

import grpc
import pytest
from google.protobuf import struct_pb2
from google.rpc import error_details_pb2 as details
from grpc import aio

from service.datasets.dataset import DatasetKind
from service.jobs.types import JobState, Log, Metric, Progress, StateChanged
from service.pb import fine_tuning_pb2 as pb
from service.training.job_spec import Method, Promotion
from service.wire.zoo_v1.pages import write_token
from tests.support.wire.calls import detail, status_in, until
from tests.support.wire.fine_tuning import CHECKPOINT, NOW, tuning

pytestmark = pytest.mark.asyncio
OWNER = (("zoo-owner", "ann@shop"),)


def asked(**fields: Any) -> pb.CreateJobRequest:
    whole = {"base": "mobilenetv2_100", "dataset_id": "d1", "model": "pets", **fields}
    return pb.CreateJobRequest(spec=pb.JobSpec(**whole), request_id="r1")


def struct(**values: Any) -> struct_pb2.Struct:
    made = struct_pb2.Struct()
    made.update(values)
    return made


async def refused(call: Any, field: str) -> str:
    with pytest.raises(aio.AioRpcError) as caught:
        await call
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT, caught.value.details()
    bad = detail(status_in(caught.value), details.BadRequest)
    assert bad is not None
    assert bad.field_violations[0].field == field
    return bad.field_violations[0].description


# ── creating ──────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_job_is_created_as_it_was_asked_for() -> None:
    async with tuning() as t:
        request = asked(
            task="image-classification",
            method=pb.METHOD_LORA,
            hyperparameters=struct(epochs=5, learning_rate=0.0003, head="mlp", nested=[1, 2.5]),
            seed=2**62,
            priority=9,
            promotion=pb.PROMOTION_NEVER,
            display_name="Pets",
        )
        job = (await t.stub.CreateJob(request)).job
        assert t.jobs.requests == ["r1"]
        spec = t.jobs.jobs["new"].spec
        assert (spec.method, spec.promotion, spec.priority, spec.seed) == (Method.LORA, Promotion.NEVER, 9, 2**62)
        assert spec.hyperparameters == {"epochs": 5, "learning_rate": 0.0003, "head": "mlp", "nested": [1, 2.5]}
        assert type(spec.hyperparameters["epochs"]) is int, "a Struct knows no integers, a job does"
        assert job.spec == request.spec
        assert (job.id, job.state, job.create_time.ToDatetime()) == (
            "new",
            pb.JOB_STATE_QUEUED,
            NOW.replace(tzinfo=None),
        )
        assert not job.HasField("start_time")
        assert not job.HasField("progress")


async def test_job_fields_left_out_have_defaults() -> None:
    async with tuning() as t:
        await t.stub.CreateJob(asked())
        spec = t.jobs.jobs["new"].spec
        assert (spec.method, spec.promotion, spec.priority, spec.seed) == (Method.AUTO, Promotion.GATED, 5, 0)


@pytest.mark.parametrize(
    ("fields", "field", "says"),
    [
        ({"base": ""}, "spec.base", "is required"),
        ({"dataset_id": ""}, "spec.dataset_id", "is required"),
        ({"model": ""}, "spec.model", "is required"),
        ({"model": "Pets!"}, "spec.model", "lower-case letters, digits and underscores"),
        ({"model": "../up"}, "spec.model", "got '../up'"),
        ({"model": "p" * 64}, "spec.model", "at most 63 characters"),
        ({"seed": -1}, "spec.seed", "expected a whole number of 0 or more, got -1"),
        ({"priority": 10}, "spec.priority", "expected 1 to 9"),
        ({"method": 77}, "spec.method", "got 77"),
        ({"promotion": 77}, "spec.promotion", "got 77"),
        ({"display_name": "x" * 129}, "spec.display_name", "at most 128 characters"),
    ],
)
async def test_impossible_job_is_refused_with_the_field(fields: dict[str, Any], field: str, says: str) -> None:
    async with tuning() as t:
        assert says in await refused(t.stub.CreateJob(asked(**fields)), field)
        assert not t.jobs.requests


async def test_a_request_without_a_spec_or_with_a_long_id_is_refused() -> None:
    async with tuning() as t:
        await refused(t.stub.CreateJob(pb.CreateJobRequest()), "spec")
        long = asked()
        long.request_id = "x" * 129
        assert "at most 128" in await refused(t.stub.CreateJob(long), "request_id")


async def test_validate_only_checks_a_job_without_its_data() -> None:
    async with tuning() as t:
        request = asked(dataset_id="", method=pb.METHOD_LORA)
        request.validate_only = True
        request.dataset_kinds.extend([pb.DATASET_KIND_TEXT, pb.DATASET_KIND_UNSPECIFIED])
        job = (await t.stub.CreateJob(request, metadata=OWNER)).job
        assert (job.id, job.state, job.spec.task, job.owner) == ("", 0, "image-classification", "ann@shop")
        [(spec, kinds, owner)] = t.jobs.judged
        assert (spec.dataset_id, spec.method, kinds, owner) == ("", Method.LORA, (DatasetKind.TEXT,), "ann@shop")
        assert not t.jobs.requests
        request.dataset_kinds.append(99)
        assert "got 99" in await refused(t.stub.CreateJob(request), "dataset_kinds[2]")
        request.spec.model = "My Pets"
        assert "'my_pets' would do" in await refused(t.stub.CreateJob(request), "spec.model")
        await refused(t.stub.CreateJob(asked(dataset_id="")), "spec.dataset_id")


# ── owners ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_job_and_dataset_have_the_owner_of_the_call_or_none() -> None:
    async with tuning() as t:
        assert (await t.stub.CreateJob(asked(), metadata=OWNER)).job.owner == "ann@shop"
        assert (await t.stub.CreateJob(asked())).job.owner == ""
        assert (await t.stub.CreateJob(asked(), metadata=(("zoo-owner", ""),))).job.owner == ""
        header = pb.UploadHeader(sha256="a" * 64, size_bytes=1, file_name="a.csv")
        parts = [pb.UploadDatasetRequest(header=header), pb.UploadDatasetRequest(chunk=b"x")]
        await t.stub.UploadDataset(iter(parts), metadata=OWNER)
        assert t.datasets.uploads[0].header.owner == "ann@shop"
        fetch = pb.UploadDatasetRequest(header=pb.UploadHeader(uri="s3://b/k"))
        await t.stub.UploadDataset(iter([fetch]), metadata=OWNER)
        assert t.datasets.uris[0]["owner"] == "ann@shop"


@pytest.mark.parametrize(
    ("metadata", "says"),
    [
        ((("zoo-owner", "ann"), ("zoo-owner", "bob")), "came more than once"),
        ((("zoo-owner", "x" * 65),), "at most 64 characters"),
        ((("zoo-owner", "ann, bob"),), "expected letters, digits"),
        ((("zoo-owner", "-ann"),), "expected letters, digits"),
        ((("zoo-owner", "../ann"),), "expected letters, digits"),
    ],
)
async def test_malformed_owner_is_refused(metadata: Any, says: str) -> None:
    async with tuning() as t:
        assert says in await refused(t.stub.CreateJob(asked(), metadata=metadata), "zoo-owner")
        assert not t.jobs.requests
        header = pb.UploadDatasetRequest(header=pb.UploadHeader(sha256="a" * 64, size_bytes=1, file_name="a.csv"))
        await refused(t.stub.UploadDataset(iter([header]), metadata=metadata), "zoo-owner")
        assert not t.datasets.uploads


# ── showing and moving ────────────────────────────────────────────────────────────────────────────────────────────


async def test_job_is_written_with_all_its_fields() -> None:
    async with tuning() as t:
        progress = Progress(phase="training", ratio=0.5, step=5, steps=10, epoch=2, remaining_s=1.5)
        t.jobs.add(
            "j1", JobState.SUCCEEDED, state_reason="why", progress=progress, metrics={"test/accuracy": 0.9}, version=3,
            promotion_outcome="moved", started=NOW, ended=NOW, attempts=2, yielding=True, owner="me", last_event=7,
        )  # fmt: skip
        job = (await t.stub.GetJob(pb.GetJobRequest(id="j1"))).job
        assert (job.state, job.state_reason, job.version, job.promotion_outcome) == (5, "why", 3, "moved")
        assert (job.progress.phase, job.progress.ratio, job.progress.step, job.progress.epoch) == (
            "training",
            0.5,
            5,
            2,
        )
        assert job.progress.remaining.ToTimedelta().total_seconds() == 1.5
        assert (dict(job.metrics), job.attempts, job.yielding, job.owner) == ({"test/accuracy": 0.9}, 2, True, "me")
        assert (job.last_event, job.end_time.seconds) == (7, int(NOW.timestamp()))


async def test_jobs_are_listed_in_pages_that_belong_to_their_filters() -> None:
    async with tuning() as t:
        for i in range(5):
            t.jobs.add(f"j{i}", JobState.RUNNING if i % 2 else JobState.QUEUED, model="pets" if i else "cars")
        first = await t.stub.ListJobs(pb.ListJobsRequest(page_size=2))
        assert [job.id for job in first.jobs] == ["j0", "j1"]
        rest = await t.stub.ListJobs(pb.ListJobsRequest(page_token=first.next_page_token))
        assert ([job.id for job in rest.jobs], rest.next_page_token) == (["j2", "j3", "j4"], "")
        running = await t.stub.ListJobs(pb.ListJobsRequest(state=pb.JOB_STATE_RUNNING))
        assert [job.id for job in running.jobs] == ["j1", "j3"]
        assert [job.id for job in (await t.stub.ListJobs(pb.ListJobsRequest(model="cars"))).jobs] == ["j0"]
        t.jobs.add("j5", owner="ann")
        assert [job.id for job in (await t.stub.ListJobs(pb.ListJobsRequest(owner="ann"))).jobs] == ["j5"]
        theirs = pb.ListJobsRequest(owner="ann", page_token=first.next_page_token)
        assert "other filters" in await refused(t.stub.ListJobs(theirs), "page_token")
        other = pb.ListJobsRequest(model="cars", page_token=first.next_page_token)
        assert "other filters" in await refused(t.stub.ListJobs(other), "page_token")
        await refused(t.stub.ListJobs(pb.ListJobsRequest(page_token="%%%")), "page_token")
        await refused(t.stub.ListJobs(pb.ListJobsRequest(page_size=-1)), "page_size")
        await refused(t.stub.ListJobs(pb.ListJobsRequest(state=99)), "state")


async def test_illegal_moves_of_jobs_are_refused() -> None:
    async with tuning() as t:
        t.jobs.add("j1", JobState.RUNNING)
        assert (await t.stub.CancelJob(pb.CancelJobRequest(id="j1"))).job.state == pb.JOB_STATE_CANCELLING
        assert (await t.stub.ResumeJob(pb.ResumeJobRequest(id="j1"))).job.state == pb.JOB_STATE_QUEUED
        with pytest.raises(aio.AioRpcError) as caught:
            await t.stub.PauseJob(pb.PauseJobRequest(id="j1"))
        assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        [checkpoint] = (await t.stub.ListCheckpoints(pb.ListCheckpointsRequest(job_id="j1"))).checkpoints
        assert (checkpoint.step, checkpoint.best, dict(checkpoint.metrics)) == (20, True, {"validation/accuracy": 0.9})


async def test_only_a_job_that_has_ended_is_deleted() -> None:
    async with tuning() as t:
        t.jobs.add("j1", JobState.RUNNING)
        t.jobs.add("j2", JobState.FAILED)
        with pytest.raises(aio.AioRpcError) as caught:
            await t.stub.DeleteJob(pb.DeleteJobRequest(id="j1"))
        assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert (await t.stub.DeleteJob(pb.DeleteJobRequest(id="j2"))).freed_bytes == 1234
        assert list(t.jobs.jobs) == ["j1"]


async def test_calls_for_an_unknown_job_are_not_found() -> None:
    async with tuning() as t:
        calls: dict[Any, Any] = {
            t.stub.GetJob: pb.GetJobRequest,
            t.stub.CancelJob: pb.CancelJobRequest,
            t.stub.PauseJob: pb.PauseJobRequest,
            t.stub.ResumeJob: pb.ResumeJobRequest,
            t.stub.DeleteJob: pb.DeleteJobRequest,
        }
        for call, request in calls.items():
            await refused(call(request()), "id")
            with pytest.raises(aio.AioRpcError) as caught:
                await call(request(id="none"))
            assert caught.value.code() is grpc.StatusCode.NOT_FOUND
        await refused(t.stub.ListCheckpoints(pb.ListCheckpointsRequest()), "job_id")
        await refused(t.stub.WatchJob(pb.WatchJobRequest()).read(), "id")
        await refused(t.stub.WatchJob(pb.WatchJobRequest(id="j", after=-1)).read(), "after")
        with pytest.raises(aio.AioRpcError) as caught:
            await t.stub.WatchJob(pb.WatchJobRequest(id="none")).read()
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND


# ── watching ──────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_watcher_sees_every_kind_of_event_until_the_job_has_ended() -> None:
    async with tuning() as t:
        t.jobs.add("j1")
        messages = aiter(t.stub.WatchJob(pb.WatchJobRequest(id="j1")))
        await t.jobs.tell("j1", StateChanged(JobState.RUNNING))
        first = await anext(messages)
        assert (first.event.sequence, first.event.state.state) == (1, pb.JOB_STATE_RUNNING)
        assert first.job.id == "j1"
        metric = Metric(name="loss", split="train", value=0.5, step=3, epoch=1)
        await t.jobs.tell(
            "j1", Progress(phase="training", ratio=0.5), metric, Log(level="warning", text="hm"), CHECKPOINT
        )
        await t.jobs.tell("j1", StateChanged(JobState.FAILED, "it diverges"))
        rest = [message async for message in messages]
        assert [message.event.WhichOneof("kind") for message in rest] == [
            "progress", "metric", "log", "checkpoint", "state",
        ]  # fmt: skip
        assert (rest[1].event.metric.value, rest[1].event.metric.step) == (0.5, 3)
        assert rest[2].event.log == pb.LogLine(level="warning", text="hm")
        assert rest[4].event.state == pb.StateChanged(state=pb.JOB_STATE_FAILED, reason="it diverges")
        assert rest[4].job.state == pb.JOB_STATE_FAILED
        await until(lambda: t.calls("WatchJob.stream", "OK") == 1)


async def test_watcher_starts_after_the_requested_event() -> None:
    async with tuning() as t:
        t.jobs.add("j1")
        await t.jobs.tell("j1", *[Log(level="info", text=str(i)) for i in range(9)], StateChanged(JobState.CANCELLED))
        seen = [m async for m in t.stub.WatchJob(pb.WatchJobRequest(id="j1", after=7))]
        assert [m.event.sequence for m in seen] == [8, 9, 10]
        assert [m.HasField("job") for m in seen] == [False, False, True]
        assert [m async for m in t.stub.WatchJob(pb.WatchJobRequest(id="j1", after=10))] == []


async def test_slow_watcher_does_not_delay_others() -> None:
    async with tuning() as t:
        t.jobs.add("j1")
        lines = [Log(level="info", text="x" * 10_000) for _ in range(500)]
        await t.jobs.tell("j1", *lines, StateChanged(JobState.SUCCEEDED))
        slow = aiter(t.stub.WatchJob(pb.WatchJobRequest(id="j1")))
        await anext(slow)
        quick = [m async for m in t.stub.WatchJob(pb.WatchJobRequest(id="j1"))]
        assert len(quick) == 501
        assert t.jobs.drawn < 1002, "for one that does not read, nothing is made ready"
        assert 1 + len([m async for m in slow]) == 501


async def test_cancelled_watcher_is_removed() -> None:
    async with tuning() as t:
        t.jobs.add("j1")
        await t.jobs.tell("j1", Log(level="info", text="x"))
        call = t.stub.WatchJob(pb.WatchJobRequest(id="j1"))
        await call.read()
        call.cancel()
        await until(lambda: t.jobs.left == 1)


async def test_stopping_server_ends_watchers_with_unavailable() -> None:
    async with tuning() as t:
        t.jobs.add("j1")
        await t.jobs.tell("j1", Log(level="info", text="x"))
        calls = [t.stub.WatchJob(pb.WatchJobRequest(id="j1")) for _ in range(3)]
        for call in calls:
            await call.read()
        t.servicer.stop()
        for call in calls:
            with pytest.raises(aio.AioRpcError) as caught:
                await asyncio.wait_for(call.read(), 20)
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
            assert "shutting down" in (caught.value.details() or "")
        await until(lambda: t.jobs.left == 3)


async def test_text_with_nul_is_refused_with_its_field() -> None:
    async with tuning() as t:
        for call, request in (
            (t.stub.GetJob, pb.GetJobRequest),
            (t.stub.CancelJob, pb.CancelJobRequest),
            (t.stub.PauseJob, pb.PauseJobRequest),
            (t.stub.ResumeJob, pb.ResumeJobRequest),
            (t.stub.DeleteJob, pb.DeleteJobRequest),
        ):
            assert "without NUL" in await refused(call(request(id="a\0b")), "id")
        assert "without NUL" in await refused(t.stub.ListCheckpoints(pb.ListCheckpointsRequest(job_id="\0")), "job_id")
        assert "without NUL" in await refused(t.stub.ListJobs(pb.ListJobsRequest(model="a\0")), "model")
        assert "without NUL" in await refused(t.stub.ListJobs(pb.ListJobsRequest(owner="a\0")), "owner")
        whole = asked()
        whole.request_id = "r\0"
        assert "without NUL" in await refused(t.stub.CreateJob(whole), "request_id")
        token = write_token("a\0", "jobs", 0, "", "")
        await refused(t.stub.ListJobs(pb.ListJobsRequest(page_token=token)), "page_token")


async def test_a_watch_that_begins_after_more_events_than_there_can_be_is_refused() -> None:
    async with tuning() as t:
        call = t.stub.WatchJob(pb.WatchJobRequest(id="j1", after=2**63 - 1))
        assert "expected 0 to" in await refused(call.read(), "after")
