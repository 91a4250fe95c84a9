"""Searches by labels, by likeness and by free words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from service.cli.photos import ranking
from service.cli.photos.errors import PhotosError
from service.cli.photos.kinds import imagenet_kinds
from service.cli.photos.queries import Found, search_like, search_words
from tests.support.photos.album import Album
from tests.support.photos.fake_client import CLASSIFIER, EMBEDDER, info, photo


def words(album: Album, *given: str, free: bool = False, top: int = 20, threshold: float | None = None) -> Found:
    with album.opened() as index:
        return search_words(index, given, free=free, top=top, threshold=threshold, connect=album.connect)


def like(album: Album, path: Any, **limits: Any) -> Found:
    with album.opened() as index:
        return search_like(index, path, **{"top": 20, "threshold": None, "connect": album.connect} | limits)


def names(found: Found) -> list[str]:
    return [match.name for match in found.photos]


@pytest.fixture
def pets(album: Album) -> Album:
    """A cat, a dog and a mug, with embeddings: the cat's lies between the others'."""
    album.serve_embeddings()
    album.add("cat.jpg", photo("tabby cat", (0.8, 0.6)))
    album.add("dog.jpg", photo("dog", (1.0, 0.0)))
    album.add("mug.jpg", photo("mug", (0.0, 1.0)))
    album.index()
    return album


def test_word_finds_the_photos_of_its_labels_without_a_call(pets: Album) -> None:
    pets.sent()
    found = words(pets, "cats")
    assert names(found) == ["cat.jpg"]
    assert found.photos[0].labels == (("tabby cat", pytest.approx(0.8)),)
    assert pets.sent() == []


def test_threshold_and_top_limit_the_results(pets: Album) -> None:
    assert names(words(pets, "dog", threshold=0.0)) == ["dog.jpg", "cat.jpg", "mug.jpg"]
    assert names(words(pets, "dog", threshold=0.0, top=1)) == ["dog.jpg"]
    assert names(words(pets, "dog", threshold=0.9)) == []


def test_all_words_must_fit(pets: Album) -> None:
    assert names(words(pets, "cat", "dog")) == []
    found = words(pets, "cat", "dog", threshold=0.01)
    assert found.photos[0].score == pytest.approx(0.02)


def test_unknown_word_names_similar_ones_and_what_free_words_need(pets: Album) -> None:
    with pytest.raises(PhotosError, match="no label of the index has the word 'mog'") as error:
        words(pets, "mog")
    assert "mug" in str(error.value)
    assert "--words-model" in str(error.value)
    with pytest.raises(PhotosError, match="no model for free words"):
        words(pets, "cat", free=True)


def test_score_of_a_kind_of_imagenet_is_the_sum_of_its_labels(album: Album) -> None:
    labels = tuple(", ".join(sorted(own)) for own in imagenet_kinds().names)
    album.client.models[CLASSIFIER] = info(CLASSIFIER, "image-classification", labels=labels)
    album.add("a.jpg", photo(labels[281]))
    album.index()
    # 0.8 for the tabby, and 0.02 for each of the classes 0 to 3, which are fish.
    assert words(album, "cat").photos[0].score == pytest.approx(0.8)
    assert words(album, "cat").score == "probability"
    assert words(album, "fish", threshold=0.05).photos[0].score == pytest.approx(0.08)
    assert words(album, "animal").photos[0].score == pytest.approx(0.88)


def test_likeness_ranks_by_cosine_and_leaves_the_photo_itself_out(pets: Album) -> None:
    pets.sent()
    found = like(pets, pets.folder / "dog.jpg")
    assert [(match.name, match.score) for match in found.photos] == [
        ("cat.jpg", pytest.approx(0.8, abs=1e-3)),
        ("mug.jpg", pytest.approx(0.0, abs=1e-3)),
    ]
    assert pets.sent() == []
    assert names(like(pets, pets.folder / "dog.jpg", threshold=0.5)) == ["cat.jpg"]


def test_photo_outside_the_folder_is_sent_to_the_model_of_the_index(pets: Album) -> None:
    pets.sent()
    other = pets.folder.parent / "other.jpg"
    other.write_bytes(photo("mug", (0.0, 2.0)))
    assert names(like(pets, other))[0] == "mug.jpg"
    assert [model for model, _ in pets.client.sent] == [EMBEDDER]


def test_photo_is_not_compared_across_versions_of_a_model(pets: Album) -> None:
    other = pets.folder.parent / "other.jpg"
    other.write_bytes(photo("mug"))
    pets.client.models[EMBEDDER] = replace(pets.client.models[EMBEDDER], versions=(2,))
    with pytest.raises(PhotosError, match="another mobilenetv2_100 than the index"):
        like(pets, other)


def test_likeness_without_embeddings_says_how_to_get_them(album: Album) -> None:
    album.add("a.jpg", photo("dog"))
    album.index()
    with pytest.raises(PhotosError, match="no answers for likeness"):
        like(album, album.folder / "a.jpg")


def test_free_words_are_compared_by_the_clip_like_model(pets: Album) -> None:
    pets.serve_clip()
    pets.index(words="clip")
    found = words(pets, "a", "red", "house")
    assert names(found) == ["mug.jpg", "cat.jpg", "dog.jpg"]
    assert (found.how, found.score, found.model.name) == ("words", "cosine", "clip")
    assert "searched by clip" in found.note
    assert words(pets, "dog").how == "labels"
    assert words(pets, "dog", free=True).how == "words"


def test_ranking_is_the_same_in_small_blocks(pets: Album, monkeypatch: pytest.MonkeyPatch) -> None:
    for i in range(20):
        pets.add(f"more/{i:02}.jpg", photo("dog", (1.0, i / 10), note=str(i)))
    pets.index()
    whole = [like(pets, pets.folder / "mug.jpg", top=7), words(pets, "dog", top=5)]
    monkeypatch.setattr("service.cli.photos.photo_index.BLOCK", 3)
    assert [like(pets, pets.folder / "mug.jpg", top=7), words(pets, "dog", top=5)] == whole


def test_copies_of_a_photo_are_results_of_their_own(pets: Album) -> None:
    pets.add("copy.jpg", photo("tabby cat", (0.8, 0.6)))
    pets.index()
    assert names(words(pets, "cat")) == ["cat.jpg", "copy.jpg"]


def test_embeddings_of_unlike_lengths_are_refused(pets: Album, monkeypatch: pytest.MonkeyPatch) -> None:
    short: Sequence[float] = (1.0,)
    with pets.opened() as index, pytest.raises(PhotosError, match="another length"):
        ranking.by_vector(index, "likeness", _vector(short), top=1, threshold=-1)


def _vector(values: Sequence[float]) -> Any:
    import numpy as np

    return np.array(values, np.float16)


def test_photo_to_compare_with_is_bounded(pets: Album, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.cli.photos.queries.MOST_BYTES", 1000)
    other = pets.folder.parent / "other.jpg"
    other.write_bytes(bytes(1001))
    with pytest.raises(PhotosError, match="too much for a photo"):
        like(pets, other)
