"""With tokens, a principal sees and changes its own jobs, datasets and uploads, and nobody else's; an admin all."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from grpc import aio

from service.access.rate_limits import Limits
from service.access.scopes import Scope
from service.datasets.dataset_limits import MIB, OwnerQuota
from service.jobs.job_limits import OwnerTerms
from service.jobs.types import JobState
from service.pb import fine_tuning_pb2 as pb
from tests.support.wire.access import Access
from tests.support.wire.fine_tuning import Tuning, dataset, tuning

pytestmark = pytest.mark.asyncio

Metadata = Sequence[tuple[str, str]]
Code = grpc.StatusCode
SPEC = pb.JobSpec(base="b", model="m", dataset_id="ada-data")


@dataclass
class Shared:
    """A job and a dataset each of ada and of bob."""

    t: Tuning
    access: Access
    ada: Metadata
    bob: Metadata
    admin: Metadata


@asynccontextmanager
async def shared() -> AsyncIterator[Shared]:
    access = Access()
    async with tuning(guard=access.guard) as t:
        t.datasets.known = {
            f"{name}-data": dataset(f"{name}-data").model_copy(update={"owner": name}) for name in ("ada", "bob")
        }
        for name in ("ada", "bob"):
            t.jobs.add(f"{name}-job", JobState.PAUSED, owner=name)
        yield Shared(
            t,
            access,
            await access.token("ada", Scope.FINETUNE),
            await access.token("bob", Scope.FINETUNE),
            await access.token("root", Scope.ADMIN),
        )


async def code_of(call: Any) -> Code:
    """The code with which a call ends."""
    try:
        if hasattr(call, "__aiter__"):
            async for _ in call:
                break
        else:
            await call
    except aio.AioRpcError as error:
        return error.code()
    return Code.OK


ON_JOBS: dict[str, Any] = {
    "GetJob": pb.GetJobRequest,
    "PauseJob": pb.PauseJobRequest,
    "ResumeJob": pb.ResumeJobRequest,
    "CancelJob": pb.CancelJobRequest,
    "ListCheckpoints": lambda **named: pb.ListCheckpointsRequest(job_id=named["id"]),
    "DeleteJob": pb.DeleteJobRequest,
}
ON_DATASETS: dict[str, Any] = {
    "GetDataset": pb.GetDatasetRequest,
    "DeleteDataset": lambda **named: pb.DeleteDatasetRequest(force=True, **named),
}
ON_OBJECTS = [(method, make, "ada-job", "nobody") for method, make in ON_JOBS.items()] + [
    (method, make, "ada-data", "nobody") for method, make in ON_DATASETS.items()
]


@pytest.mark.parametrize(("method", "make", "name", "missing"), ON_OBJECTS, ids=[case[0] for case in ON_OBJECTS])
async def test_object_of_another_principal_is_not_found_as_one_that_does_not_exist(
    method: str, make: Any, name: str, missing: str
) -> None:
    async with shared() as s:
        call = getattr(s.t.stub, method)
        texts = []
        for wanted in (name, missing):
            with pytest.raises(aio.AioRpcError) as caught:
                await call(make(id=wanted), metadata=s.bob)
            assert caught.value.code() is Code.NOT_FOUND
            texts.append((caught.value.details() or "").replace(wanted, "X"))
        assert texts[0] == texts[1]
        assert "ada-job" in s.t.jobs.jobs
        assert "ada-data" in s.t.datasets.known


@pytest.mark.parametrize(("method", "make", "name", "missing"), ON_OBJECTS, ids=[case[0] for case in ON_OBJECTS])
@pytest.mark.parametrize("who", ["ada", "admin"])
async def test_owner_and_admin_reach_the_object(method: str, make: Any, name: str, missing: str, who: str) -> None:
    async with shared() as s:
        code = await code_of(getattr(s.t.stub, method)(make(id=name), metadata=getattr(s, who)))
        assert code in (Code.OK, Code.FAILED_PRECONDITION)  # whatever the state of the job allows


async def test_events_of_a_job_of_another_principal_are_not_found() -> None:
    async with shared() as s:
        assert await code_of(s.t.stub.WatchJob(pb.WatchJobRequest(id="ada-job"), metadata=s.bob)) is Code.NOT_FOUND


async def test_lists_have_the_own_objects_alone() -> None:
    async with shared() as s:
        for who, names in (("ada", ["ada"]), ("bob", ["bob"]), ("admin", ["ada", "bob"])):
            metadata = getattr(s, who)
            jobs = (await s.t.stub.ListJobs(pb.ListJobsRequest(), metadata=metadata)).jobs
            assert sorted(job.id for job in jobs) == [f"{name}-job" for name in names]
            datasets = (await s.t.stub.ListDatasets(pb.ListDatasetsRequest(), metadata=metadata)).datasets
            assert sorted(found.id for found in datasets) == [f"{name}-data" for name in names]


async def test_filter_by_another_owner_is_denied_but_to_an_admin() -> None:
    async with shared() as s:
        request = pb.ListJobsRequest(owner="ada")
        assert await code_of(s.t.stub.ListJobs(request, metadata=s.bob)) is Code.PERMISSION_DENIED
        assert await code_of(s.t.stub.ListJobs(request, metadata=s.ada)) is Code.OK
        assert await code_of(s.t.stub.ListJobs(request, metadata=s.admin)) is Code.OK


@pytest.mark.parametrize("validate_only", [False, True])
async def test_job_on_data_of_another_principal_is_not_found(validate_only: bool) -> None:
    async with shared() as s:
        request = pb.CreateJobRequest(spec=SPEC, validate_only=validate_only)
        assert await code_of(s.t.stub.CreateJob(request, metadata=s.bob)) is Code.NOT_FOUND
        assert await code_of(s.t.stub.CreateJob(request, metadata=s.ada)) is Code.OK


async def test_job_belongs_to_the_principal_whatever_the_metadata_claim() -> None:
    async with shared() as s:
        metadata = (*s.ada, ("zoo-owner", "bob"))
        reply = await s.t.stub.CreateJob(pb.CreateJobRequest(spec=SPEC), metadata=metadata)
        assert reply.job.owner == "ada"


@pytest.mark.parametrize("field", ["base", "model"])
async def test_job_with_a_model_beyond_the_token_is_denied(field: str) -> None:
    async with shared() as s:
        token = await s.access.token("ada", Scope.FINETUNE, models=("b", "m"))
        spec = pb.JobSpec(base="b", model="m", dataset_id="ada-data")
        assert await code_of(s.t.stub.CreateJob(pb.CreateJobRequest(spec=spec), metadata=token)) is Code.OK
        setattr(spec, field, "other")
        denied = s.t.stub.CreateJob(pb.CreateJobRequest(spec=spec), metadata=token)
        assert await code_of(denied) is Code.PERMISSION_DENIED


async def test_limits_of_the_token_reach_jobs_and_uploads() -> None:
    async with shared() as s:
        limits = Limits(jobs=2, datasets=3, dataset_mib=4)
        token = await s.access.token("ada", Scope.FINETUNE, limits=limits)
        await s.t.stub.CreateJob(pb.CreateJobRequest(spec=SPEC), metadata=token)
        header = pb.UploadHeader(sha256="b" * 64, size_bytes=1, file_name="a.csv")
        parts = [pb.UploadDatasetRequest(header=header), pb.UploadDatasetRequest(chunk=b"x")]
        await s.t.stub.UploadDataset(iter(parts), metadata=token)
        assert s.t.jobs.terms == [OwnerTerms(2, sole=True)]
        assert s.t.datasets.quotas == [OwnerQuota(3, 4 * MIB)]
        assert (s.t.datasets.uploads[0].header.owner, s.t.datasets.uploads[0].header.private) == ("ada", True)


async def test_job_of_an_admin_may_make_versions_of_any_model() -> None:
    async with shared() as s:
        await s.t.stub.CreateJob(pb.CreateJobRequest(spec=SPEC), metadata=s.admin)
        assert s.t.jobs.terms == [OwnerTerms(0, sole=False)]


async def test_upload_of_another_principal_is_as_one_that_does_not_exist() -> None:
    async with shared() as s:
        request = pb.GetUploadRequest(sha256="a" * 64)
        assert (await s.t.stub.GetUpload(request, metadata=s.ada)).received_bytes == 0


async def test_without_tokens_everyone_sees_all_and_the_metadata_name_the_owner() -> None:
    async with tuning() as t:
        t.jobs.add("job", owner="ada")
        assert (await t.stub.GetJob(pb.GetJobRequest(id="job"), metadata=(("zoo-owner", "bob"),))).job.owner == "ada"
        assert (await t.stub.GetUpload(pb.GetUploadRequest(sha256="a" * 64))).received_bytes == 7
        spec = pb.JobSpec(base="b", model="m", dataset_id="d1")
        reply = await t.stub.CreateJob(pb.CreateJobRequest(spec=spec), metadata=(("zoo-owner", "bob"),))
        assert reply.job.owner == "bob"
        assert t.jobs.terms == [OwnerTerms()]


@pytest.mark.parametrize(("method", "make"), list(ON_JOBS.items()), ids=list(ON_JOBS))
async def test_own_job_for_a_model_beyond_the_token_is_not_found(method: str, make: Any) -> None:
    async with shared() as s:
        token = await s.access.token("ada", Scope.FINETUNE, models=("zzz*",))
        assert await code_of(getattr(s.t.stub, method)(make(id="ada-job"), metadata=token)) is Code.NOT_FOUND
        assert len((await s.t.stub.ListJobs(pb.ListJobsRequest(), metadata=token)).jobs) == 0
