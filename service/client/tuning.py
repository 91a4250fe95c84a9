"""Plans of the verbs about datasets, jobs and versions: request built, reply read, no channel."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from service.client.channel import Retry
from service.client.datasets import Columns, Dataset, kind_value, read_dataset, write_columns
from service.client.errors import JobFailed, ZooClientError
from service.client.jobs import Checkpoint, Job, JobEvent, job_state_value, read_checkpoint, read_job
from service.client.models import ModelInfo, read_model
from service.client.patience import Patience
from service.client.plain import whole_number
from service.client.plan import Call, Pause, Plan, Upload, Watch
from service.client.upload import Look, Open, Progress, messages, refuse_blank
from service.client.verbs import CALL_TIMEOUT_S
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


def upload(
    data: str | Path,
    kind: str,
    columns: Columns | Mapping[str, str] | None,
    display_name: str,
    progress: Progress,
    retry: Retry,
    timeout: float | None,
    task: str = "",
) -> Plan[Dataset]:
    """Stores a file, a folder or what the server finds at a URI; goes on where it stopped when the connection breaks."""
    refuse_blank(data)
    header = pb.UploadHeader(
        display_name=display_name,
        kind=kind_value(kind),
        columns=None if columns is None else write_columns(columns),
        task=task,
    )
    if isinstance(data, str) and "://" in data:
        header.uri = data
        return (yield from _send(iter([pb.UploadDatasetRequest(header=header)]), timeout))
    with (yield Open(Path(data), progress)) as source:
        header.sha256, header.size_bytes = source.sha256, source.size_bytes
        header.file_name = _file_name(source.file_name, header.kind)
        header.display_name = display_name or source.file_name[:128]
        patience = Patience(retry)
        known = offset = yield from _received(source.sha256)
        patience.progressed()
        while True:
            try:
                if offset < 0:  # the connection broke: how far did we come?
                    offset = yield from _received(source.sha256)
                if offset > known:
                    known = offset
                    patience.progressed()
                stored = yield from _send(messages(source, header, offset, progress), timeout)
                return replace(stored, left_out=source.left_out)
            except ZooClientError as error:
                offset = -1
                yield Pause(patience.pause(error))


def _send(parts: Iterator[pb.UploadDatasetRequest], timeout: float | None) -> Plan[Dataset]:
    reply = yield Upload(parts, timeout)
    return read_dataset(reply.dataset, existed=reply.existed)


def _file_name(name: str, kind: int) -> str:
    """What the server is told a file is called: what its user calls plain text is, whatever its ending says, or none."""
    known = (".txt", ".text", ".md", ".zip", ".tar", ".tar.gz", ".tgz")
    return f"{name}.txt" if kind == pb.DATASET_KIND_PLAIN_TEXT and not name.lower().endswith(known) else name


def _received(sha256: str) -> Plan[int]:
    """How many bytes of an upload the server has."""
    request = pb.GetUploadRequest(sha256=sha256)
    reply = yield Call(lambda stubs: stubs.fine_tuning.GetUpload, request, CALL_TIMEOUT_S)
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


def check_job(request: pb.CreateJobRequest, kinds: Sequence[str], timeout: float | None) -> Plan[None]:
    """Has a job judged, and none made."""
    asked = pb.CreateJobRequest(spec=request.spec, validate_only=True, dataset_kinds=map(kind_value, kinds))
    yield Call(lambda stubs: stubs.fine_tuning.CreateJob, asked, timeout)


def job(job_id: str, timeout: float | None) -> Plan[Job]:
    """One job."""
    reply = yield Call(lambda stubs: stubs.fine_tuning.GetJob, pb.GetJobRequest(id=job_id), timeout)
    return read_job(reply.job)


def jobs_page(token: str, state: str, model: str, owner: str, timeout: float | None) -> Plan[tuple[list[Job], str]]:
    """One page of jobs, and the token of the next or empty."""
    request = pb.ListJobsRequest(page_token=token, state=job_state_value(state), model=model, owner=owner)
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


def delete_job(job_id: str, timeout: float | None) -> Plan[int]:
    """Deletes a job; gives the bytes that came back."""
    reply = yield Call(lambda stubs: stubs.fine_tuning.DeleteJob, pb.DeleteJobRequest(id=job_id), timeout)
    return int(reply.freed_bytes)


def checkpoints(job_id: str, timeout: float | None) -> Plan[tuple[Checkpoint, ...]]:
    """The checkpoints that a job has now, in order of step."""
    request = pb.ListCheckpointsRequest(job_id=job_id)
    reply = yield Call(lambda stubs: stubs.fine_tuning.ListCheckpoints, request, timeout)
    return tuple(read_checkpoint(checkpoint) for checkpoint in reply.checkpoints)


def finetune(
    request: pb.CreateJobRequest,
    data: str | Path | Dataset,
    kind: str,
    columns: Columns | Mapping[str, str] | None,
    progress: Progress,
    retry: Retry,
    on_event: Callable[[JobEvent], object],
) -> Plan[FineTuned]:
    """From data to a version: judged, uploaded, created, watched. Raises JobFailed where the job became nothing."""
    if not isinstance(data, Dataset):
        kinds = (kind,) if kind else (yield Look(data))
        yield from check_job(request, kinds, CALL_TIMEOUT_S)
        data = yield from upload(data, kind, columns, "", progress, retry, None, request.spec.task)
    request.spec.dataset_id = data.id
    created = yield from create_job(request, CALL_TIMEOUT_S)
    yield Watch(created.id, on_event)
    ended = yield from job(created.id, CALL_TIMEOUT_S)
    if ended.state != "SUCCEEDED":
        raise JobFailed(ended)
    known = yield from versions(ended.model, CALL_TIMEOUT_S)
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
    request = models_pb2.DeleteVersionRequest(model=model, version=whole_number("version", version))
    reply = yield Call(lambda stubs: stubs.models.DeleteVersion, request, timeout)
    return int(reply.freed_bytes)


def set_alias(model: str, alias: str, version: int, timeout: float | None) -> Plan[ModelInfo]:
    """Points an alias at a version."""
    request = models_pb2.SetAliasRequest(model=model, alias=alias, version=whole_number("version", version))
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
    canary = whole_number("version", version)
    request = models_pb2.SetTrafficRequest(model=model, canary=canary, canary_share=share)
    reply = yield Call(lambda stubs: stubs.models.SetTraffic, request, timeout)
    return read_model(reply.model)
