"""An index asks about each photo once, keeps what was answered, and follows the folder."""

from __future__ import annotations

import os
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from service.cli.photos.errors import PhotosError
from service.cli.photos.index_model import Purpose
from service.cli.photos.photo_index import writable_index
from tests.support.photos.album import Album
from tests.support.photos.fake_client import CLASSIFIER, EMBEDDER, info, photo

TABBY, DOG, MUG = photo("tabby cat"), photo("dog"), photo("mug")


def test_first_index_sends_each_photo_once_and_the_second_sends_none(album: Album) -> None:
    album.add("a.jpg", TABBY)
    album.add("inner/b.PNG", DOG)
    album.add("notes.txt", b"no photo")
    report = album.index()
    assert album.sent() == ["tabby cat", "dog"]
    assert (report.photos, report.new, report.sent) == (2, 2, {Purpose.LABELS: 2})
    report = album.index()
    assert album.sent() == []
    assert (report.photos, report.new, report.changed, report.removed) == (2, 0, 0, 0)
    assert report.answered == {Purpose.LABELS: 2}


def test_copy_of_a_photo_is_not_sent_again(album: Album) -> None:
    album.add("a.jpg", TABBY)
    album.add("b.jpg", TABBY)
    report = album.index()
    album.add("c.jpg", TABBY)
    album.index()
    assert album.sent() == ["tabby cat"]
    assert report.answered == {Purpose.LABELS: 2}


def test_changed_photo_is_sent_again_and_no_other(album: Album) -> None:
    album.add("a.jpg", TABBY)
    path = album.add("b.jpg", DOG)
    album.index()
    album.sent()
    before = path.stat()
    album.add("b.jpg", MUG)  # of the same size: the time tells
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    report = album.index()
    assert album.sent() == ["mug"]
    assert (report.new, report.changed) == (0, 1)


def test_touched_photo_is_read_and_not_sent(album: Album) -> None:
    path = album.add("a.jpg", TABBY)
    album.index()
    album.sent()
    os.utime(path, ns=(1, 1))
    assert album.index().changed == 1
    assert album.sent() == []
    assert album.index().changed == 0


def test_moved_photo_keeps_its_answer(album: Album) -> None:
    album.add("a.jpg", TABBY)
    album.add("b.jpg", DOG)
    album.index()
    album.sent()
    (album.folder / "later").mkdir()
    (album.folder / "a.jpg").rename(album.folder / "later" / "c.jpg")
    report = album.index()
    assert album.sent() == []
    assert (report.new, report.removed, report.answered) == (1, 1, {Purpose.LABELS: 2})


def test_removed_photo_leaves_the_index_with_its_answer(album: Album) -> None:
    path = album.add("a.jpg", TABBY)
    album.add("b.jpg", DOG)
    album.index()
    path.unlink()
    assert album.index().removed == 1
    with album.opened() as index:
        assert list(index.known()) == ["b.jpg"]
        assert len(index.answered(Purpose.LABELS)) == 1


def test_bad_photo_is_reported_and_not_sent_again_while_it_stays_as_it_is(album: Album) -> None:
    album.add("a.jpg", TABBY)
    album.add("b.jpg", b"bad")
    album.add("c.jpg", DOG)
    for sent in (["tabby cat", "bad", "dog"], []):
        report = album.index()
        assert album.sent() == sent
        assert report.unreadable == [("b.jpg", "is no image")]
        assert (report.failed, report.answered) == ([], {Purpose.LABELS: 2})
    album.add("b.jpg", photo("mug"))
    assert album.index().unreadable == []
    assert album.sent() == ["mug"]


def test_photo_that_a_busy_server_did_not_answer_is_asked_about_again(album: Album) -> None:
    album.add("a.jpg", TABBY)
    album.add("b.jpg", b"busy")
    for sent in (["tabby cat", "busy"], ["busy"]):
        report = album.index()
        assert album.sent() == sent
        assert report.failed == [("b.jpg", "the queue is full")]


def test_interrupted_index_keeps_what_was_answered(album: Album) -> None:
    for i in range(6):
        album.add(f"{i}.jpg", photo("dog", note=str(i)))

    def interrupt(data: bytes) -> None:
        if data.endswith(b"3"):
            raise KeyboardInterrupt

    album.client.before_answer = interrupt
    with pytest.raises(KeyboardInterrupt):
        album.index()
    with album.opened() as index:
        assert index.count(Purpose.LABELS) == 3
    album.sent()
    album.client.before_answer = lambda data: None
    assert album.index().answered == {Purpose.LABELS: 6}
    assert len(album.sent()) == 3


def test_new_version_of_the_model_makes_every_answer_stale(album: Album) -> None:
    album.add("a.jpg", TABBY)
    album.index()
    album.sent()
    for change in ({"versions": (1, 2), "aliases": {"stable": 2}}, {"weights_sha256": "bb"}):
        served = album.client.models
        served[CLASSIFIER] = replace(served[CLASSIFIER], **change)
        report = album.index()
        assert album.sent() == ["tabby cat"]
        assert any("the model has changed" in note for note in report.notes)
        assert album.index().notes == report.notes[:1]
        assert album.sent() == []


