"""A header is checked field by field, and determines the id of the dataset."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from service.datasets import dataset_store as store_module
from service.datasets.dataset import Columns
from service.datasets.dataset_store import DatasetStore
from service.errors import InvalidInput
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
async def test_same_data_with_the_same_header_is_one_dataset(store: DatasetStore, accepted: list[Path]) -> None:
    first = await upload(store, DATA, "a.jsonl")
    again = await upload(store, DATA, "b.jsonl")
    otherwise = await upload(store, DATA, "a.jsonl", columns=Columns(target="label"))
    assert again.existed
    assert again.info.id == first.info.id
    assert len(first.info.id) == 32
    assert not otherwise.existed
    assert otherwise.info.id != first.info.id


WRONG: list[tuple[str, dict[str, Any]]] = [
    ("header.sha256", {"sha256": ""}),
    ("header.sha256", {"sha256": "A" * 64}),
    ("header.sha256", {"sha256": "../" * 21 + "a"}),
    ("header.size_bytes", {"size_bytes": 0}),
    ("header.size_bytes", {"size_bytes": -1}),
    ("header.size_bytes", {"size_bytes": 1 << 40}),
    ("header.offset", {"offset": -1}),
    ("header.offset", {"offset": 11}),
    ("header.offset", {"offset": 5}),
    ("header.file_name", {"file_name": ""}),
    ("header.file_name", {"file_name": "a.exe"}),
    ("header.file_name", {"file_name": "zip"}),
    ("header.display_name", {"display_name": "x" * 129}),
]


@pytest.mark.asyncio
@pytest.mark.parametrize(("field", "given"), WRONG)
async def test_header_with_a_wrong_field_is_refused_by_that_field(
    store: DatasetStore, field: str, given: dict[str, Any]
) -> None:
    make: Callable[..., Any] = store_module.UploadHeader
    error = await refused(store.begin(make(**({"sha256": "0" * 64, "size_bytes": 10, "file_name": "a.zip"} | given))))
    assert isinstance(error, InvalidInput)
    assert error.field == field
    assert leftovers(store._home) == [], "and nothing is kept"
