"""An upload becomes a dataset exactly once, and leaves nothing but the dataset, whatever fails on the way."""

import errno
import os
import time
from pathlib import Path

import pytest

from service.datasets.dataset import Columns, DatasetKind, dataset_folder
from service.datasets.dataset_limits import DatasetLimits
from service.datasets.dataset_store import DatasetStore
from service.datasets.examples import open_dataset
from service.datasets.upload import staging, uploads, validator_process
from service.errors import StorageFull
from tests.support.datasets.dataset_files import (
    accept_everything,
    header,
    leftovers,
    lines,
    photos,
    refused,
    sentences,
    upload,
    zipped,
)

DATA = lines(sentences(40))


@pytest.fixture
def accepted(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    return accept_everything(monkeypatch)


@pytest.fixture
def store(tmp_path: Path) -> DatasetStore:
    return DatasetStore(tmp_path)


# ── the whole way ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.asyncio
async def test_uploaded_images_are_returned_unchanged(store: DatasetStore, tmp_path: Path) -> None:
    files = photos({"cats": 3, "dogs": 4})
    stored = await upload(store, zipped(files), "pets.zip", display_name="My pets", owner="ann")
    assert not stored.existed
    assert stored.info.kind is DatasetKind.IMAGE_FOLDER
    assert stored.info.report.class_counts == {"cats": 3, "dogs": 4}
    assert (stored.info.display_name, stored.info.owner) == ("My pets", "ann")
    examples = open_dataset(tmp_path, stored.info.id)
    assert [examples[i].instance.data for i in range(len(examples))] == list(files.values())  # type: ignore[union-attr]
    assert leftovers(tmp_path) == []


# ── room ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.asyncio
async def test_disk_filling_up_during_an_upload_leaves_nothing(
    store: DatasetStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = await store.begin(header(DATA, "a.jsonl"))
    await store.append(begun, DATA[:50])

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device", str(tmp_path))

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        error = await refused(store.append(begun, DATA[50:]), StorageFull)
    assert str(tmp_path) not in error.message
    assert leftovers(tmp_path) == []
    await store.abandon(begun)


@pytest.mark.asyncio
async def test_disk_without_space_refuses_an_upload_at_once(store: DatasetStore) -> None:
    """No disk has an exabyte."""
    huge = DatasetStore(store._home, DatasetLimits(dataset_bytes=1 << 61))
    await refused(huge.begin(header(DATA, "a.jsonl").__class__("0" * 64, 1 << 60, "a.zip")), StorageFull)


@pytest.mark.asyncio
async def test_disk_full_during_validation_is_reported_and_cleaned_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The child's file size limit is smaller than the dataset, which gives the same error as a full disk."""
    store = DatasetStore(tmp_path)
    data = lines(sentences(40, more="x" * 50_000))

    script = 'ulimit -f 4; trap "" XFSZ; exec "$@"'
    monkeypatch.setattr(validator_process, "COMMAND", ("sh", "-c", script, "sh", *validator_process.COMMAND))
    await refused(upload(store, data, "a.jsonl", columns=Columns(text="more", target="label")), StorageFull)
    assert leftovers(tmp_path) == []


@pytest.mark.asyncio
async def test_datasets_over_the_quota_are_refused(tmp_path: Path, accepted: list[Path]) -> None:
    store = DatasetStore(tmp_path, DatasetLimits(total_bytes=3 * len(DATA)))
    stored = await upload(store, DATA, "a.jsonl")
    (dataset_folder(tmp_path, stored.info.id) / "more").write_bytes(bytes(3 * len(DATA)))
    other = lines(sentences(41))
    store = DatasetStore(tmp_path, DatasetLimits(total_bytes=3 * len(DATA)))
    error = await refused(upload(store, other, "a.jsonl"), StorageFull)
    assert "delete some" in error.message
    await store.delete(stored.info.id)
    await upload(store, other, "a.jsonl")


@pytest.mark.asyncio
async def test_files_deleted_while_sizes_are_counted_do_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Meanwhile other uploads end, and jobs rename their files."""
    store = DatasetStore(tmp_path)
    stored = await upload(store, DATA, "a.jsonl")
    walk, lstat = os.walk, Path.lstat

    def gone(path: Path) -> os.stat_result:
        path.unlink()
        return lstat(path)

    monkeypatch.setattr(Path, "lstat", gone)
    assert await store.delete(stored.info.id) == 0
    assert [names for _, _, names in walk(tmp_path / "datasets")] == [[]]


@pytest.mark.asyncio
async def test_restart_removes_leftovers_of_a_killed_server(tmp_path: Path) -> None:
    dead, deleted = tmp_path / "datasets" / ".staging-dead", tmp_path / "datasets" / ".deleted-dead"
    for folder in (dead, deleted):
        folder.mkdir(parents=True)
        (folder / "lock").touch()
    old = uploads.part_path(tmp_path, "a" * 64)
    old.parent.mkdir()
    old.touch()
    os.utime(old, (time.time() - 2 * uploads.UPLOAD_RETENTION_S,) * 2)
    fresh = uploads.part_path(tmp_path, "b" * 64)
    fresh.write_bytes(b"12")
    alive = staging.StagingFolder(tmp_path)
    orphan = tmp_path / "features" / f"{'b' * 16}-{'0' * 32}"
    orphan.mkdir(parents=True)
    await DatasetStore(tmp_path).start()
    assert not orphan.exists()
    assert leftovers(tmp_path) == [fresh.name, alive.folder.name]
    alive.remove()
