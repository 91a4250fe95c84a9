"""Features on disk: only complete chunks are used, and every chunk is checked when it is read."""

from pathlib import Path

import numpy as np
import pytest

from model_zoo.cards.card import Card
from model_zoo.catalog import Catalog
from model_zoo.materialised import Materialised
from service.datasets.dataset import Columns, DatasetInfo
from service.training.data.feature_cache import (
    CHUNK,
    EXACT,
    REDUCED,
    SOUNDS_CHUNK,
    TRUNCATED,
    FeatureCache,
    features_folder,
    gaps,
    row_state,
)
from service.types import Item

CARD = Catalog.from_package().get("all_minilm_l6_v2")
DATASET = DatasetInfo.model_construct(id="d1", columns=Columns())


def files(folder: Path, tokenizer: bytes = b"{}") -> Materialised:
    path = folder / f"{tokenizer.hex()}.json"
    path.write_bytes(tokenizer)
    return Materialised(folder, folder / "model.safetensors", {"tokenizer": path}, "ab" * 32)


def rows(count: int, width: int = 4, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, width)).astype(np.float32)


def ones(count: int) -> np.ndarray:
    return np.ones(count, np.uint8)


def test_written_chunks_are_read_in_order(tmp_path: Path) -> None:
    cache = FeatureCache(features_folder(tmp_path, CARD, files(tmp_path), DATASET), 10)
    assert cache.folder.parent == tmp_path / "features"
    features = rows(10)
    cache.write(6, features[6:], ones(4))
    cache.write(0, features[:6], np.array([1, 1, 0, 1, 1, 1], np.uint8))
    found, ok, known = cache.read()
    np.testing.assert_array_equal(found, features)
    assert ok.tolist() == [1, 1, 0, 1, 1, 1, 1, 1, 1, 1]
    assert known.all()
    assert not cache.complete
    cache.finish(4)
    assert cache.complete


def test_folder_of_another_release_differs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another release may decode images differently: a head trained on its features would not fit the served backbone."""
    ours = features_folder(tmp_path, CARD, files(tmp_path), DATASET)
    monkeypatch.setattr("service.training.data.feature_cache.__version__", "9.9.9")
    assert features_folder(tmp_path, CARD, files(tmp_path), DATASET) != ours


def changed(**parts: object) -> Card:
    """The card with other facts in its parts."""
    given = CARD.model_dump(mode="json")
    return Card.model_validate(given | {part: given[part] | facts for part, facts in parts.items()})  # type: ignore[operator]


def test_folder_of_a_base_that_prepares_its_inputs_otherwise_differs(tmp_path: Path) -> None:
    """One repository can be pulled twice with other options: the weights are equal, and the features are not."""
    ours = files(tmp_path)
    arguments = CARD.architecture.arguments
    pairs = DATASET.model_copy(update={"columns": Columns(text_pair="title")})
    folders = [
        features_folder(tmp_path, CARD, ours, DATASET),
        features_folder(tmp_path, CARD, ours, pairs),
        features_folder(tmp_path, CARD, files(tmp_path, b"other"), DATASET),
        features_folder(tmp_path, changed(recipe={"max_tokens": 64}), ours, DATASET),
        features_folder(tmp_path, changed(recipe={"prefix": "query: "}), ours, DATASET),
        features_folder(tmp_path, changed(architecture={"arguments": {**arguments, "pooling": "cls"}}), ours, DATASET),
    ]
    assert len(set(folders)) == len(folders)
    assert features_folder(tmp_path, CARD.model_copy(update={"name": "again"}), ours, DATASET) == folders[0]


def test_empty_cache_has_no_rows(tmp_path: Path) -> None:
    found, ok, known = FeatureCache(tmp_path / "none", 3).read()
    assert found is None
    assert not ok.any()
    assert not known.any()


@pytest.mark.parametrize("how", ["cut", "other width", "not finite", "no safetensors"])
def test_damaged_chunk_counts_as_missing(tmp_path: Path, how: str) -> None:
    cache = FeatureCache(tmp_path, 8)
    cache.write(0, rows(4), ones(4))
    cache.write(4, rows(4, width=5 if how == "other width" else 4), ones(4))
    cache.finish(4)
    bad = tmp_path / "chunk-4-8.safetensors"
    if how == "cut":
        bad.write_bytes(bad.read_bytes()[:-5])
    elif how == "not finite":
        cache.write(4, np.full((4, 4), np.nan, np.float32), ones(4))
    elif how == "no safetensors":
        bad.write_text("hello")
    found, _, known = cache.read()
    assert found is not None
    assert known.tolist() == [True] * 4 + [False] * 4
    assert not bad.exists()
    assert not cache.complete


def test_files_that_are_not_chunks_are_ignored(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path, 4)
    (tmp_path / ".abc.draft").write_text("half")
    (tmp_path / "chunk-x-y.safetensors").write_text("?")
    (tmp_path / "chunk-0-99.safetensors").write_text("of another data set")
    assert cache.ranges() == []
    assert (tmp_path / "complete.json").write_text('{"count": 5, "width": 4}')
    assert not cache.complete


def test_gaps_are_unknown_ranges_of_at_most_one_chunk() -> None:
    known = np.zeros(CHUNK * 2 + 50, np.bool_)
    known[10:20] = True
    assert list(gaps(known)) == [
        (0, 10),
        (20, 20 + CHUNK),
        (20 + CHUNK, 20 + 2 * CHUNK),
        (20 + 2 * CHUNK, 50 + 2 * CHUNK),
    ]
    assert list(gaps(np.ones(5, np.bool_))) == []


def test_sounds_come_in_smaller_chunks_and_every_row_is_in_one() -> None:
    known = np.zeros(70, np.bool_)
    known[10:20] = True
    assert [*gaps(known, SOUNDS_CHUNK)] == [(0, 10), (20, 52), (52, 70)]
    assert [*gaps(known)] == [(0, 10), (20, 70)]


def test_row_notes_precision_and_a_truncated_example() -> None:
    long, whole = Item({}, notes={"truncated": True, "seconds": 31.0}), Item({})
    assert [row_state(whole, exact=True), row_state(whole, exact=False)] == [EXACT, REDUCED]
    assert [row_state(long, exact=True), row_state(long, exact=False)] == [EXACT | TRUNCATED, REDUCED | TRUNCATED]
