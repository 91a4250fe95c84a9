"""The FineTuning service of the fake server: uploads that may break off, and jobs that follow a script."""

from __future__ import annotations

import hashlib
import threading
from collections import deque
from collections.abc import Iterator
from typing import Any

import grpc
from google.protobuf import duration_pb2

from service.pb import fine_tuning_pb2 as pb
from service.pb import fine_tuning_pb2_grpc, models_pb2
from tests.support.fake_zoo.calls import FakeCalls
from tests.support.fake_zoo.models import FakeModels

BASE = "efficientnet_lite0"
"""A model that jobs start from."""


def state(value: pb.JobState.ValueType, reason: str = "") -> dict[str, Any]:
    return {"state": pb.StateChanged(state=value, reason=reason)}


def metric(name: str, split: str, value: float, step: int, epoch: int = 1) -> dict[str, Any]:
    return {"metric": pb.MetricValue(name=name, split=split, value=value, step=step, epoch=epoch)}


def progress(phase: str, ratio: float, step: int = 0, steps: int = 0, remaining_s: int | None = None) -> dict[str, Any]:
    remaining = None if remaining_s is None else duration_pb2.Duration(seconds=remaining_s)
    return {"progress": pb.JobProgress(phase=phase, ratio=ratio, step=step, steps=steps, epoch=1, remaining=remaining)}


def log(level: str, text: str) -> dict[str, Any]:
    return {"log": pb.LogLine(level=level, text=text)}


SUCCEEDING_JOB: tuple[dict[str, Any], ...] = (
    state(pb.JOB_STATE_QUEUED),
    state(pb.JOB_STATE_RUNNING),
    progress("training", 0.25, 5, 20, 75),
    metric("loss", "train", 1.5, 5),
    metric("accuracy", "validation", 0.75, 10),
    log("warning", "class 'mug' has 3 examples"),
    metric("loss", "train", 0.5, 20, 2),
    metric("accuracy", "validation", 0.9, 20, 2),
    {"checkpoint": pb.Checkpoint(step=20, epoch=2, best=True, size_bytes=2_000_000)},
    progress("evaluation", 0.9),
    state(pb.JOB_STATE_SUCCEEDED),
)
FAILING_JOB = (*SUCCEEDING_JOB[:4], state(pb.JOB_STATE_FAILED, "training diverges: the loss is no number after step 5"))


