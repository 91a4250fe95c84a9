"""Jobs with damaged rows or folders are reported as damaged, can be deleted, and stop no other job."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import grpc
import pytest

from service.pb import fine_tuning_pb2 as pb
from tests.support.registry.damaged_home import (
    clone_job,
    code_of,
    database_at,
    execute,
    fault_server,
    is_a_reason,
    make_datasets,
    make_jobs,
)

pytestmark = pytest.mark.asyncio

COLUMNS = [
    "owner", "asked", "spec", "model", "base", "dataset_id", "priority", "device", "state", "reason", "pause_wanted",
    "progress", "metrics", "version", "promotion_outcome", "created", "started", "ended", "not_before", "attempts",
    "deaths", "yielding", "last_event", "lease_owner", "lease_until",
]  # fmt: skip
VALUES: dict[str, object] = {
    "empty": "",
    "cut": '{"loss": ',
    "no json": "hello",
    "nan": '{"loss": NaN}',
    "infinite": '{"loss": Infinity}',
    "overflow": '{"loss": 1e999}',
    "list": "[1, 2]",
    "other fields": '{"hologram": 1}',
    "wrong types": '{"loss": "much", "phase": 7}',
    "deep": "[" * 100_000,
    "surrogate": '{"phase": "\\ud800", "ratio": 0.1}',
    "bytes": b"\xff\xfe\x00",
    "negative": -7,
    "huge": 2**62,
    "endless": 9e999,
    "far": 1e300,
}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
    make_datasets(home)

    async def make() -> None:
        database = database_at(home)
        await database.open()
        hurt, whole = await make_jobs(database)
        for job in (hurt, whole):
            folder = home / "jobs" / job.id / "checkpoints" / "10"
            folder.mkdir(parents=True)
            (folder / "model.safetensors").write_text("weights")
            (folder / "state.json").write_text("{}")
        database.close()
        (home / "ids").write_text(f"{hurt.id} {whole.id}")

    asyncio.run(make())
    return home


@pytest.fixture
def home(template: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(template, tmp_path / "home"))


def ids(home: Path) -> tuple[str, str]:
    hurt, whole = (home / "ids").read_text().split()
    return hurt, whole


def clones(home: Path, column: str, **also: object) -> dict[str, str]:
    """A copy of the first job for each value that a column may be damaged with: by name of the value, the copy's id."""
    hurt, _ = ids(home)
    made = {}
    for number, (name, value) in enumerate(VALUES.items()):
        made[name] = f"c{COLUMNS.index(column):03}{number:04}"
        clone_job(home, hurt, made[name])
        for other, wanted in also.items():
            execute(home, f"UPDATE jobs SET {other} = ? WHERE id = ?", wanted, made[name])
        execute(home, f"UPDATE jobs SET {column} = ? WHERE id = ?", value, made[name])
    return made


