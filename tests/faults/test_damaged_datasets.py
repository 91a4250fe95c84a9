"""A dataset with damaged files is reported as damaged, can be deleted, and harms no other dataset."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest

from service.datasets.dataset import DatasetInfo
from service.errors import Damaged
from service.pb import fine_tuning_pb2 as pb
from tests.support.registry.damaged_home import (
    HURT,
    WHOLE,
    code_of,
    database_at,
    fault_server,
    is_a_reason,
    make_database,
    make_datasets,
)

pytestmark = pytest.mark.asyncio

Damage = Callable[[Path], None]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
    make_datasets(home)
    make_database(home)
    return home


@pytest.fixture
def home(template: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(template, tmp_path / "home"))


def written(name: str, content: bytes) -> Damage:
    return lambda folder: (folder / name).write_bytes(content) and None


def cut(name: str, share: float) -> Damage:
    def damage(folder: Path) -> None:
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[: int(len(data) * share)])

    return damage


def missing(name: str) -> Damage:
    return lambda folder: (folder / name).unlink()


def a_folder(name: str) -> Damage:
    def damage(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).mkdir()

    return damage


def with_fields(**changes: Any) -> Damage:
    """Changes fields of dataset.json; `None` removes one."""

    def damage(folder: Path) -> None:
        document = json.loads((folder / "dataset.json").read_text())
        for name, value in changes.items():
            part = document
            *parents, last = name.split("__")
            for parent in parents:
                part = part[parent]
            if value is None:
                del part[last]
            else:
                part[last] = value
        (folder / "dataset.json").write_text(json.dumps(document))

    return damage


def replaced(make: Callable[[Path], object]) -> Damage:
    def damage(folder: Path) -> None:
        shutil.rmtree(folder)
        make(folder)

    return damage


STATISTICS = "report__target_statistics"
DAMAGES: dict[str, Damage] = {
    "info empty": written("dataset.json", b""),
    "info of zeros": written("dataset.json", bytes(512)),
    "info cut": cut("dataset.json", 0.5),
    "info no json": written("dataset.json", b"hello"),
    "info no text": written("dataset.json", b"\xff\xfe\x00"),
    "info a list": written("dataset.json", b"[]"),
    "info a number": written("dataset.json", b"1"),
    "info deep": written("dataset.json", b"[" * 100_000),
    "info missing": missing("dataset.json"),
    "info a folder": a_folder("dataset.json"),
    "info of another": with_fields(id="c" * 32),
    "statistics null": with_fields(**{STATISTICS: {"std": "null"}}),
    "statistics infinite": with_fields(**{STATISTICS: {"std": float("inf")}}),
    "statistics nan": with_fields(**{STATISTICS: {"std": float("nan")}}),
    "figure too large": written("dataset.json", b'{"size_bytes": 1e999}'),
    "field missing": with_fields(kind=None),
    "kind unknown": with_fields(kind="hologram"),
    "field of a wrong type": with_fields(report="none"),
    "time wrong": with_fields(created="yesterday"),
    "number out of range": with_fields(size_bytes=10**30),
    "count out of range": with_fields(report__class_counts={"good": 2**70}),
    "half a surrogate": with_fields(display_name="\ud800"),
    "state missing": missing("examples/state.json"),
    "state empty": written("examples/state.json", b""),
    "state of wrong types": written("examples/state.json", b'{"_data_files": "x"}'),
    "state without files": written("examples/state.json", b'{"_data_files": []}'),
    "examples missing": missing("examples/data-00000-of-00001.arrow"),
    "examples empty": written("examples/data-00000-of-00001.arrow", b""),
    "examples cut": cut("examples/data-00000-of-00001.arrow", 0.5),
    "examples a folder": a_folder("examples/data-00000-of-00001.arrow"),
    "folder empty": replaced(lambda folder: folder.mkdir()),
    "folder a file": replaced(lambda folder: folder.write_text("x")),
    "folder a dead link": replaced(lambda folder: folder.symlink_to("nowhere")),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
async def test_damaged_dataset_is_listed_and_deleted_without_harm_to_others(home: Path, damage: Damage) -> None:
    damage(home / "datasets" / HURT)
    async with fault_server(home) as h:
        listed = {d.id: d for d in (await h.fine_tuning.ListDatasets(pb.ListDatasetsRequest())).datasets}
        assert set(listed) == {HURT, WHOLE}
        assert listed[HURT].state == pb.DATASET_STATE_DAMAGED
        assert is_a_reason(listed[HURT].damaged, home)
        assert (listed[WHOLE].state, listed[WHOLE].damaged) == (pb.DATASET_STATE_READY, "")
        paged = [
            (await h.fine_tuning.ListDatasets(pb.ListDatasetsRequest(page_size=1))).next_page_token,
            (await h.fine_tuning.GetDataset(pb.GetDatasetRequest(id=HURT))).dataset.damaged,
            (await h.fine_tuning.GetDataset(pb.GetDatasetRequest(id=WHOLE))).dataset.report.example_count,
        ]
        assert paged[1:] == [listed[HURT].damaged, 20]
        rest = await h.fine_tuning.ListDatasets(pb.ListDatasetsRequest(page_size=1, page_token=paged[0]))
        assert len(rest.datasets) == 1
        job = pb.JobSpec(base="efficientnet_lite0", dataset_id=HURT, model="mine")
        assert await code_of(h.fine_tuning.CreateJob(pb.CreateJobRequest(spec=job))) in (
            grpc.StatusCode.FAILED_PRECONDITION,
            *([grpc.StatusCode.OK] if "out of range" in listed[HURT].damaged else []),  # the data are there
        )
        await h.fine_tuning.DeleteDataset(pb.DeleteDatasetRequest(id=HURT, force=True))
        left = await h.fine_tuning.ListDatasets(pb.ListDatasetsRequest())
        assert [d.id for d in left.datasets] == [WHOLE]
        assert sorted(path.name for path in (home / "datasets").iterdir()) == [WHOLE]
        assert await code_of(h.fine_tuning.GetDataset(pb.GetDatasetRequest(id=HURT))) is grpc.StatusCode.NOT_FOUND


async def test_dataset_with_a_field_of_a_newer_zoo_is_intact(home: Path) -> None:
    with_fields(surprise=1)(home / "datasets" / HURT)
    async with fault_server(home) as h:
        for dataset in (await h.fine_tuning.ListDatasets(pb.ListDatasetsRequest())).datasets:
            assert (dataset.state, dataset.damaged) == (pb.DATASET_STATE_READY, "")


async def test_dataset_damage_and_repair_at_run_time_are_noticed(home: Path) -> None:
    info = home / "datasets" / HURT / "dataset.json"
    whole = info.read_bytes()
    async with fault_server(home) as h:

        async def state() -> int:
            listed = await h.fine_tuning.ListDatasets(pb.ListDatasetsRequest())
            return next(d.state for d in listed.datasets if d.id == HURT)

        assert await state() == pb.DATASET_STATE_READY
        info.write_bytes(whole[:-10])
        assert await state() == pb.DATASET_STATE_DAMAGED
        info.write_bytes(whole)
        assert await state() == pb.DATASET_STATE_READY


async def test_readable_parts_of_a_damaged_dataset_are_shown(home: Path) -> None:
    with_fields(**{STATISTICS: {"std": float("inf")}})(home / "datasets" / HURT)
    info = home / "datasets" / HURT / "dataset.json"
    info.write_text(info.read_text().replace("Infinity", "null"))  # as an earlier version wrote it
    async with fault_server(home) as h:
        shown = (await h.fine_tuning.GetDataset(pb.GetDatasetRequest(id=HURT))).dataset
        assert (shown.display_name, shown.kind, shown.owner) == ("Moods", pb.DATASET_KIND_TEXT, "me")
        assert shown.create_time.seconds > 1.7e9
        assert "report.target_statistics" in shown.damaged
        by_kind = await h.fine_tuning.ListDatasets(pb.ListDatasetsRequest(kind=pb.DATASET_KIND_TEXT))
        assert {d.id for d in by_kind.datasets} == {HURT, WHOLE}


@pytest.mark.parametrize("damage", ["info cut", "examples missing", "folder a file"])
async def test_upload_of_the_same_bytes_replaces_a_damaged_dataset(home: Path, damage: str, tmp_path: Path) -> None:
    from service.datasets.dataset_store import DatasetStore
    from tests.support.datasets.dataset_files import lines, sentences, upload

    store = DatasetStore(home)
    data = lines(sentences())
    stored = await upload(store, data, "a.jsonl")
    DAMAGES[damage](home / "datasets" / stored.info.id)
    with pytest.raises(Damaged, match="delete it, and upload the data again"):
        await store.get(stored.info.id)
    again = await upload(store, data, "a.jsonl")
    assert not again.existed
    assert again.info.id == stored.info.id
    assert isinstance(await store.get(stored.info.id), DatasetInfo)


@pytest.mark.parametrize(
    "rubbish",
    ["datasets/.staging-x", "datasets/.deleted-x", "datasets/README", f"uploads/{'d' * 64}.part", "jobs/.deleted-x"],
)
@pytest.mark.parametrize("folder", [True, False])
async def test_server_starts_with_foreign_files_in_its_home(home: Path, rubbish: str, folder: bool) -> None:
    path = home / rubbish
    path.parent.mkdir(exist_ok=True)
    path.mkdir() if folder else path.write_text("x")
    async with fault_server(home, start=True) as h:
        listed = await h.fine_tuning.ListDatasets(pb.ListDatasetsRequest())
        assert len(listed.datasets) == 2
        await h.fine_tuning.GetUpload(pb.GetUploadRequest(sha256="d" * 64))


async def test_server_starts_with_a_folder_in_place_of_a_lock(home: Path) -> None:
    (home / "datasets" / ".staging-x" / "lock").mkdir(parents=True)
    database_at(home).close()
    async with fault_server(home, start=True) as h:
        assert len((await h.fine_tuning.ListDatasets(pb.ListDatasetsRequest())).datasets) == 2
