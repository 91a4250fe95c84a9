"""A home with datasets, jobs and versions that tests damage, and the real services over it on a real port."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from grpc import aio

from model_zoo.versions import Versions
from service.database import Database, database_url
from service.datasets.dataset import Columns
from service.datasets.dataset_limits import DatasetLimits
from service.datasets.dataset_store import DatasetStore
from service.datasets.validation.validate import (
    DATASET,
    REQUEST_FILE,
    ValidationRequest,
    validate,
)
from service.jobs.job_limits import Quotas
from service.jobs.job_service import JobService
from service.jobs.persistence.event_store import EventStore
from service.jobs.persistence.job_store import JobStore
from service.jobs.persistence.leases import Leases
from service.jobs.types import Checkpoint, Job, JobState, Log, Metric, Progress
from service.pb import fine_tuning_pb2_grpc, models_pb2_grpc
from service.registry.versions.alias_store import AliasStore
from service.training.job_spec import JobSpec
from service.wire.calls import CountedServer
from service.wire.zoo_v1.fine_tuning import FineTuningServicer
from service.wire.zoo_v1.models import ModelsServicer
from tests.support.datasets.dataset_files import lines, sentences
from tests.support.jobs.fakes import make_server, write_template
from tests.support.registry.fakes import World, world
from tests.support.registry.tuned_versions import publish, with_tuned

HURT, WHOLE = "a" * 32, "b" * 32
"""The dataset that is damaged, and its neighbour."""
MODEL = "mood"


def make_datasets(home: Path) -> None:
    """Two datasets, as uploads leave them."""
    for dataset_id in (HURT, WHOLE):
        staging = home / f"staging-{dataset_id[0]}"
        staging.mkdir(parents=True)
        (staging / "upload").write_bytes(lines(sentences(20, source=dataset_id[:4])))
        order = ValidationRequest(
            id=dataset_id,
            data=staging / "upload",
            file_name="a.jsonl",
            sha256=dataset_id * 2,
            size_bytes=100,
            kind=None,
            columns=Columns(ignored=("source",)),
            display_name="Moods",
            uri="",
            owner="me",
            limits=DatasetLimits(),
        )
        (staging / REQUEST_FILE).write_text(order.model_dump_json())
        validate(staging)
        (home / "datasets").mkdir(exist_ok=True)
        (staging / DATASET).rename(home / "datasets" / dataset_id)


async def make_jobs(database: Database) -> tuple[Job, Job]:
    """Two jobs with events and a checkpoint each: one that was paused, and one that waits."""
    store, history, leases = JobStore(database), EventStore(database), Leases(database)
    made = []
    for number in range(2):
        spec = JobSpec(base="efficientnet_lite0", dataset_id=WHOLE, model=MODEL, seed=number)
        job = await store.create(spec, spec, "", "me", Quotas())
        assert await leases.claim("server", "cpu", 30.0) is not None
        point = Checkpoint(10, 1, {"validation/loss": 0.5}, True, 100, job.created)
        happened = [
            Progress(phase="training", ratio=0.5),
            Metric(name="loss", split="train", value=1.0, step=3),
            Log(level="info", text="hello"),
            point,
        ]
        await history.append(job.id, "server", [(float(i), what) for i, what in enumerate(happened)])
        await store.pause(job.id)
        made.append(await leases.move(job.id, "server", JobState.PAUSED))
    return made[0], made[1]


def make_versions(home: Path) -> None:
    """Two versions of one model."""
    for slope in (1.0, 2.0):
        publish(home, MODEL, slope)


@dataclass
class FaultServer:
    """The services over a home."""

    home: Path
    database: Database
    fine_tuning: Any
    models: Any
    jobs: JobService
    world: World


def make_database(home: Path) -> None:
    """Tables with nothing in them, which takes longer than to copy them."""

    async def make() -> None:
        database = database_at(home)
        await database.open()
        database.close()

    asyncio.run(make())


def database_at(home: Path) -> Database:
    return Database(database_url("", home))


def execute(home: Path, statement: str, *values: object) -> None:
    """Executes a statement on the home's database, past the rules of the code."""
    with closing(sqlite3.connect(home / "zoo.db")) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute(statement, values)
        connection.commit()


def clone_job(home: Path, job_id: str, new: str) -> None:
    """The same job once more, with its events and checkpoints, under another id."""
    with closing(sqlite3.connect(home / "zoo.db")) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        for table, key in (("jobs", "id"), ("events", "job_id"), ("checkpoints", "job_id")):
            names = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
            chosen = ", ".join("?" if name == key else name for name in names)
            connection.execute(f"INSERT INTO {table} SELECT {chosen} FROM {table} WHERE {key} = ?", (new, job_id))
        connection.commit()


@asynccontextmanager
async def fault_server(home: Path, *, start: bool = False) -> AsyncIterator[FaultServer]:
    """`start`: whether jobs are worked on."""
    database = database_at(home)
    await database.open()
    write_template(home)
    versions = Versions(home)
    async with world(versions=versions, aliases=AliasStore(database)) as w:
        with_tuned(w, home)
        await w.registry.restore()
        datasets = DatasetStore(home)
        job_server = make_server(database, home, w.recorder, datasets=datasets)
        jobs = job_server.jobs
        server = aio.server()
        counted: Any = CountedServer(server, w.recorder)
        fine_tuning_pb2_grpc.add_FineTuningServicer_to_server(FineTuningServicer(datasets, jobs), counted)
        models_pb2_grpc.add_ModelsServicer_to_server(ModelsServicer(w.registry), counted)
        port = server.add_insecure_port("127.0.0.1:0")
        await datasets.start()
        if start:
            await job_server.start()
        await server.start()
        try:
            async with aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                yield FaultServer(
                    home,
                    database,
                    fine_tuning_pb2_grpc.FineTuningStub(channel),
                    models_pb2_grpc.ModelsStub(channel),
                    jobs,
                    w,
                )
        finally:
            await server.stop(None)
            if start:
                await job_server.stop(1.0)
    database.close()


def is_a_reason(text: str, home: Path) -> bool:
    """One clause for a user, without a path of the server."""
    return bool(text) and str(home) not in text and "\n" not in text and len(text) < 200 and "Traceback" not in text


async def code_of(call: Any) -> grpc.StatusCode:
    """How a call ends."""
    try:
        await call
    except aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK
