"""A home and a database for jobs to run in: real processes, and a worker that trains nothing (`worker.py`)."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from model_zoo.cards.card import Card
from model_zoo.cards.weight_source import TunedSource
from model_zoo.catalog import Catalog
from model_zoo.store import Store
from model_zoo.version_folder import Version
from model_zoo.versions import Versions
from service.database import Database
from service.datasets.dataset import DatasetInfo, DatasetKind, DatasetReport
from service.errors import NotFound
from service.jobs.base_catalog import BaseCatalog
from service.jobs.change_notifier import ChangeNotifier
from service.jobs.job_folder import job_folder
from service.jobs.job_limits import JobLimits
from service.jobs.job_service import Datasets, JobService
from service.jobs.persistence.event_store import EventStore
from service.jobs.persistence.job_store import JobStore
from service.jobs.persistence.leases import Leases
from service.jobs.persistence.retention import Retention
from service.jobs.runner import JobContext
from service.jobs.supervisor import Supervisor
from service.jobs.types import Event, Job, JobSpec, JobState, StateChanged
from service.jobs.workers.launcher import Launcher, ProcessLauncher
from service.observability.metrics import Metrics
from service.observability.recorder import Recorder
from service.observability.statistics import Statistics
from service.training.job_spec import Method
from tests.support.database.fixtures import opened

BASE = "efficientnet_lite0"
DATA = "photos"
COMMAND = (sys.executable, "-IS", str(Path(__file__).with_name("worker.py")))
LAUNCHER = ProcessLauncher(COMMAND, niceness=0)  # the tests' machine may be busy with other things
QUICK = JobLimits(
    retry_delay_s=0.02,
    lease_s=5.0,
    flush_s=0.05,
    poll_s=0.05,
    pressure_poll_s=0.005,
    exit_s=5.0,
    silence_s=30.0,
    cancel_s=10.0,
)
PATIENCE_S = 60.0


def spec(model: str = "flowers", *, method: Method = Method.FULL, **script: Any) -> JobSpec:
    """A job whose worker does what `script` says."""
    return JobSpec(base=BASE, dataset_id=DATA, model=model, method=method, hyperparameters=script)


# ── what a job service needs of a server ──────────────────────────────────────────────────────────────────────────


@cache
def catalog() -> Catalog:
    """Of the package, read once."""
    return Catalog.from_package()


class BasesWithWeights(BaseCatalog):
    """All weights are on this machine."""

    async def fetch_weights(self, name: str) -> None:
        pass


class FakeDatasets:
    """Knows one dataset."""

    async def get(self, dataset_id: str) -> DatasetInfo:
        if dataset_id != DATA:
            raise NotFound("data set", dataset_id, [DATA])
        return DatasetInfo(
            id=dataset_id,
            kind=DatasetKind.IMAGE_FOLDER,
            sha256="0" * 64,
            size_bytes=1,
            report=DatasetReport(examples=10),
            created=datetime.now(UTC),
        )


Take = Callable[[str, int, bool], Awaitable[str]]


@dataclass
class FakeVersionRegistry:
    """Remembers the versions that jobs publish; `stable` has no folder."""

    published: list[tuple[str, int]] = field(default_factory=list)
    replaced_take: Take | None = None

    def folder(self, name: str, version: str = "") -> Version | None:
        return None

    async def take(self, name: str, number: int, *, gated: bool = True) -> str:
        if self.replaced_take is not None:
            return await self.replaced_take(name, number, gated)
        self.published.append((name, number))
        return f"stable is now {number}" if gated else "stable stays"


class NoFeatures:
    """Leaves all features to the worker."""

    async def compute(self, base: str, dataset_id: str, on_progress: Callable[[int, int], None]) -> None:
        pass


def keep_spec(card: Card, dataset: DatasetInfo, spec: JobSpec) -> JobSpec:
    """In place of `compatibility.plan`, which would refuse scripts for workers."""
    return spec


@dataclass
class JobServer:
    """The jobs of one server."""

    jobs: JobService
    supervisor: Supervisor

    async def start(self) -> None:
        await self.supervisor.start()

    async def stop(self, grace_s: float = 10.0) -> None:
        self.jobs.close()
        await self.supervisor.stop(grace_s)

    async def crash(self) -> None:
        """As `kill -9` leaves a server: nothing is written any more, workers are gone, the lock on its name is free."""
        tasks = [self.cancel_loop(), *self.cancel_runners()]
        await asyncio.gather(*tasks, return_exceptions=True)
        self.release_name()

    def cancel_loop(self) -> asyncio.Task[None]:
        loop = self.supervisor._loop_task
        assert loop is not None
        loop.cancel()
        return loop

    def cancel_runners(self) -> list[asyncio.Task[None]]:
        tasks = [task for _, task in self.supervisor._runners.values()]
        for task in tasks:
            task.cancel()
        return tasks

    @property
    def name(self) -> str:
        assert self.supervisor._identity is not None
        return self.supervisor._identity.name

    def release_name(self) -> None:
        assert self.supervisor._identity is not None
        self.supervisor._identity.close()


def make_server(
    database: Database,
    home: Path,
    recorder: Recorder,
    limits: JobLimits = QUICK,
    *,
    datasets: Datasets | None = None,
    registry: FakeVersionRegistry | None = None,
    launcher: Launcher = LAUNCHER,
    features: Any = None,
    pressure: Callable[[], float] | None = None,
    plan: Any = keep_spec,
) -> JobServer:
    context = JobContext(
        home=home,
        device="cpu",
        limits=limits,
        leases=Leases(database),
        events=EventStore(database),
        launcher=launcher,
        bases=BasesWithWeights(catalog(), Store(home)),
        registry=registry or FakeVersionRegistry(),
        features=features or NoFeatures(),
        pressure=pressure,
        recorder=recorder,
        notifier=ChangeNotifier(),
    )
    store, retention = JobStore(database), Retention(database, home)
    supervisor = Supervisor(context, store, retention)
    return JobServer(JobService(context, store, retention, datasets or FakeDatasets(), supervisor, plan), supervisor)


# ── where jobs run ────────────────────────────────────────────────────────────────────────────────────────────────


def tuned_card(card: Card) -> Card:
    """The card of a version that was tuned from a base."""
    files = {"weights": {"path": "model.safetensors", "sha256": "0" * 64, "bytes": 7}}
    source = TunedSource.model_validate(
        {"kind": "tuned", "base": BASE, "base_digest": "0" * 64, "method": "full", "files": files}
    )
    return card.model_copy(update={"source": source})


def write_template(home: Path) -> None:
    """What the worker makes its result of."""
    template = home / "template"
    template.mkdir(exist_ok=True)
    (template / "card.json").write_text(tuned_card(catalog().get(BASE)).model_dump_json())
    (template / "model.safetensors").write_bytes(b"weights")


@dataclass
class JobSandbox:
    """A home and a database. Every server in it is a server of its own, one after another or at once."""

    home: Path
    url: str
    database: Database
    versions_taken: FakeVersionRegistry = field(default_factory=FakeVersionRegistry)
    metrics: CollectorRegistry = field(default_factory=CollectorRegistry)

    def __post_init__(self) -> None:
        (self.home / "datasets" / DATA).mkdir(parents=True)
        write_template(self.home)
        self.recorder = Recorder(Metrics(self.metrics), Statistics())

    @property
    def published(self) -> list[tuple[str, int]]:
        return self.versions_taken.published

    def server(self, limits: JobLimits = QUICK, *, take: Take | None = None, **changes: Any) -> JobServer:
        """A server that is not started: it stores jobs and has none worked on."""
        registry = FakeVersionRegistry(self.published, take)
        return make_server(self.database, self.home, self.recorder, limits, registry=registry, **changes)

    @asynccontextmanager
    async def open(self, limits: JobLimits = QUICK, **changes: Any) -> AsyncIterator[JobService]:
        """The jobs of a server that works on them."""
        server = self.server(limits, **changes)
        await server.start()
        try:
            yield server.jobs
        finally:
            await server.stop()

    def folder(self, job: Job) -> Path:
        return job_folder(self.home, job.id)

    def pid(self, job: Job) -> int:
        return int((self.folder(job) / "worker.pid").read_text())

    def versions(self, model: str = "flowers") -> list[int]:
        return Versions(self.home).numbers(model)

    def allow(self, name: str = "go") -> None:
        """Lets workers that wait for this file make their last step."""
        (self.home / name).touch()


@asynccontextmanager
async def sandbox_at(url: str, home: Path) -> AsyncIterator[JobSandbox]:
    """On a database that has its tables."""
    database = opened(url)
    try:
        yield JobSandbox(home, url, database)
    finally:
        database.close()


# ── waiting ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def events_of(jobs: JobService, job: Job, after: int = 0) -> list[Event]:
    """All events of a job until it has ended."""
    async with asyncio.timeout(PATIENCE_S), aclosing(jobs.watch(job.id, after)) as watched:
        return [event async for event, _ in watched]


async def until(jobs: JobService, job: Job, *states: JobState, after: int = 0) -> Job:
    """The job once it has entered one of these states, after an event."""
    async with asyncio.timeout(PATIENCE_S), aclosing(jobs.watch(job.id, after)) as watched:
        async for event, _ in watched:
            if isinstance(event.what, StateChanged) and event.what.state in states:
                return await jobs.get(job.id)
    raise AssertionError(f"ended as {await jobs.get(job.id)}")


async def until_true(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - the condition has no event of its own
            await asyncio.sleep(0.005)


async def until_step(jobs: JobService, job: Job, step: int) -> Job:
    """The job once it has a checkpoint of that step."""
    async with asyncio.timeout(PATIENCE_S):
        while not any(point.step >= step for point in await jobs.checkpoints(job.id)):  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.005)
    return await jobs.get(job.id)


def states_of(events: Sequence[Event]) -> list[JobState]:
    """The states that a job entered, in order."""
    return [event.what.state for event in events if isinstance(event.what, StateChanged)]


# ── processes ─────────────────────────────────────────────────────────────────────────────────────────────────────


def alive(pid: int) -> bool:
    """Whether there is such a process that has not ended."""
    try:
        return process_state(pid) != "Z"
    except OSError:
        return False


def process_state(pid: int) -> str:
    """As the kernel has it: R, S, T (stopped) …"""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def kill(pid: int, number: int) -> None:
    os.kill(pid, number)