@pytest.mark.parametrize("column", COLUMNS)
async def test_damaged_job_rows_do_not_break_lists_and_can_be_deleted(home: Path, column: str) -> None:
    whole = set(ids(home))
    made = clones(home, column)
    async with fault_server(home) as h:
        calls = h.fine_tuning
        listed = {job.id: job for job in (await calls.ListJobs(pb.ListJobsRequest())).jobs}
        assert set(listed) == whole | set(made.values())
        assert not any(listed[job].damaged for job in whole)
        paged, token = [], ""
        while token or not paged:
            page = await calls.ListJobs(pb.ListJobsRequest(page_size=3, page_token=token))
            paged += [job.id for job in page.jobs]
            token = page.next_page_token
        assert sorted(paged) == sorted(listed), "each is on one page"
        for job_id in made.values():
            damaged = listed[job_id].damaged
            assert not damaged or is_a_reason(damaged, home)
            assert (await calls.GetJob(pb.GetJobRequest(id=job_id))).job.damaged == damaged
            points = (await calls.ListCheckpoints(pb.ListCheckpointsRequest(job_id=job_id))).checkpoints
            assert not points, "their folders are not there"
            code = await code_of(calls.CancelJob(pb.CancelJobRequest(id=job_id)))
            assert code is grpc.StatusCode.OK or (damaged and code is grpc.StatusCode.FAILED_PRECONDITION)
            events = [m.event async for m in calls.WatchJob(pb.WatchJobRequest(id=job_id), timeout=20)]
            assert len(events) >= 7
            await calls.DeleteJob(pb.DeleteJobRequest(id=job_id))
            assert await code_of(calls.GetJob(pb.GetJobRequest(id=job_id))) is grpc.StatusCode.NOT_FOUND
        assert {job.id for job in (await calls.ListJobs(pb.ListJobsRequest())).jobs} == whole


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("spec", "cut"),
        ("spec", "bytes"),
        ("metrics", "nan"),
        ("metrics", "cut"),
        ("progress", "infinite"),
        ("state", "no json"),
        ("created", "no json"),
        ("created", "far"),
        ("attempts", "bytes"),
        ("deaths", "negative"),
        ("last_event", "no json"),
        ("lease_until", "no json"),
        ("not_before", "cut"),
        ("version", "bytes"),
        ("reason", "bytes"),
        ("priority", "list"),
    ],
)
async def test_damaged_job_fields_are_reported(home: Path, column: str, value: str) -> None:
    hurt, _ = ids(home)
    execute(home, f"UPDATE jobs SET {column} = ? WHERE id = ?", VALUES[value], hurt)
    async with fault_server(home) as h:
        damaged = (await h.fine_tuning.GetJob(pb.GetJobRequest(id=hurt))).job.damaged
        assert damaged.startswith("its ")
        assert damaged.endswith("cannot be read")


@pytest.mark.parametrize("state", ["paused", "queued", "running", "cancelling", "hologram"])
async def test_job_without_a_spec_can_be_deleted_in_every_state(home: Path, state: str) -> None:
    hurt, whole = ids(home)
    execute(
        home, "UPDATE jobs SET spec = 'x', state = ?, lease_owner = 'gone', lease_until = 1.0 WHERE id = ?", state, hurt
    )
    async with fault_server(home) as h:
        await h.fine_tuning.DeleteJob(pb.DeleteJobRequest(id=hurt))
        assert [job.id for job in (await h.fine_tuning.ListJobs(pb.ListJobsRequest())).jobs] == [whole]


@pytest.mark.parametrize("state", ["queued", "running", "cancelling"])
async def test_damaged_jobs_do_not_block_other_jobs(home: Path, state: str) -> None:
    """The damaged jobs are first in the queue, or were run by a server that has died."""
    _, whole = ids(home)
    damaged = clones(home, "spec", priority=1, state=state, lease_owner="gone", lease_until=1.0)
    for column in ("attempts", "deaths", "last_event", "started", "created"):
        execute(home, f"UPDATE jobs SET {column} = 'x' WHERE id LIKE 'c%' AND rowid % 3 = 0")
    execute(home, "UPDATE jobs SET state = 'queued' WHERE id = ?", whole)
    async with fault_server(home, start=True) as h:
        async with asyncio.timeout(60):
            async for _ in h.fine_tuning.WatchJob(pb.WatchJobRequest(id=whole)):
                pass
        done = (await h.fine_tuning.GetJob(pb.GetJobRequest(id=whole))).job
        assert done.state == pb.JOB_STATE_SUCCEEDED
        for job_id in damaged.values():
            job = (await h.fine_tuning.GetJob(pb.GetJobRequest(id=job_id))).job
            assert job.state == (pb.JOB_STATE_CANCELLED if state == "cancelling" else pb.JOB_STATE_FAILED)
            if state != "cancelling":
                assert job.state_reason == "its row in the database is damaged: its spec cannot be read"


@pytest.mark.parametrize("column", ["metrics", "progress", "attempts", "deaths", "last_event", "started", "version"])
async def test_job_with_harmless_damage_is_run(home: Path, column: str) -> None:
    hurt, _ = ids(home)
    execute(home, "UPDATE jobs SET state = 'queued' WHERE id = ?", hurt)
    execute(home, f"UPDATE jobs SET {column} = 'x' WHERE id = ?", hurt)
    async with fault_server(home, start=True) as h:
        async with asyncio.timeout(60):
            async for _ in h.fine_tuning.WatchJob(pb.WatchJobRequest(id=hurt)):
                pass
        done = (await h.fine_tuning.GetJob(pb.GetJobRequest(id=hurt))).job
        assert (done.state, done.damaged) == (pb.JOB_STATE_SUCCEEDED, "")


