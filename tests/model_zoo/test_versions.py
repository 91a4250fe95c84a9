"""Versions on disk: numbered once, complete or absent, and names that are never paths."""

import errno
import json
import multiprocessing
from pathlib import Path

import pytest

from model_zoo.cards.card import Card
from model_zoo.errors import StoreUnusable, UnknownVersion, VersionDamaged, VersionTooNew
from model_zoo.store import Store
from model_zoo.versions import Versions
from tests.support.registry.tuned_versions import publish, result_folder, write_manifest


def test_publish_numbers_versions_from_one(tmp_path: Path) -> None:
    versions = Versions(tmp_path)
    assert versions.models() == []
    assert [publish(tmp_path, "mood", slope) for slope in (1.0, 2.0, 3.0)] == [1, 2, 3]
    assert publish(tmp_path, "topics") == 1
    assert versions.models() == ["mood", "topics"]
    assert versions.numbers("mood") == [1, 2, 3]
    opened = versions.open("mood", 2)
    assert (opened.model, opened.number, opened.card.name, opened.created) == ("mood", 2, "mood", 1.7e9)
    assert opened.lineage["method"] == "head"
    assert opened.size_bytes == sum(
        path.stat().st_size for path in opened.files.folder.iterdir() if path.name != "manifest.json"
    )
    assert versions.lineage("mood", 2) == opened.lineage
    report, html = versions.report("mood", 2)
    assert report["primary"] == "accuracy"
    assert html.decode() == "<p>ü</p>"
    versions.verify("mood", 2)


def test_publish_moves_the_folder(tmp_path: Path) -> None:
    folder = result_folder(tmp_path, "mood")
    Versions(tmp_path).publish("mood", folder)
    assert not folder.exists()


def _publish_some(home: Path, name: str, answers: "multiprocessing.Queue[int]") -> None:
    for i in range(5):
        answers.put(publish(home, "mood", 1.0 + i, job_id=name))


