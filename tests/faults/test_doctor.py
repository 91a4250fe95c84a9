"""`zoo doctor` names damage, quarantines it on request, and changes nothing else."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from model_zoo.locking import try_lock
from service.cli.main import app
from service.doctor.checkup import run_checkup
from service.pb import fine_tuning_pb2 as pb
from service.pb import models_pb2
from service.settings import HOME_LOCK, SettingsError, load_settings
from service.startup import open_database
from tests.support.registry.damaged_home import (
    HURT,
    MODEL,
    WHOLE,
    clone_job,
    database_at,
    execute,
    fault_server,
    make_datasets,
    make_jobs,
    make_versions,
)
from tests.support.registry.tuned_versions import write_manifest

Damage = Callable[[Path], object]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
    make_datasets(home)
    make_versions(home)

    async def make() -> None:
        database = database_at(home)
        await database.open()
        job, _ = await make_jobs(database)
        for folder in (home / "jobs" / job.id / "checkpoints" / "10",):
            folder.mkdir(parents=True)
            (folder / "model.safetensors").write_text("weights")
            (folder / "state.json").write_text("{}")
        clone_job(home, job.id, "c1")
        database.close()

    asyncio.run(make())
    execute(home, "UPDATE jobs SET lease_owner = '', lease_until = 0")
    execute(home, "INSERT INTO aliases VALUES (?, 'best', 2, 1.0)", MODEL)
    for rubbish in (*home.glob("staging-*"), *(p for p in home.glob("jobs/*") if len(p.name) == 32)):
        shutil.rmtree(rubbish)
    return home


@pytest.fixture
def home(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = Path(shutil.copytree(template, tmp_path / "home"))
    monkeypatch.setenv("ZOO_HOME", str(home))
    monkeypatch.delenv("ZOO_DATABASE_URL", raising=False)
    return home


def doctor(*arguments: str) -> tuple[int, dict[str, Any]]:
    """Exit code, and the output for programs."""
    done = CliRunner().invoke(app, ["doctor", "--json", *arguments])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.output
    return done.exit_code, json.loads(done.stdout) if done.stdout else {}


def checkpoint(home: Path) -> Path:
    return next((home / "jobs").glob("*/checkpoints/10"))


DAMAGES: dict[str, tuple[Damage, str]] = {
    "dataset": (lambda h: (h / "datasets" / HURT / "dataset.json").write_text("{"), "dataset"),
    "dataset a file": (
        lambda h: (shutil.rmtree(h / "datasets" / HURT), (h / "datasets" / HURT).write_text("x")),
        "dataset",
    ),
    "version": (lambda h: (h / "versions" / MODEL / "1" / "manifest.json").unlink(), "version"),
    "version a file": (
        lambda h: (shutil.rmtree(h / "versions" / MODEL / "1"), (h / "versions" / MODEL / "1").write_text("x")),
        "version",
    ),
    "checkpoint": (lambda h: (checkpoint(h) / "state.json").unlink(), "checkpoint"),
    "job row": (lambda h: execute(h, "UPDATE jobs SET spec = 'x' WHERE id = 'c1'"), "job"),
    "job row with nan": (lambda h: execute(h, "UPDATE jobs SET metrics = '{\"a\": NaN}' WHERE id = 'c1'"), "job"),
    "job row of bytes": (lambda h: execute(h, "UPDATE jobs SET spec = x'fffe' WHERE id = 'c1'"), "job"),
    "event row": (lambda h: execute(h, "UPDATE events SET body = '' WHERE job_id = 'c1' AND sequence = 3"), "event"),
    "checkpoint row": (lambda h: execute(h, "UPDATE checkpoints SET metrics = '[]' WHERE job_id = 'c1'"), "checkpoint"),
    "alias of nothing": (lambda h: execute(h, "UPDATE aliases SET version = 7"), "alias"),
    "alias row": (lambda h: execute(h, "UPDATE aliases SET version = 'x'"), "alias"),
    "upload a folder": (lambda h: (h / "uploads" / f"{'d' * 64}.part").mkdir(parents=True), "upload"),
    "lock a folder": (lambda h: (h / "jobs" / ".server-x-0").mkdir(), "leftover"),
    "folder a file": (lambda h: (h / "uploads").write_text("x"), "folder"),
    "weights": (lambda h: (h / "weights" / ("e" * 64)).mkdir(parents=True), "weights"),
}


def test_doctor_on_an_intact_home_exits_zero_and_changes_nothing(home: Path) -> None:
    before = {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}
    code, said = doctor("--digests")
    assert (code, said["sound"], said["damaged"], said["notes"]) == (0, True, [], [])
    assert said["checked"]["dataset"] == 2
    assert said["checked"]["version"] == 2
    assert said["checked"]["job"] == 3
    assert said["checked"]["alias"] == 1
    assert said["checked"]["event"] == 21
    code, said = doctor("--quarantine")
    assert (code, said["quarantined"]) == (0, [])
    after = {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}
    assert {path: data for path, data in after.items() if path != home / HOME_LOCK} == before


@pytest.mark.parametrize(("damage", "kind"), DAMAGES.values(), ids=DAMAGES)
def test_doctor_names_each_damage_and_quarantines_it(home: Path, damage: Damage, kind: str) -> None:
    damage(home)
    code, said = doctor()
    assert (code, said["sound"]) == (1, False)
    assert {one["kind"] for one in said["damaged"]} == {kind}
    assert all(one["reason"] for one in said["damaged"])
    code, said = doctor("--quarantine")
    assert (code, said["sound"], said["damaged"]) == (0, True, [])
    assert {one["kind"] for one in said["quarantined"]} == {kind}
    folder = Path(said["quarantine"])
    assert folder.parent == home / "quarantine"
    for one in json.loads((folder / "findings.json").read_text()):
        assert (folder / one["moved_to"]).exists() or (folder / one["moved_to"]).is_symlink()
    assert doctor()[0] == 0


def test_quarantined_rows_are_stored_whole_in_a_file(home: Path) -> None:
    DAMAGES["job row of bytes"][0](home)
    _, said = doctor("--quarantine")
    (file,) = (Path(said["quarantine"]) / "rows").iterdir()
    kept = json.loads(file.read_text())
    assert kept["jobs"][0]["spec"] == {"hex": "fffe"}
    assert len(kept["events"]) == 7
    assert len(kept["checkpoints"]) == 1

    async def shown() -> None:
        async with fault_server(home) as h:
            assert "c1" not in [job.id for job in (await h.fine_tuning.ListJobs(pb.ListJobsRequest())).jobs]

    asyncio.run(shown())


def test_quarantine_of_all_damages_lets_a_server_serve_the_rest(home: Path) -> None:
    for name in ("dataset", "version", "job row", "checkpoint", "alias of nothing", "weights", "lock a folder"):
        DAMAGES[name][0](home)
    assert len(doctor()[1]["damaged"]) == 7
    assert doctor("--quarantine")[0] == 0

    async def serve() -> None:
        async with fault_server(home, start=True) as h:
            listed = await h.fine_tuning.ListDatasets(pb.ListDatasetsRequest())
            assert [one.id for one in listed.datasets] == [WHOLE]
            versions = await h.models.ListVersions(models_pb2.ListVersionsRequest(model=MODEL))
            assert [one.number for one in versions.versions] == [2]
            assert len((await h.fine_tuning.ListJobs(pb.ListJobsRequest())).jobs) == 2

    asyncio.run(serve())


def test_doctor_with_contents_option_compares_digests(home: Path) -> None:
    weights = home / "versions" / MODEL / "2" / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    assert doctor()[0] == 0
    code, said = doctor("--digests")
    assert code == 1
    assert [(one["kind"], one["reason"]) for one in said["damaged"]] == [
        ("version", "model.safetensors is not the file that was published")
    ]
    shard = home / "datasets" / HURT / "examples" / "data-00000-of-00001.arrow"
    shard.write_bytes(b"x" * 100 + bytes(8))
    assert [one["kind"] for one in doctor("--digests")[1]["damaged"]] == ["dataset", "version"]


@pytest.mark.parametrize("content", [b"", b"hello, I am no database", b"SQLite format 3\0" + b"\xff" * 4096])
def test_doctor_names_a_file_that_is_no_database_and_leaves_it(home: Path, content: bytes) -> None:
    (home / "zoo.db").write_bytes(content)
    code, said = doctor("--quarantine")
    if content:
        assert (code, [one["kind"] for one in said["damaged"]]) == (1, ["database"])
    else:  # which SQLite takes for a new one
        assert (code, next(one["reason"] for one in said["notes"])[:8]) == (0, "is empty")
    assert (home / "zoo.db").read_bytes() == content


def test_doctor_names_a_damaged_database_page(home: Path) -> None:
    data = bytearray((home / "zoo.db").read_bytes())
    data[4096 * 3 : 4096 * 4] = b"\xff" * 4096
    (home / "zoo.db").write_bytes(data)
    code, said = doctor()
    assert code == 1
    assert any(one["kind"] == "database" for one in said["damaged"])


def test_doctor_names_tables_of_a_newer_zoo(home: Path) -> None:
    execute(home, "UPDATE alembic_version SET version_num = '9999'")
    execute(home, "UPDATE schema_compatibility SET oldest_compatible = '9999'")
    code, said = doctor()
    assert code == 1
    assert said["damaged"][0]["reason"] == "was written by a newer Zoo (its tables are at '9999')"


def test_doctor_leaves_what_a_newer_zoo_wrote_where_it_is(home: Path) -> None:
    execute(home, "UPDATE alembic_version SET version_num = '9999'")
    execute(
        home,
        "UPDATE jobs SET spec = json_set(spec, '$.hologram', 1), zoo_version = '99.0.0', state = 'queued' WHERE id = 'c1'",
    )
    execute(home, "UPDATE jobs SET state = 'dreaming', zoo_version = '99.0.0' WHERE id != 'c1'")
    execute(home, "UPDATE events SET kind = 'dream' WHERE sequence = 3")
    with_new_field(home / "datasets" / HURT, "dataset.json")
    with_new_field(home / "versions" / MODEL / "1", "card.json")
    with_new_field(home / "versions" / MODEL / "1", "lineage.json", zoo_version="99.0.0")
    write_manifest(home / "versions" / MODEL / "1")
    code, said = doctor("--digests", "--quarantine")
    assert (code, said["damaged"], said["quarantined"]) == (0, [], [])
    assert {(one["kind"], one["reason"]) for one in said["notes"]} == {
        ("database", "its tables are those of a newer Zoo ('9999'), which this one can use"),
        ("job", "waits for a server of the newer Zoo that created it"),
        ("version", "it needs Zoo 99.0.0 or newer, which published it"),
    }


def with_new_field(folder: Path, name: str, **fields: str) -> None:
    document = json.loads((folder / name).read_text())
    (folder / name).write_text(json.dumps(document | {"hologram": 1} | fields))


@pytest.mark.parametrize("name", ["../datasets", "..", ".", "a/b"])
def test_quarantine_of_a_job_whose_id_is_a_path_moves_no_folder(home: Path, name: str) -> None:
    clone_job(home, "c1", "c2")
    execute(home, "DELETE FROM events WHERE job_id = 'c2'")
    execute(home, "DELETE FROM checkpoints WHERE job_id = 'c2'")
    execute(home, "UPDATE jobs SET spec = 'x', id = ? WHERE id = 'c2'", name)
    before = folders(home)
    assert [one["kind"] for one in doctor("--quarantine")[1]["quarantined"]] == ["job"]
    assert before <= folders(home)


def folders(home: Path) -> set[Path]:
    return {path.relative_to(home) for path in home.rglob("*") if path.is_dir() and "quarantine" not in path.parts}


def test_doctor_notes_a_database_that_every_user_may_read(home: Path) -> None:
    (home / "zoo.db").chmod(0o644)
    code, said = doctor()
    assert code == 0
    assert [one["reason"] for one in said["notes"]] == [
        "every user of this machine may read it; `chmod 0600` changes this"
    ]


def test_quarantine_while_a_server_runs_is_refused(home: Path) -> None:
    DAMAGES["dataset"][0](home)

    async def meanwhile() -> None:
        database = await open_database(load_settings())
        try:
            done = CliRunner().invoke(app, ["doctor", "--quarantine"])
            assert done.exit_code == 2
            assert "a server or a pull works on" in done.output
            assert any("a server runs on it" in note.reason for note in run_checkup(home).notes)
        finally:
            database.close()

    asyncio.run(meanwhile())
    assert (home / "datasets" / HURT).exists()


def test_quarantine_while_another_machine_works_on_a_job_is_refused(home: Path) -> None:
    DAMAGES["dataset"][0](home)
    execute(home, "UPDATE jobs SET state = 'running', lease_owner = 'elsewhere-1', lease_until = 9e12 WHERE id = 'c1'")
    done = CliRunner().invoke(app, ["doctor", "--quarantine"])
    assert done.exit_code == 2
    assert "elsewhere-1 runs a job" in done.output
    assert (home / "datasets" / HURT).exists()


def test_server_start_during_a_quarantine_is_refused(home: Path) -> None:
    descriptor = try_lock(home / HOME_LOCK, exclusive=True)
    assert descriptor is not None
    with pytest.raises(SettingsError, match="`zoo doctor --quarantine` or `zoo cache prune` works on"):
        asyncio.run(open_database(load_settings()))


@pytest.mark.parametrize("name", ["datasets", "jobs", "uploads", "versions", "weights"])
def test_server_start_with_a_file_in_place_of_a_folder_fails_with_a_sentence(home: Path, name: str) -> None:
    shutil.rmtree(home / name, ignore_errors=True)
    (home / name).write_text("x")
    with pytest.raises(SettingsError, match=rf"{name} is no folder; `zoo doctor --quarantine` moves it aside"):
        asyncio.run(open_database(load_settings()))
    doctor("--quarantine")

    async def starts() -> None:
        (await open_database(load_settings())).close()

    asyncio.run(starts())


@pytest.mark.parametrize("content", [b"hello, I am no database", b"SQLite format 3\0" + b"\xff" * 4096])
def test_server_start_with_a_file_that_is_no_database_fails_with_a_sentence(home: Path, content: bytes) -> None:
    (home / "zoo.db").write_bytes(content)
    with pytest.raises(
        SettingsError, match=r"ZOO_HOME: the database .* cannot be used: it is damaged .*; `zoo doctor` says more"
    ):
        asyncio.run(open_database(load_settings()))


def test_doctor_on_a_missing_home_finds_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "nowhere"))
    code, said = doctor("--quarantine")
    assert (code, said["sound"], said["notes"][0]["reason"]) == (0, True, "does not exist yet; a server creates it")
    assert not (tmp_path / "nowhere").exists()
    (tmp_path / "nowhere").write_text("x")
    assert doctor()[0] == 1


def test_doctor_output_names_damage_and_remedy(home: Path) -> None:
    DAMAGES["dataset"][0](home)
    done = CliRunner().invoke(app, ["doctor"])
    assert done.exit_code == 1
    assert f"dataset  {HURT}" in done.output
    assert "its dataset.json is not JSON" in done.output
    assert "zoo doctor --quarantine" in done.output
    assert "1 damaged" in done.output


def test_doctor_imports_no_torch(home: Path) -> None:
    script = """
import sys
sys.argv = ["zoo", "doctor", "--digests"]
from service.cli.main import main
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
print("LOADED", sorted({"torch", "transformers", "timm", "grpc"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines()[-1] == "LOADED []"