@pytest.mark.parametrize("column", ["time", "kind", "body"])
async def test_damaged_events_are_marked_among_the_others(home: Path, column: str) -> None:
    hurt, whole = ids(home)
    execute(home, "UPDATE jobs SET state = 'cancelled'")
    made = []
    for number, value in enumerate(VALUES.values()):
        made.append(f"c{number:04}")
        clone_job(home, hurt, made[-1])
        execute(home, f"UPDATE events SET {column} = ? WHERE job_id = ? AND sequence IN (1, 4, 6)", value, made[-1])
    async with fault_server(home) as h:
        for job in (*made, whole):
            events = [m.event async for m in h.fine_tuning.WatchJob(pb.WatchJobRequest(id=job), timeout=20)]
            assert [event.sequence for event in events] == [1, 2, 3, 4, 5, 6, 7]
            told = [e.sequence for e in events if "is damaged" in e.log.text]
            assert told == ([1, 4, 6] if column != "time" and job != whole else [])


@pytest.mark.parametrize("column", ["epoch", "metrics", "best", "size_bytes", "time"])
async def test_damaged_checkpoints_are_listed_as_damaged(home: Path, column: str) -> None:
    hurt, whole = ids(home)
    made = {}
    for number, (name, value) in enumerate(VALUES.items()):
        made[name] = f"c{number:04}"
        clone_job(home, hurt, made[name])
        shutil.copytree(home / "jobs" / hurt, home / "jobs" / made[name])
        execute(home, f"UPDATE checkpoints SET {column} = ? WHERE job_id = ?", value, made[name])
    async with fault_server(home) as h:
        for name, job in (*made.items(), ("whole", whole)):
            (point,) = (await h.fine_tuning.ListCheckpoints(pb.ListCheckpointsRequest(job_id=job))).checkpoints
            assert point.step == 10
            if column == "metrics":
                assert point.damaged == ("its metrics cannot be read" if name not in ("whole", "other fields") else "")
            assert name != "whole" or not point.damaged


@pytest.mark.parametrize("damage", ["a file", "empty", "no weights", "no state", "no state in it"])
async def test_checkpoint_with_damaged_files_is_listed_as_damaged(home: Path, damage: str) -> None:
    hurt, _ = ids(home)
    folder = home / "jobs" / hurt / "checkpoints" / "10"
    match damage:
        case "no weights":
            (folder / "model.safetensors").unlink()
        case "no state":
            (folder / "state.json").unlink()
        case "no state in it":
            (folder / "state.json").write_bytes(b"")
        case _:
            shutil.rmtree(folder)
            folder.write_text("x") if damage == "a file" else folder.mkdir()
    async with fault_server(home) as h:
        (point,) = (await h.fine_tuning.ListCheckpoints(pb.ListCheckpointsRequest(job_id=hurt))).checkpoints
        assert is_a_reason(point.damaged, home)


@pytest.mark.parametrize("damage", ["a file", "gone", "no checkpoints", "checkpoints a file"])
async def test_job_with_a_damaged_folder_can_be_listed_cancelled_and_deleted(home: Path, damage: str) -> None:
    hurt, whole = ids(home)
    folder = home / "jobs" / hurt
    if damage in ("a file", "gone"):
        shutil.rmtree(folder)
    else:
        shutil.rmtree(folder / "checkpoints")
    if damage.endswith("a file"):
        (folder if damage == "a file" else folder / "checkpoints").write_text("x")
    async with fault_server(home, start=True) as h:
        assert len((await h.fine_tuning.ListJobs(pb.ListJobsRequest())).jobs) == 2
        assert not (await h.fine_tuning.ListCheckpoints(pb.ListCheckpointsRequest(job_id=hurt))).checkpoints
        await h.fine_tuning.CancelJob(pb.CancelJobRequest(id=hurt))
        await h.fine_tuning.DeleteJob(pb.DeleteJobRequest(id=hurt))
        assert [job.id for job in (await h.fine_tuning.ListJobs(pb.ListJobsRequest())).jobs] == [whole]
    assert not folder.exists()
    assert not list((home / "jobs").glob(".deleted-*"))