def test_concurrent_publishers_get_different_numbers(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    answers: multiprocessing.Queue[int] = context.Queue()
    publishers = [context.Process(target=_publish_some, args=(tmp_path, str(i), answers)) for i in range(3)]
    for publisher in publishers:
        publisher.start()
    numbers = [answers.get(timeout=60) for _ in range(15)]
    for publisher in publishers:
        publisher.join(60)
    assert sorted(numbers) == list(range(1, 16))
    assert Versions(tmp_path).numbers("mood") == list(range(1, 16))


def test_number_of_a_deleted_version_is_not_reused(tmp_path: Path) -> None:
    versions = Versions(tmp_path)
    publish(tmp_path, "mood")
    publish(tmp_path, "mood", 2.0)
    size = versions.open("mood", 2).size_bytes
    assert versions.delete("mood", 2) >= size
    assert versions.numbers("mood") == [1]
    assert publish(tmp_path, "mood", 3.0) == 3
    versions.delete("mood", 3)
    versions.delete("mood", 1)
    assert versions.models() == []
    assert publish(tmp_path, "mood", 4.0) == 4


def test_listing_has_the_numbers_of_all_models(tmp_path: Path) -> None:
    versions = Versions(tmp_path)
    assert versions.listing() == {}
    for model in ("mood", "mood", "pets"):
        publish(tmp_path, model)
    versions.withdraw("mood", 1)
    (tmp_path / "versions" / "Not_a_model").mkdir()
    (tmp_path / "versions" / "stray").write_text("a file")
    assert versions.listing() == {"mood": {2}, "pets": {1}}
    assert [versions.has("mood", number) for number in (1, 2, 3)] == [False, True, False]


def test_listing_of_an_unreadable_disk_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(tmp_path, "mood")

    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("os.scandir", fail)
    with pytest.raises(StoreUnusable, match="input/output error"):
        Versions(tmp_path).listing()


def test_withdrawn_version_is_not_found_until_restored(tmp_path: Path) -> None:
    versions = Versions(tmp_path)
    publish(tmp_path, "mood")
    folder, size = versions.withdraw("mood", 1)
    assert size >= sum(path.stat().st_size for path in folder.iterdir())
    with pytest.raises(UnknownVersion):
        versions.open("mood", 1)
    with pytest.raises(UnknownVersion):
        versions.withdraw("mood", 1)
    versions.restore("mood", 1, folder)
    assert versions.open("mood", 1).number == 1


def test_remove_withdrawn_removes_versions_of_an_earlier_process(tmp_path: Path) -> None:
    versions = Versions(tmp_path)
    publish(tmp_path, "mood")
    publish(tmp_path, "mood")
    folder, _ = versions.withdraw("mood", 1)
    Versions(tmp_path).remove_withdrawn()
    assert not folder.exists()
    assert versions.numbers("mood") == [2]


def test_crash_while_the_last_number_is_written_keeps_the_previous_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    versions = Versions(tmp_path)
    publish(tmp_path, "mood")
    publish(tmp_path, "mood")
    versions.delete("mood", 2)

    def fail(path: Path, text: str) -> int:
        with path.open("w"):  # opened and truncated; then the disk is full
            raise OSError(errno.ENOSPC, "No space left on device")

    folder = result_folder(tmp_path, "mood")
    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_text", fail)
        with pytest.raises(StoreUnusable, match="no space left"):
            versions.publish("mood", folder)
    assert versions.publish("mood", folder) == 3, "2 was given once"


def test_published_by_finds_the_version_of_a_job(tmp_path: Path) -> None:
    versions = Versions(tmp_path)
    publish(tmp_path, "mood", job_id="a")
    publish(tmp_path, "mood", job_id="b")
    assert versions.published_by("mood", "a") == 1
    assert versions.published_by("mood", "b") == 2
    assert versions.published_by("mood", "c") is None


@pytest.mark.parametrize(
    "name", ["../evil", "a/b", "..", ".", "", "Mood", "mood/../../x", "a" * 64, "ü", "mood\n", ".hidden"]
)
def test_hostile_model_name_is_not_a_path(tmp_path: Path, name: str) -> None:
    versions = Versions(tmp_path / "home")
    outside = tmp_path / "evil" / "1"
    outside.mkdir(parents=True)
    (outside / "manifest.json").write_text("{}")
    assert versions.numbers(name) == []
    for ask in (versions.open, versions.delete, versions.lineage, versions.report, versions.verify):
        with pytest.raises(UnknownVersion):
            ask(name, 1)  # type: ignore[operator]
    with pytest.raises(VersionDamaged, match="a model's name has lower-case letters"):
        versions.publish(name, result_folder(tmp_path, "mood"))
    assert outside.is_dir()


@pytest.mark.parametrize("number", [0, -1, 2, 10**9])
def test_missing_number_is_unknown(tmp_path: Path, number: int) -> None:
    publish(tmp_path, "mood")
    with pytest.raises(UnknownVersion, match=f"model 'mood' has no version {number}"):
        Versions(tmp_path).open("mood", number)


@pytest.mark.parametrize("break_it", ["cut", "gone", "link", "foreign", "path"])
def test_folder_that_differs_from_its_manifest_is_rejected(tmp_path: Path, break_it: str) -> None:
    versions = Versions(tmp_path)
    publish(tmp_path, "mood")
    folder = tmp_path / "versions" / "mood" / "1"
    weights = folder / "model.safetensors"
    if break_it == "cut":
        weights.write_bytes(weights.read_bytes()[:-1])
    elif break_it == "gone":
        weights.unlink()
    elif break_it == "link":
        (tmp_path / "elsewhere").write_bytes(weights.read_bytes())
        weights.unlink()
        weights.symlink_to(tmp_path / "elsewhere")
    elif break_it == "foreign":
        (tmp_path / "versions" / "mood").rename(tmp_path / "versions" / "other")
        with pytest.raises(VersionDamaged, match="its card is of something else"):
            versions.open("other", 1)
        return
    else:
        document = json.loads((folder / "manifest.json").read_text())
        document["files"]["weights"]["name"] = "../1/model.safetensors"
        (folder / "manifest.json").write_text(json.dumps(document))
    with pytest.raises(VersionDamaged):
        versions.open("mood", 1)


def test_verify_detects_bytes_changed_in_place(tmp_path: Path) -> None:
    versions = Versions(tmp_path)
    publish(tmp_path, "mood")
    weights = tmp_path / "versions" / "mood" / "1" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    versions.open("mood", 1)  # the sizes are unchanged
    with pytest.raises(VersionDamaged, match=r"model.safetensors is not the file that was published"):
        versions.verify("mood", 1)
    assert weights.exists()


def test_publish_of_an_incomplete_folder_is_rejected(tmp_path: Path) -> None:
    versions = Versions(tmp_path)
    folder = result_folder(tmp_path, "mood")
    (folder / "manifest.json").unlink()
    with pytest.raises(VersionDamaged, match="what should become a version of 'mood' is damaged"):
        versions.publish("mood", folder)
    with pytest.raises(VersionDamaged, match="its card is of something else"):
        versions.publish("topics", result_folder(tmp_path, "mood"))
    folder = result_folder(tmp_path, "mood")
    (folder / "card.json").write_text("{}")
    write_manifest(folder)
    with pytest.raises(VersionDamaged, match="its card cannot be read"):
        versions.publish("mood", folder)
    assert versions.models() == []


def test_store_finds_the_files_of_a_tuned_card(tmp_path: Path) -> None:
    publish(tmp_path, "mood", 1.0)
    publish(tmp_path, "mood", 2.0)
    card = Versions(tmp_path).open("mood", 1).card
    found = Store(tmp_path).find(card)
    assert found is not None
    assert found.folder.name == "1"
    assert isinstance(card, Card)
    Versions(tmp_path).delete("mood", 1)
    assert Store(tmp_path).find(card) is None


def test_versions_of_equal_weights_have_files_of_their_own(tmp_path: Path) -> None:
    for number, label in enumerate(("cat", "chat"), 1):  # the same images with other names of the classes
        folder = result_folder(tmp_path, "mood", job_id=label)
        (folder / "labels.txt").write_text(label)
        document = json.loads((folder / "card.json").read_text()) | {"provenance": f"Tuned by job {label}"}
        (folder / "card.json").write_text(json.dumps(document))
        write_manifest(folder)
        assert Versions(tmp_path).publish("mood", folder) == number
    for number, label in enumerate(("cat", "chat"), 1):
        found = Store(tmp_path).find(Versions(tmp_path).open("mood", number).card)
        assert found is not None
        assert (found.folder / "labels.txt").read_text() == label


def test_version_of_a_newer_release_with_a_card_of_its_own_is_not_damaged(tmp_path: Path) -> None:
    publish(tmp_path, "mood", 1.0)
    folder = tmp_path / "versions" / "mood" / "1"
    document = json.loads((folder / "card.json").read_text()) | {"hologram": True}
    (folder / "card.json").write_text(json.dumps(document))
    write_manifest(folder)
    with pytest.raises(VersionDamaged, match="its card or its lineage cannot be read"):
        Versions(tmp_path).open("mood", 1)
    lineage = json.loads((folder / "lineage.json").read_text()) | {"zoo_version": "99.1.0"}
    (folder / "lineage.json").write_text(json.dumps(lineage))
    write_manifest(folder)
    with pytest.raises(VersionTooNew, match=r"it needs Zoo 99\.1\.0 or newer, which published it"):
        Versions(tmp_path).open("mood", 1)
