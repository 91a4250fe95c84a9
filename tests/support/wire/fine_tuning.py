"""Fake jobs and a dataset store behind the real FineTuning servicer, on a real port."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, cast

from grpc import aio
from prometheus_client import CollectorRegistry

from service.datasets.dataset import Columns, DatasetInfo, DatasetKind, DatasetReport, Skipped
from service.datasets.dataset_limits import OwnerQuota
from service.datasets.dataset_store import UploadResult
from service.datasets.library import DatasetPage
from service.datasets.upload.header import UploadHeader
from service.errors import IllegalMove, InvalidInput, NotFound
from service.jobs.job_limits import OwnerTerms
from service.jobs.job_service import FREE
from service.jobs.types import Checkpoint, Event, EventPayload, Job, JobState, Page, StateChanged
from service.observability.metrics import Metrics
from service.observability.recorder import Recorder
from service.observability.statistics import Statistics
from service.pb import fine_tuning_pb2_grpc
from service.training.job_spec import JobSpec
from service.wire.access.guard import Guard
from service.wire.calls import CountedServer
from service.wire.zoo_v1.fine_tuning import FineTuningServicer

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
CHECKPOINT = Checkpoint(20, 2, {"validation/accuracy": 0.9}, True, 1234, NOW)


def dataset(name: str = "d1", kind: DatasetKind = DatasetKind.IMAGE_FOLDER) -> DatasetInfo:
    report = DatasetReport(
        examples=48,
        class_counts={"cat": 20, "dog": 28},
        split_counts={"train": 40},
        skipped_count=1,
        skipped=(Skipped(file="cat/a.jpg", row=3, reason="it is no picture"),),
        warnings=("few",),
        duplicates=2,
        target_statistics={"mean": 0.5},
        duration_s=1.5,
        inferred=("kind: text, because a column is called so",),
    )
    return DatasetInfo(
        id=name,
        display_name="Pets",
        kind=kind,
        sha256="a" * 64,
        size_bytes=1000,
        columns=Columns(text="t", ignored=("x", "y")),
        report=report,
        created=NOW,
        uri="s3://b/k",
        owner="me",
    )


@dataclass
class FakeUpload:
    header: UploadHeader
    existing: DatasetInfo | None
    chunks: list[bytes] = field(default_factory=list)
    ended: str = ""


class FakeDatasets:
    """Remembers what came. `gate` closed, appending and finishing wait."""

    def __init__(self) -> None:
        self.known = {name: dataset(name) for name in ("d1", "d2", "d3")}
        self.existing: DatasetInfo | None = None
        self.uploads: list[FakeUpload] = []
        self.quotas: list[OwnerQuota | None] = []
        self.uris: list[dict[str, Any]] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def received(self, sha256: str, private_owner: str = "") -> int:
        return 7 if (sha256, private_owner) == ("a" * 64, "") else 0

    async def begin(self, header: UploadHeader, quota: OwnerQuota | None = None) -> FakeUpload:
        self.quotas.append(quota)
        if header.size_bytes > 10**9:
            raise InvalidInput("header.size_bytes", "too many")
        self.uploads.append(FakeUpload(header, self.existing))
        return self.uploads[-1]

    async def append(self, upload: FakeUpload, chunk: bytes) -> None:
        await self.gate.wait()
        upload.chunks.append(chunk)

    async def finish(self, upload: FakeUpload) -> UploadResult:
        if upload.existing is not None:
            return UploadResult(upload.existing, existed=True)
        if sum(map(len, upload.chunks)) != upload.header.size_bytes - upload.header.offset:
            raise InvalidInput("chunk", "bytes are missing")
        await self.gate.wait()
        upload.ended = "finished"
        return UploadResult(dataset("new"), existed=False)

    async def abandon(self, upload: FakeUpload) -> None:
        upload.ended = upload.ended or "abandoned"

    async def from_uri(self, uri: str, **how: Any) -> UploadResult:
        self.uris.append({"uri": uri, **how})
        return UploadResult(dataset("new"), existed=False)

    async def get(self, dataset_id: str) -> DatasetInfo:
        if dataset_id not in self.known:
            raise NotFound("dataset", dataset_id)
        return self.known[dataset_id]

    look = get

    async def list(
        self, size: int, after: str = "", kind: DatasetKind | None = None, owner: str | None = None
    ) -> DatasetPage:
        names = [
            name
            for name, info in self.known.items()
            if name > after and kind in (None, info.kind) and owner in (None, info.owner)
        ]
        return DatasetPage(tuple(self.known[n] for n in names[:size]), names[size - 1] if len(names) > size else "")

    async def delete(self, dataset_id: str, *, force: bool = False) -> int:
        if not force:
            raise IllegalMove("dataset 'd1' is used by a job")
        return self.known.pop(dataset_id).size_bytes


class FakeJobs:
    """Jobs whose events a test publishes."""

    def __init__(self) -> None:
        self.jobs: dict[str, Job] = {}
        self.events: dict[str, list[Event]] = {}
        self.requests: list[str] = []
        self.terms: list[OwnerTerms] = []
        self.judged: list[tuple[JobSpec, tuple[DatasetKind, ...], str]] = []
        self.changed = asyncio.Condition()
        self.drawn = 0
        """Events that watchers took."""
        self.left = 0
        """Watchers that are gone."""

    def add(self, name: str, state: JobState = JobState.QUEUED, **changes: Any) -> Job:
        spec = JobSpec(base="b", dataset_id="d1", model=changes.pop("model", "pets"))
        self.jobs[name] = replace(Job(name, spec, state, NOW), **changes)
        self.events[name] = []
        return self.jobs[name]

    async def tell(self, name: str, *whats: EventPayload) -> None:
        async with self.changed:
            for what in whats:
                events = self.events[name]
                events.append(Event(len(events) + 1, NOW, what))
                state = what.state if isinstance(what, StateChanged) else self.jobs[name].state
                self.jobs[name] = replace(self.jobs[name], state=state, last_event=len(events))
            self.changed.notify_all()

    def prewarm(self) -> None:
        """A job will come."""

    async def create(self, spec: JobSpec, request_id: str = "", owner: str = "", terms: OwnerTerms = FREE) -> Job:
        self.requests.append(request_id)
        self.terms.append(terms)
        self.jobs["new"] = Job("new", spec, JobState.QUEUED, NOW, owner=owner)
        return self.jobs["new"]

    async def check(
        self, spec: JobSpec, kinds: Sequence[DatasetKind] = (), owner: str = "", terms: OwnerTerms = FREE
    ) -> JobSpec:
        self.judged.append((spec, tuple(kinds), owner))
        return spec.model_copy(update={"task": "image-classification"})

    async def delete(self, job_id: str) -> int:
        if not (await self.get(job_id)).state.ended:
            raise IllegalMove("a job that is RUNNING cannot be deleted")
        del self.jobs[job_id]
        return 1234

    async def get(self, job_id: str) -> Job:
        if job_id not in self.jobs:
            raise NotFound("job", job_id)
        return self.jobs[job_id]

    async def list(
        self, size: int, after: str = "", *, state: JobState | None = None, model: str = "", owner: str = ""
    ) -> Page:
        found = [
            job
            for job in self.jobs.values()
            if job.id > after
            and state in (None, job.state)
            and model in ("", job.spec.model)
            and owner in ("", job.owner)
        ]
        return Page(tuple(found[:size]), found[size - 1].id if len(found) > size else "")

    async def cancel(self, job_id: str) -> Job:
        return replace(await self.get(job_id), state=JobState.CANCELLING)

    async def pause(self, job_id: str) -> Job:
        raise IllegalMove(f"job {(await self.get(job_id)).id} has ended")

    async def resume(self, job_id: str, terms: OwnerTerms = FREE) -> Job:
        return replace(await self.get(job_id), state=JobState.QUEUED)

    async def watch(self, job_id: str, after: int = 0) -> AsyncGenerator[tuple[Event, Job | None], None]:
        await self.get(job_id)
        try:
            while True:
                job, events = self.jobs[job_id], self.events[job_id][after:]
                for event in events:
                    after = event.sequence
                    self.drawn += 1
                    yield event, job if after == job.last_event else None
                if events:
                    continue
                if job.state.ended:
                    return
                async with self.changed:
                    await self.changed.wait_for(lambda: len(self.events[job_id]) > after)  # noqa: B023
        finally:
            self.left += 1

    async def checkpoints(self, job_id: str) -> tuple[Checkpoint, ...]:
        await self.get(job_id)
        return (CHECKPOINT,)


@dataclass
class Tuning:
    """A server with fakes behind it, and a stub that calls it."""

    stub: Any
    datasets: Any
    jobs: FakeJobs
    servicer: FineTuningServicer
    metrics: CollectorRegistry

    def calls(self, method: str, code: str) -> float:
        labels: Mapping[str, str] = {"model": "", "version": "", "method": method, "code": code}
        return self.metrics.get_sample_value("zoo_requests_total", dict(labels)) or 0.0


@asynccontextmanager
async def tuning(datasets: Any = None, guard: Guard | None = None) -> AsyncIterator[Tuning]:
    metrics = CollectorRegistry()
    recorder = Recorder(Metrics(metrics), Statistics(lambda: 1234))
    datasets, jobs = datasets or FakeDatasets(), FakeJobs()
    servicer = FineTuningServicer(cast(Any, datasets), cast(Any, jobs))
    server = aio.server(options=[("grpc.max_receive_message_length", 64 * 1024 * 1024)])
    counted: Any = CountedServer(server, recorder, guard)
    fine_tuning_pb2_grpc.add_FineTuningServicer_to_server(servicer, counted)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with aio.insecure_channel(
            f"127.0.0.1:{port}", [("grpc.max_send_message_length", 64 * 1024 * 1024)]
        ) as channel:
            yield Tuning(fine_tuning_pb2_grpc.FineTuningStub(channel), datasets, jobs, servicer, metrics)
    finally:
        await server.stop(None)
