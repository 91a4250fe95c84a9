"""Datasets are listed in pages and deleted."""

from pathlib import Path

import pytest

from service.datasets.dataset import Columns, DatasetKind, dataset_folder
from service.datasets.dataset_store import DatasetStore
from service.datasets.examples import open_dataset
from service.datasets.upload import staging
from service.errors import IllegalMove, NotFound
from tests.support.datasets.dataset_files import (
    accept_everything,
    leftovers,
    lines,
    refused,
    sentences,
    upload,
)

DATA = lines(sentences(40))


@pytest.fixture
def accepted(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    return accept_everything(monkeypatch)


@pytest.fixture
def store(tmp_path: Path) -> DatasetStore:
    return DatasetStore(tmp_path)


@pytest.mark.asyncio
async def test_dataset_list_has_pages_newest_first(store: DatasetStore, accepted: list[Path]) -> None:
    made = [(await upload(store, DATA, "a.jsonl", columns=Columns(text=str(i)))).info.id for i in range(5)]
    made.append((await upload(store, DATA, "a.jsonl", kind=DatasetKind.TABLE)).info.id)
    first = await store.list(4)
    rest = await store.list(4, first.next)
    assert [info.id for info in (*first.datasets, *rest.datasets)] == made[::-1]
    assert first.next
    assert not rest.next
    assert [info.id for info in (await store.list(kind=DatasetKind.TABLE)).datasets] == made[-1:]
    assert not (await store.list(6)).next


@pytest.mark.asyncio
async def test_dataset_used_by_a_job_is_deleted_only_by_force(tmp_path: Path, accepted: list[Path]) -> None:
    used: set[str] = set()

    async def in_use(dataset_id: str) -> bool:
        return dataset_id in used

    store = DatasetStore(tmp_path, in_use=in_use)
    dataset_id = (await upload(store, DATA, "a.jsonl")).info.id
    used.add(dataset_id)
    assert "used by a job" in (await refused(store.delete(dataset_id), IllegalMove)).message
    assert (await store.get(dataset_id)).id == dataset_id
    features = tmp_path / "features" / f"{'b' * 16}-{dataset_id}"
    others = tmp_path / "features" / f"{'b' * 16}-{'0' * 32}"
    for folder in (features, others):
        folder.mkdir(parents=True)
        (folder / "chunk-0-1.safetensors").write_bytes(b"0123456789")
    size = staging.tree_size(dataset_folder(tmp_path, dataset_id))
    assert await store.delete(dataset_id, force=True) == size + 10 > 10
    assert not features.exists()  # features of this dataset are deleted too, and no others
    assert others.exists()
    for gone in (store.get(dataset_id), store.delete(dataset_id)):
        await refused(gone, NotFound)
    assert not (await store.list()).datasets
    with pytest.raises(NotFound):
        open_dataset(tmp_path, dataset_id)
    assert leftovers(tmp_path) == []


@pytest.mark.asyncio
@pytest.mark.parametrize("name", ["", "..", "../x", "g" * 32, "0" * 31, "0" * 5000, "\0", ".staging-1"])
async def test_dataset_id_that_is_malformed_is_not_found(store: DatasetStore, name: str) -> None:
    await refused(store.get(name), NotFound)
    await refused(store.delete(name, force=True), NotFound)
