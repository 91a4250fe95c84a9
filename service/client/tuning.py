"""Plans of the verbs about datasets, jobs and versions: request built, reply read, no channel."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from service.client.datasets import Columns, Dataset, kind_value, read_dataset, write_columns
from service.client.errors import JobFailed
from service.client.jobs import Checkpoint, Job, job_state_value, read_checkpoint, read_job
from service.client.models import ModelInfo, read_model
from service.client.plan import Call, Plan
from service.client.upload import Source
from service.client.versions import (
    FineTuned,
    RolledBack,
    VersionReport,
    Versions,
    read_report,
    read_rolled_back,
    read_versions,
)
from service.pb import fine_tuning_pb2 as pb
from service.pb import models_pb2

STABLE = "stable"


# ── datasets ──────────────────────────────────────────────────────────────────────────────────────────────────────


def is_uri(data: str | Path) -> bool:
    """Whether the server is to fetch the data itself."""
    return isinstance(data, str) and "://" in data


def upload_header(display_name: str, kind: str, columns: Columns | Mapping[str, str] | None) -> pb.UploadHeader:
    """What is known of a dataset before its bytes are. Raises BadInput for a kind or column that is none."""
    return pb.UploadHeader(
        display_name=display_name, kind=kind_value(kind), columns=None if columns is None else write_columns(columns)
    )


def with_source(header: pb.UploadHeader, source: Source) -> pb.UploadHeader:
    """The header, with what is known of the file."""
    header.sha256, header.size_bytes, header.file_name = source.sha256, source.size_bytes, source.file_name
    header.display_name = header.display_name or source.file_name[:128]
    return header


def received(sha256: str, timeout: float | None) -> Plan[int]:
    """How many bytes of an upload the server has."""
    reply = yield Call(lambda stubs: stubs.fine_tuning.GetUpload, pb.GetUploadRequest(sha256=sha256), timeout)
    return int(reply.received_bytes)


def datasets_page(token: str, kind: str, timeout: float | None) -> Plan[tuple[list[Dataset], str]]:
    """One page of datasets, and the token of the next or empty."""
    request = pb.ListDatasetsRequest(page_token=token, kind=kind_value(kind))
    reply = yield Call(lambda stubs: stubs.fine_tuning.ListDatasets, request, timeout)
    return [read_dataset(dataset) for dataset in reply.datasets], reply.next_page_token


def dataset(dataset_id: str, timeout: float | None) -> Plan[Dataset]:
    """One dataset with its report."""
    reply = yield Call(lambda stubs: stubs.fine_tuning.GetDataset, pb.GetDatasetRequest(id=dataset_id), timeout)
    return read_dataset(reply.dataset)


def delete_dataset(dataset_id: str, force: bool, timeout: float | None) -> Plan[int]:
    """Deletes a dataset; gives the bytes that came back."""
    request = pb.DeleteDatasetRequest(id=dataset_id, force=force)
    reply = yield Call(lambda stubs: stubs.fine_tuning.DeleteDataset, request, timeout)
    return int(reply.freed_bytes)


# ── jobs ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def create_job(request: pb.CreateJobRequest, timeout: float | None) -> Plan[Job]:
    """Queues a job."""
    reply = yield Call(lambda stubs: stubs.fine_tuning.CreateJob, request, timeout)
    return read_job(reply.job)


def job(job_id: str, timeout: float | None) -> Plan[Job]:
    """One job."""
    reply = yield Call(lambda stubs: stubs.fine_tuning.GetJob, pb.GetJobRequest(id=job_id), timeout)
    return read_job(reply.job)


def jobs_page(token: str, state: str, model: str, timeout: float | None) -> Plan[tuple[list[Job], str]]:
    """One page of jobs, and the token of the next or empty."""
    request = pb.ListJobsRequest(page_token=token, state=job_state_value(state), model=model)
    reply = yield Call(lambda stubs: stubs.fine_tuning.ListJobs, request, timeout)
    return [read_job(job) for job in reply.jobs], reply.next_page_token


def cancel_job(job_id: str, timeout: float | None) -> Plan[Job]:
    """Ends a job."""
    reply = yield Call(lambda stubs: stubs.fine_tuning.CancelJob, pb.CancelJobRequest(id=job_id), timeout)
    return read_job(reply.job)


def pause_job(job_id: str, timeout: float | None) -> Plan[Job]:
    """Lets a job rest."""
    reply = yield Call(lambda stubs: stubs.fine_tuning.PauseJob, pb.PauseJobRequest(id=job_id), timeout)
    return read_job(reply.job)


def resume_job(job_id: str, timeout: float | None) -> Plan[Job]:
    """Queues a job again."""
    reply = yield Call(lambda stubs: stubs.fine_tuning.ResumeJob, pb.ResumeJobRequest(id=job_id), timeout)
    return read_job(reply.job)


def checkpoints(job_id: str, timeout: float | None) -> Plan[tuple[Checkpoint, ...]]:
    """The checkpoints that a job has now, in order of step."""
    request = pb.ListCheckpointsRequest(job_id=job_id)
    reply = yield Call(lambda stubs: stubs.fine_tuning.ListCheckpoints, request, timeout)
    return tuple(read_checkpoint(checkpoint) for checkpoint in reply.checkpoints)


def finished(data: Dataset, job_id: str, timeout: float | None) -> Plan[FineTuned]:
    """A job that has ended, with what it became. Raises JobFailed where it became nothing."""
    ended = yield from job(job_id, timeout)
    if ended.state != "SUCCEEDED":
        raise JobFailed(ended)
    known = yield from versions(ended.model, timeout)
    made = next((version for version in known.versions if version.number == ended.version), None)
    return FineTuned(ended, data, made)


# ── versions ──────────────────────────────────────────────────────────────────────────────────────────────────────


def versions(model: str, timeout: float | None) -> Plan[Versions]:
    """The versions of a model."""
    request = models_pb2.ListVersionsRequest(model=model)
    return read_versions((yield Call(lambda stubs: stubs.models.ListVersions, request, timeout)))


def report(model: str, version: str, timeout: float | None) -> Plan[VersionReport]:
    """How a version did on held-out data."""
    request = models_pb2.GetReportRequest(model=model, version=version)
    return read_report(model, (yield Call(lambda stubs: stubs.models.GetReport, request, timeout)))


def delete_version(model: str, version: int, timeout: float | None) -> Plan[int]:
    """Deletes a version; gives the bytes that came back."""
    request = models_pb2.DeleteVersionRequest(model=model, version=version)
    reply = yield Call(lambda stubs: stubs.models.DeleteVersion, request, timeout)
    return int(reply.freed_bytes)


def set_alias(model: str, alias: str, version: int, timeout: float | None) -> Plan[ModelInfo]:
    """Points an alias at a version."""
    request = models_pb2.SetAliasRequest(model=model, alias=alias, version=version)
    reply = yield Call(lambda stubs: stubs.models.SetAlias, request, timeout)
    return read_model(reply.model)


def delete_alias(model: str, alias: str, timeout: float | None) -> Plan[ModelInfo]:
    """Removes an alias."""
    request = models_pb2.DeleteAliasRequest(model=model, alias=alias)
    reply = yield Call(lambda stubs: stubs.models.DeleteAlias, request, timeout)
    return read_model(reply.model)


def rollback(model: str, timeout: float | None) -> Plan[RolledBack]:
    """Points `stable` back."""
    request = models_pb2.RollbackModelRequest(model=model)
    return read_rolled_back((yield Call(lambda stubs: stubs.models.RollbackModel, request, timeout)))


def set_canary(model: str, version: int, share: float, timeout: float | None) -> Plan[ModelInfo]:
    """Gives a version a share of the calls that name none."""
    request = models_pb2.SetTrafficRequest(model=model, canary=version, canary_share=share)
    reply = yield Call(lambda stubs: stubs.models.SetTraffic, request, timeout)
    return read_model(reply.model)