def test_named_model_stays_the_models_of_the_index(album: Album) -> None:
    album.add("a.jpg", TABBY)
    album.client.models["pets"] = info("pets", "image-classification", labels=("tabby cat", "dog"))
    album.index(labels="pets")
    album.index()
    assert [model for model, _ in album.client.sent] == ["pets"]


def test_embeddings_are_left_out_with_a_note_unless_their_model_is_served(album: Album) -> None:
    album.add("a.jpg", TABBY)
    [note] = album.index().notes
    assert "likeness: left out, since unknown model 'mobilenetv2_100'" in note
    album.client.models[EMBEDDER] = info(EMBEDDER, "image-feature-extraction", state="UNAVAILABLE")
    [note] = album.index().notes
    assert "`zoo load mobilenetv2_100` loads it" in note
    album.serve_embeddings()
    report = album.index()
    assert report.notes == []
    assert report.answered == {Purpose.LABELS: 1, Purpose.LIKENESS: 1}


@pytest.mark.parametrize(
    ("purpose", "name", "said"),
    [
        ("labels", "nothing", "unknown model 'nothing'"),
        ("likeness", CLASSIFIER, "expected one for image-feature-extraction"),
        ("words", CLASSIFIER, "expected one for zero-shot-image-classification"),
        ("labels", "numbers", "have no names"),
    ],
)
def test_named_model_that_cannot_answer_is_an_error(album: Album, purpose: str, name: str, said: str) -> None:
    album.client.models["numbers"] = info("numbers", "image-classification")
    with pytest.raises(PhotosError, match=said):
        album.index(**{purpose: name})


def test_large_other_hidden_and_linked_files_are_left_out(album: Album, tmp_path: Path) -> None:
    album.add("a.jpg", TABBY)
    album.add("large.jpg", bytes(2_000))
    album.add("b.heic", b"")
    album.add(".hidden/c.jpg", DOG)
    (tmp_path / "outside.jpg").write_bytes(MUG)
    (album.folder / "out.jpg").symlink_to(tmp_path / "outside.jpg")
    (album.folder / "in.jpg").symlink_to("a.jpg")
    report = album.index(most_bytes=1_000)
    assert album.sent() == ["tabby cat"]
    assert report.other_kinds == {".heic": 1}
    assert dict(report.left_out) == {
        "large.jpg": "has 2.0 kB, more than the 1.0 kB of --max-size",
        "out.jpg": "is a link that leads out of the folder",
    }
    with album.opened() as index:
        assert sorted(index.known()) == ["a.jpg", "in.jpg"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every folder")
def test_photos_of_a_folder_that_cannot_be_read_now_stay(album: Album) -> None:
    album.add("inner/a.jpg", TABBY)
    album.index()
    (album.folder / "inner").chmod(0)
    try:
        assert album.index().removed == 0
    finally:
        (album.folder / "inner").chmod(0o755)


def test_photo_that_vanishes_while_it_is_indexed_fails_alone(album: Album) -> None:
    album.add("a.jpg", TABBY)
    later = album.add("b.jpg", DOG)
    album.client.before_answer = lambda data: later.unlink(missing_ok=True)
    report = album.index()
    assert report.failed == [("b.jpg", "cannot be read: no such file or directory")]
    assert report.answered == {Purpose.LABELS: 1}


def test_progress_has_a_step_for_each_photo(album: Album) -> None:
    album.serve_embeddings()
    for name in "abc":
        album.add(f"{name}.jpg", TABBY if name < "c" else b"bad")
    album.index()
    assert [(what, total, len(steps)) for what, total, steps in album.bars] == [("labels", 3, 3), ("likeness", 3, 3)]


def test_second_indexer_of_a_folder_is_refused_until_the_first_has_ended(album: Album) -> None:
    album.add("a.jpg", TABBY)
    with writable_index(album.file, album.folder), pytest.raises(PhotosError, match="another `zoo photos index`"):
        album.index()
    album.index()


def test_search_reads_the_index_while_an_indexer_writes(album: Album) -> None:
    album.add("a.jpg", TABBY)
    album.index()
    album.add("b.jpg", DOG)
    counts = []

    def look(data: bytes) -> None:
        def count() -> None:
            with album.opened() as index:
                counts.append(index.count(Purpose.LABELS))

        other = threading.Thread(target=count)
        other.start()
        other.join()

    album.client.before_answer = look
    album.index()
    assert counts == [1]


def test_labels_are_left_out_where_another_model_is_named_and_no_classifier_serves(album: Album) -> None:
    album.add("a.jpg", TABBY)
    album.client.models.clear()
    with pytest.raises(PhotosError, match="unknown model 'efficientnet_lite0'"):
        album.index()
    album.serve_clip()
    report = album.index(words="clip")
    assert report.answered == {Purpose.WORDS: 1}
    assert any("labels: left out" in note for note in report.notes)
