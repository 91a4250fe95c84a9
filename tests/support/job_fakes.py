"""A place for jobs to run in: real databases, real processes, a worker that trains nothing (`job_worker.py`)."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from model_zoo.cards.card import Card
from model_zoo.cards.weight_source import TunedSource
from model_zoo.catalog import Catalog
from model_zoo.versions import Versions
from service.database import Database
from service.datasets.dataset import DatasetInfo, DatasetKind, DatasetReport
from service.errors import NotFound
from service.jobs.hooks import Hooks, JobLimits
from service.jobs.job_folder import job_folder
from service.jobs.supervisor import Jobs
from service.jobs.types import Event, Job, JobSpec, JobState, StateChanged
from service.jobs.workers.launcher import ProcessLauncher
from service.observability.metrics import Metrics
from service.observability.recorder import Recorder
from service.observability.statistics import Statistics
from service.training.job_spec import Method
from tests.support.databases import opened

BASE = "efficientnet_lite0"
DATA = "photos"
COMMAND = (sys.executable, "-IS", str(Path(__file__).with_name("job_worker.py")))
LAUNCHER = ProcessLauncher(COMMAND, nice=0)  # the tests' machine may be busy with other things
QUICK = JobLimits(
    retry_delay_s=0.02, lease_s=5.0, flush_s=0.05, poll_s=0.05, look_s=0.005, last_s=5.0, silent_s=30.0, cancel_s=10.0
)
PATIENCE_S = 60.0


def spec(model: str = "flowers", *, method: Method = Method.FULL, **script: Any) -> JobSpec:
    """A job whose worker does what `script` says."""
    return JobSpec(base=BASE, dataset_id=DATA, model=model, method=method, hyperparameters=script)


def _tuned(card: Card) -> Card:
    files = {"weights": {"path": "model.safetensors", "sha256": "0" * 64, "bytes": 7}}
    source = TunedSource.model_validate(
        {"kind": "tuned", "base": BASE, "base_digest": "0" * 64, "method": "full", "files": files}
    )
    return card.model_copy(update={"source": source})


@dataclass
class Shop:
    """A home and a database. Every supervisor that it opens is a server of its own, one after another or at once."""

    home: Path
    url: str
    database: Database
    published: list[tuple[str, int]] = field(default_factory=list)
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)

    def __post_init__(self) -> None:
        (self.home / "datasets" / DATA).mkdir(parents=True)
        template = self.home / "template"
        template.mkdir()
        self.card = Catalog.from_package().get(BASE)
        (template / "card.json").write_text(_tuned(self.card).model_dump_json())
        (template / "model.safetensors").write_bytes(b"weights")
        self.recorder = Recorder(Metrics(self.registry), Statistics())

    @property
    def hooks(self) -> Hooks:
        return Hooks(
            base_card=self._base_card,
            dataset=self._dataset,
            reserved=lambda model: model == BASE,
            plan=lambda card, dataset, spec: spec,
            published=self._published,
        )

    def supervisor(self, limits: JobLimits = QUICK, hooks: Hooks | None = None, **changes: Any) -> Jobs:
        launcher = changes.pop("launcher", LAUNCHER)
        return Jobs(
            self.database, self.home, hooks or replace(self.hooks, **changes), self.recorder, limits, launcher=launcher
        )

    @asynccontextmanager
    async def open(self, limits: JobLimits = QUICK, **changes: Any) -> AsyncIterator[Jobs]:
        """A supervisor at work."""
        jobs = self.supervisor(limits, **changes)
        await jobs.start()
        try:
            yield jobs
        finally:
            await jobs.stop(grace_s=10.0)

    def folder(self, job: Job) -> Path:
        return job_folder(self.home, job.id)

    def pid(self, job: Job) -> int:
        return int((self.folder(job) / "worker.pid").read_text())

    def versions(self, model: str = "flowers") -> list[int]:
        return Versions(self.home).numbers(model)

    def allow(self, name: str = "go") -> None:
        """Lets workers that wait for this file make their last step."""
        (self.home / name).touch()

    def _base_card(self, name: str) -> Card:
        if name != BASE:
            raise NotFound("model", name, [BASE])
        return self.card

    async def _dataset(self, dataset_id: str) -> DatasetInfo:
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

    async def _published(self, model: str, number: int, gated: bool) -> str:
        self.published.append((model, number))
        return f"stable is now {number}" if gated else "stable stays"


@asynccontextmanager
async def shop_at(url: str, home: Path) -> AsyncIterator[Shop]:
    """Where the tables are there already."""
    database = opened(url)
    try:
        yield Shop(home, url, database)
    finally:
        database.close()


async def events_of(jobs: Jobs, job: Job, after: int = 0) -> list[Event]:
    """All events of a job until it has ended."""
    async with asyncio.timeout(PATIENCE_S), aclosing(jobs.watch(job.id, after)) as watched:
        return [event async for event, _ in watched]


async def until(jobs: Jobs, job: Job, *states: JobState, after: int = 0) -> Job:
    """The job once it has entered one of these states, after an event."""
    async with asyncio.timeout(PATIENCE_S), aclosing(jobs.watch(job.id, after)) as watched:
        async for event, _ in watched:
            if isinstance(event.what, StateChanged) and event.what.state in states:
                return await jobs.get(job.id)
    raise AssertionError(f"ended as {await jobs.get(job.id)}")


async def until_true(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event of its own
            await asyncio.sleep(0.005)


async def until_step(jobs: Jobs, job: Job, step: int) -> Job:
    """The job once it has a checkpoint of that step."""
    async with asyncio.timeout(PATIENCE_S):
        while not any(point.step >= step for point in await jobs.checkpoints(job.id)):  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.005)
    return await jobs.get(job.id)


def moves(events: Sequence[Event]) -> list[JobState]:
    return [event.what.state for event in events if isinstance(event.what, StateChanged)]


def alive(pid: int) -> bool:
    """Whether there is such a process that has not ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def state_of(pid: int) -> str:
    """As the kernel has it: R, S, T (stopped) …"""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def kill(pid: int, number: int) -> None:
    os.kill(pid, number)
