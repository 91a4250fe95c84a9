"""A server over a home in which something of every kind is damaged: it starts, serves the rest, and what is damaged can go."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from service.client import Client, ZooClientError
from tests.support.end_to_end.preloaded import run_preloaded
from tests.support.end_to_end.server_process import ServerProcess
from tests.support.paths import DATASET_FILES
from tests.support.registry.damaged_home import (
    HURT,
    MODEL,
    WHOLE,
    clone_job,
    database_at,
    execute,
    make_datasets,
    make_jobs,
    make_versions,
)

DATA = DATASET_FILES


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / "home"
    make_datasets(home)
    make_versions(home)

    async def make() -> None:
        database = database_at(home)
        await database.open()
        job, _ = await make_jobs(database)
        clone_job(home, job.id, "c1")
        database.close()

    asyncio.run(make())
    execute(home, "INSERT INTO aliases VALUES (?, 'best', 2, 1.0)", MODEL)
    execute(home, "INSERT INTO traffic VALUES (?, 0, 1.0, 1)", MODEL)
    return home


def damage(home: Path) -> None:
    """Something of every kind, as earlier versions, full disks and power cuts leave it."""
    info = home / "datasets" / HURT / "dataset.json"
    document = json.loads(info.read_text())
    document["report"]["target_statistics"] = {"mean": 1.0, "std": None}  # an infinite figure, as it was written once
    info.write_text(json.dumps(document))
    execute(home, "UPDATE jobs SET spec = '{', metrics = '{\"a\": NaN}' WHERE id = 'c1'")
    execute(home, "UPDATE events SET body = CAST(x'ff00' AS TEXT) WHERE job_id = 'c1'")
    (home / "versions" / MODEL / "1" / "card.json").write_bytes(b"")
    execute(home, "UPDATE aliases SET version = 'x'")
    execute(home, "UPDATE traffic SET revision = 'x'")
    (home / "uploads").mkdir(exist_ok=True)
    (home / "uploads" / f"{'d' * 64}.part").mkdir()
    (home / "datasets" / ".staging-x").write_text("x")
    (home / "jobs" / ".deleted-x").write_text("x")


def zoo(server: ServerProcess, home: Path, *arguments: str) -> Any:
    done = run_preloaded(*arguments, "--server", f"127.0.0.1:{server.port}", "--json", ZOO_HOME=str(home))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_server_on_a_damaged_home_serves_intact_items_and_deletes_damaged_ones(home: Path) -> None:
    with ServerProcess("--model", "char_lstm", ZOO_HOME=str(home), ZOO_JOBS_PER_DEVICE="0") as server:
        server.live()
        assert not any(one["damaged"] for one in zoo(server, home, "datasets")["datasets"])
    damage(home)
    assert run_preloaded("doctor", ZOO_HOME=str(home)).returncode == 1
    with ServerProcess("--model", "char_lstm", ZOO_HOME=str(home), ZOO_JOBS_PER_DEVICE="0") as server:
        server.live()
        datasets = {one["id"]: one["damaged"] for one in zoo(server, home, "datasets")["datasets"]}
        assert datasets.keys() == {HURT, WHOLE}
        assert "report.target_statistics" in datasets[HURT]
        assert datasets[WHOLE] == ""
        jobs = {one["id"]: one["damaged"] for one in zoo(server, home, "jobs")["jobs"]}
        assert [bool(damaged) for job, damaged in jobs.items() if job == "c1"] == [True]
        assert [bool(damaged) for job, damaged in jobs.items() if job != "c1"] == [False, False]
        versions = {one["number"]: one["damaged"] for one in zoo(server, home, "versions", MODEL)["versions"]}
        assert versions[1]
        assert versions[2] == ""
        assert MODEL in [one["name"] for one in zoo(server, home, "models")["models"]]
        plain = run_preloaded("datasets", "--server", f"127.0.0.1:{server.port}", ZOO_HOME=str(home)).stdout
        assert "damaged: its dataset.json" in plain
        assert str(home) not in plain

        with Client(f"127.0.0.1:{server.port}") as client:
            with pytest.raises(ZooClientError, match="at least 10 are needed; 1 left out"):
                client.upload_dataset(DATA / "poison_target_dblmax.csv")
            stored = client.upload_dataset(DATA / "huge_number.csv")
            assert any("counts as empty" in warning for warning in stored.report.warnings)
            client.cancel_job("c1")
            assert len([e for e in client.watch_job("c1") if "is damaged" in getattr(e.what, "text", "")]) == 7
            client.delete_dataset(HURT)
            client.delete_job("c1")
            client.delete_version(MODEL, 1)
            client.set_alias(MODEL, "best", 2)
            assert {one.id for one in client.datasets()} == {WHOLE, stored.id}
            assert len(list(client.jobs())) == 2
            assert [one.number for one in client.versions(MODEL).versions] == [2]
        assert not [event for event in server.events if event.get("event") == "unexpected error"]
        assert "a server or a pull works on" in run_preloaded("doctor", "--quarantine", ZOO_HOME=str(home)).stderr
    done = run_preloaded("doctor", "--quarantine", "--json", ZOO_HOME=str(home))
    assert done.returncode == 0, done.stdout
    assert [one["kind"] for one in json.loads(done.stdout)["quarantined"]] == ["upload"], "the server removed the rest"