class FakeFineTuning(fine_tuning_pb2_grpc.FineTuningServicer):
    def __init__(self, calls: FakeCalls, models: FakeModels) -> None:
        self._calls, self._models = calls, models
        self.uploads: dict[str, bytearray] = {}
        self.break_uploads_at: deque[int] = deque()
        """Numbers of bytes at which the next uploads lose their connection."""
        self.datasets: dict[str, pb.Dataset] = {}
        self.jobs: dict[str, pb.Job] = {}
        self.events: dict[str, list[pb.JobEvent]] = {}
        self.script = SUCCEEDING_JOB
        """Events of jobs that are created from now on."""
        self.break_watches_after: deque[int] = deque()
        """Numbers of events after which the next watchers lose their connection."""
        self.watch_gate = threading.Event()
        """While it is cleared, a watcher waits before a job's last event."""
        self.watch_gate.set()
        self.watching = threading.Event()
        """Set while a watcher waits there."""

    # ── datasets ──────────────────────────────────────────────────────────────────────────────────────────────

    def UploadDataset(self, requests: Iterator[pb.UploadDatasetRequest], context: Any) -> pb.UploadDatasetResponse:
        self._calls.enter("UploadDataset", None, context)
        header = next(requests).header
        copy = pb.UploadHeader()
        copy.CopyFrom(header)
        self._calls.by_method["UploadDataset.header"].append(copy)
        if header.uri:
            return pb.UploadDatasetResponse(dataset=self._store(header, b"from elsewhere"))
        received = self.uploads.setdefault(header.sha256, bytearray())
        assert header.offset == len(received), "an upload continues where it stopped"
        breaks_at = self.break_uploads_at.popleft() if self.break_uploads_at else -1
        for request in requests:
            assert len(request.chunk) <= 4 * 1024 * 1024
            received += request.chunk
            if 0 <= breaks_at <= len(received):
                context.abort(grpc.StatusCode.UNAVAILABLE, "Socket closed")
        assert hashlib.sha256(received).hexdigest() == header.sha256
        assert len(received) == header.size_bytes
        existed = header.sha256[:16] in self.datasets
        return pb.UploadDatasetResponse(dataset=self._store(header, bytes(received)), existed=existed)

    def GetUpload(self, request: pb.GetUploadRequest, context: Any) -> pb.GetUploadResponse:
        self._calls.enter("GetUpload", request, context)
        return pb.GetUploadResponse(received_bytes=len(self.uploads.get(request.sha256, b"")))

    def GetDataset(self, request: pb.GetDatasetRequest, context: Any) -> pb.GetDatasetResponse:
        self._calls.enter("GetDataset", request, context)
        return pb.GetDatasetResponse(dataset=self._one(self.datasets, request.id, "dataset", context))

    def ListDatasets(self, request: pb.ListDatasetsRequest, context: Any) -> pb.ListDatasetsResponse:
        self._calls.enter("ListDatasets", request, context)
        return pb.ListDatasetsResponse(datasets=self.datasets.values())

    def DeleteDataset(self, request: pb.DeleteDatasetRequest, context: Any) -> pb.DeleteDatasetResponse:
        self._calls.enter("DeleteDataset", request, context)
        self._one(self.datasets, request.id, "dataset", context)
        return pb.DeleteDatasetResponse(freed_bytes=self.datasets.pop(request.id).size_bytes)

    def _store(self, header: pb.UploadHeader, data: bytes) -> pb.Dataset:
        sha256 = hashlib.sha256(data).hexdigest()
        report = pb.DatasetReport(
            example_count=48,
            class_counts={"cat": 20, "dog": 25, "mug": 3},
            inferred=["kind: image_folder, because the archive holds pictures"],
            skipped_count=2,
            skipped=[pb.SkippedExample(file="cat/a.jpg", reason="it is no picture")],
            warnings=["class 'mug' has only 3 examples"],
        )
        made = pb.Dataset(
            id=sha256[:16],
            display_name=header.display_name,
            kind=header.kind or pb.DATASET_KIND_IMAGE_FOLDER,
            state=pb.DATASET_STATE_READY,
            sha256=sha256,
            size_bytes=len(data),
            columns=header.columns,
            report=report,
            uri=header.uri,
        )
        made.create_time.seconds = 1_700_000_000
        return self.datasets.setdefault(made.id, made)

    # ── jobs ──────────────────────────────────────────────────────────────────────────────────────────────────

    def CreateJob(self, request: pb.CreateJobRequest, context: Any) -> pb.CreateJobResponse:
        if request.validate_only:
            self._calls.enter("CreateJob.validate", request, context)
            return pb.CreateJobResponse(job=pb.Job(spec=request.spec))
        self._calls.enter("CreateJob", request, context)
        owner = dict(context.invocation_metadata()).get("zoo-owner", "")
        job = pb.Job(id=f"{len(self.jobs) + 10}abcdef", spec=request.spec, state=pb.JOB_STATE_QUEUED, owner=owner)
        job.create_time.seconds = 1_700_000_000
        self.jobs[job.id] = job
        events = [pb.JobEvent(sequence=i, **what) for i, what in enumerate(self.script, 1)]
        for i, event in enumerate(events):
            event.time.seconds = 1_700_000_000 + i
        self.events[job.id] = events
        return pb.CreateJobResponse(job=job)

    def GetJob(self, request: pb.GetJobRequest, context: Any) -> pb.GetJobResponse:
        self._calls.enter("GetJob", request, context)
        return pb.GetJobResponse(job=self._one(self.jobs, request.id, "job", context))

    def ListJobs(self, request: pb.ListJobsRequest, context: Any) -> pb.ListJobsResponse:
        self._calls.enter("ListJobs", request, context)
        mine = [job for job in self.jobs.values() if request.owner in ("", job.owner)]
        found = [job for job in mine if request.state in (0, job.state)]
        start = int(request.page_token or 0)
        more = str(start + 2) if start + 2 < len(found) else ""
        return pb.ListJobsResponse(jobs=found[start : start + 2], next_page_token=more)

    def CancelJob(self, request: pb.CancelJobRequest, context: Any) -> pb.CancelJobResponse:
        return pb.CancelJobResponse(job=self._set_state("CancelJob", request, pb.JOB_STATE_CANCELLING, context))

    def PauseJob(self, request: pb.PauseJobRequest, context: Any) -> pb.PauseJobResponse:
        return pb.PauseJobResponse(job=self._set_state("PauseJob", request, pb.JOB_STATE_PAUSED, context))

    def ResumeJob(self, request: pb.ResumeJobRequest, context: Any) -> pb.ResumeJobResponse:
        return pb.ResumeJobResponse(job=self._set_state("ResumeJob", request, pb.JOB_STATE_QUEUED, context))

    def DeleteJob(self, request: pb.DeleteJobRequest, context: Any) -> pb.DeleteJobResponse:
        self._calls.enter("DeleteJob", request, context)
        if self._one(self.jobs, request.id, "job", context).state < pb.JOB_STATE_SUCCEEDED:
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, "a job that is QUEUED cannot be deleted")
        del self.jobs[request.id]
        return pb.DeleteJobResponse(freed_bytes=2_000_000)

    def WatchJob(self, request: pb.WatchJobRequest, context: Any) -> Iterator[pb.WatchJobResponse]:
        self._calls.enter("WatchJob", request, context)
        job = self._one(self.jobs, request.id, "job", context)
        breaks_after = self.break_watches_after.popleft() if self.break_watches_after else -1
        events = self.events[job.id]
        for sent, event in enumerate(e for e in events if e.sequence > request.after):
            if sent == breaks_after:
                context.abort(grpc.StatusCode.UNAVAILABLE, "Socket closed")
            last = event.sequence == len(events)
            if last:
                self.watching.set()
                self.watch_gate.wait()
            self._apply(job, event)
            yield pb.WatchJobResponse(event=event, job=job if last else None)

    def ListCheckpoints(self, request: pb.ListCheckpointsRequest, context: Any) -> pb.ListCheckpointsResponse:
        self._calls.enter("ListCheckpoints", request, context)
        self._one(self.jobs, request.job_id, "job", context)
        found = [event.checkpoint for event in self.events[request.job_id] if event.HasField("checkpoint")]
        return pb.ListCheckpointsResponse(checkpoints=found)

    def _apply(self, job: pb.Job, event: pb.JobEvent) -> None:
        job.last_event = max(job.last_event, event.sequence)
        if event.HasField("state"):
            job.state, job.state_reason = event.state.state, event.state.reason
        if event.HasField("progress"):
            job.progress.CopyFrom(event.progress)
        if job.state == pb.JOB_STATE_SUCCEEDED and not job.version:
            self._publish(job)

    def _set_state(self, method: str, request: Any, to: pb.JobState.ValueType, context: Any) -> pb.Job:
        self._calls.enter(method, request, context)
        job = self._one(self.jobs, request.id, "job", context)
        job.state = to
        return job

    def _publish(self, job: pb.Job) -> None:
        made = self._models.versions.setdefault(job.spec.model, [])
        job.version = len(made) + 1
        job.promotion_outcome = f"stable is version {job.version} now: better than the baseline"
        job.start_time.seconds, job.end_time.seconds = 1_700_000_001, 1_700_000_041
        lineage = models_pb2.Lineage(base=job.spec.base, dataset_id=job.spec.dataset_id, method="head", job_id=job.id)
        lineage.metrics["accuracy"] = 0.9375
        version = models_pb2.ModelVersion(
            number=job.version, state=models_pb2.MODEL_STATE_READY, lineage=lineage, size_bytes=40_000
        )
        version.create_time.seconds = 1_700_000_041
        made.insert(0, version)
        base = self._models.by_name.get(job.spec.base, models_pb2.Model(raw_input="image"))
        model = models_pb2.Model(
            name=job.spec.model, raw_input=base.raw_input, base=job.spec.base, aliases={"stable": job.version}
        )
        model.columns.extend(base.columns)
        model.state = models_pb2.MODEL_STATE_READY
        model.traffic.stable = job.version
        self._models.by_name[job.spec.model] = model

    def _one(self, known: dict[str, Any], name: str, what: str, context: Any) -> Any:
        if name not in known:
            context.abort(grpc.StatusCode.NOT_FOUND, f"unknown {what} {name!r}")
        return known[name]
