"""A lock file holds what makes a model, and is read strictly."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from model_zoo.errors import InvalidLock
from model_zoo.inventory.lock_file import difference, read_lock, text_of_lock
from tests.support.model_zoo.pulled_cards import COMMIT, pulled_card


def test_locked_cards_are_read_as_they_were_written(tmp_path: Path) -> None:
    cards = [pulled_card("b"), pulled_card("a")]
    (tmp_path / "zoo.lock").write_text(text_of_lock(cards), encoding="utf-8")
    assert read_lock(tmp_path / "zoo.lock") == cards[::-1]
    assert text_of_lock(cards[::-1]) == text_of_lock(cards), "order does not matter"


def test_entry_begins_with_what_it_pins() -> None:
    [entry] = json.loads(text_of_lock([pulled_card()]))["models"]
    assert list(entry) == ["reference", "name", "source", "card"]
    assert entry["source"]["commit"] == COMMIT
    assert all(len(file["sha256"]) == 64 for file in entry["source"]["files"].values())


def test_difference_names_commit_digest_or_field() -> None:
    card = pulled_card()
    assert difference(card, card) == ""
    assert card.source.kind == "hub"
    other = card.model_copy(update={"source": card.source.model_copy(update={"commit": "f" * 40})})
    assert difference(other, card) == f"its commit is {'f' * 40}, and locked is {COMMIT}"
    weights = card.source.files["weights"].model_copy(update={"sha256": "a" * 64})
    files = {**card.source.files, "weights": weights}
    other = card.model_copy(update={"source": card.source.model_copy(update={"files": files})})
    locked = card.source.files["weights"].sha256
    assert difference(other, card) == f"{weights.path} has sha256 {'a' * 64}, and locked is {locked}"
    assert difference(card.model_copy(update={"summary": "Other."}), card) == "its card has another summary"


def _entry_of(document: dict[str, Any]) -> dict[str, Any]:
    entry: dict[str, Any] = document["models"][0]
    return entry


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d.update(format=2), "format 2"),
        (lambda d: d.pop("models"), "no document"),
        (lambda d: d["models"].append(_entry_of(d)), "tiny twice"),
        (lambda d: d["models"].append(3), r"models\[1\]"),
        (lambda d: _entry_of(d).pop("source"), r"models\[0\]"),
        (lambda d: _entry_of(d)["source"].update(commit="main"), "tiny: source"),
        (lambda d: _entry_of(d)["source"]["files"]["weights"].update(path="../../etc/passwd"), "tiny: source"),
        (lambda d: _entry_of(d)["source"]["files"]["weights"].update(path="/etc/passwd"), "tiny: source"),
        (lambda d: _entry_of(d)["source"]["files"]["weights"].update(sha256="x"), "sha256"),
        (lambda d: _entry_of(d).update(name="../tiny"), "name"),
        (lambda d: _entry_of(d).update(reference=""), "not pulled by a reference"),
        (lambda d: _entry_of(d).update(reference="hf:org/other"), "tiny: its reference names another repository"),
        (lambda d: _entry_of(d).update(reference="ftp:x"), "tiny: expected hf:ORG/NAME"),
        (lambda d: _entry_of(d)["card"].update(surprise=1), "surprise"),
    ],
)
def test_damaged_lock_file_is_refused_with_its_fault(
    change: Callable[[dict[str, Any]], object], words: str, tmp_path: Path
) -> None:
    document = json.loads(text_of_lock([pulled_card()]))
    change(document)
    (tmp_path / "zoo.lock").write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(InvalidLock, match=words) as raised:
        read_lock(tmp_path / "zoo.lock")
    assert str(tmp_path) not in str(raised.value)


def test_file_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidLock, match="cannot be read"):
        read_lock(tmp_path / "zoo.lock")
    (tmp_path / "zoo.lock").write_bytes(b"\xff\xfe")
    with pytest.raises(InvalidLock, match="no document"):
        read_lock(tmp_path / "zoo.lock")


FILE = {"path": "model.safetensors", "sha256": "1" * 64, "bytes": 5}
PTH = FILE | {"path": "net-11111111.pth"}
ADAPTER = FILE | {"path": "adapter/adapter_model.safetensors"}
HUB = {"kind": "hub", "repository": "org/tiny", "commit": COMMIT, "files": {"weights": FILE}}
LOCAL = {"kind": "local", "folder": "/srv/tiny", "files": {"weights": FILE}}
OF_ORG, OF_SRV = {"repository": "org/tiny", "commit": COMMIT}, {"folder": "/srv/tiny"}
TORCHVISION = "torchvision:ResNet50_Weights.IMAGENET1K_V2"


def url(address: str, file: dict[str, Any] = PTH) -> dict[str, Any]:
    return {"kind": "url", "url": address, "files": {"weights": file}}


def adapted(base: dict[str, Any], adapter: dict[str, Any]) -> dict[str, Any]:
    return {"kind": "adapted", "base": base, "adapter": adapter, "files": {"weights": FILE, "adapter_weights": ADAPTER}}


def locked(reference: str, source: dict[str, Any], folder: Path) -> None:
    document = json.loads(text_of_lock([pulled_card()]))
    _entry_of(document).update(reference=reference, source=source)
    (folder / "zoo.lock").write_text(json.dumps(document), encoding="utf-8")
    [card] = read_lock(folder / "zoo.lock")
    assert card.reference == reference


@pytest.mark.parametrize(
    ("reference", "source"),
    [
        ("hf:org/tiny@main", HUB),
        ("timm:tiny", HUB | {"repository": "timm/tiny"}),
        ("onnx:hf:org/tiny", HUB),
        ("local:/srv/tiny", LOCAL),
        ("onnx:/srv/tiny/model.safetensors", LOCAL),
        ("hf:org/tiny", adapted(OF_ORG | {"repository": "org/base"}, OF_ORG)),
        ("local:/srv/tiny", adapted(OF_ORG, OF_SRV)),
        ("local:/srv/tiny", adapted({"folder": "/srv/base"}, OF_SRV)),
        (f"onnx:https://models.example/x.pth#sha256={'1' * 64}", url("https://models.example/x.pth")),
        (TORCHVISION, url("https://download.pytorch.org/models/net-11111111.pth")),
    ],
)
def test_source_that_a_reference_gives_is_read(reference: str, source: dict[str, Any], tmp_path: Path) -> None:
    locked(reference, source, tmp_path)


@pytest.mark.parametrize(
    ("reference", "source"),
    [
        ("hf:org/tiny", LOCAL),
        ("hf:org/tiny", url("https://models.example/x.pth")),
        ("hf:org/tiny", adapted(OF_ORG, OF_SRV)),
        ("hf:org/tiny", adapted(OF_SRV, OF_ORG)),
        ("local:/srv/tiny", HUB),
        ("local:/srv/tiny", url("https://models.example/x.pth")),
        ("local:/srv/tiny", LOCAL | {"folder": "/srv/other"}),
        ("local:/srv/tiny", adapted(OF_SRV, OF_ORG)),
        ("onnx:/srv/tiny/net.onnx", HUB),
        ("onnx:/srv/tiny/net.onnx", LOCAL),
        (f"onnx:https://models.example/x.pth#sha256={'1' * 64}", HUB),
        (f"onnx:https://models.example/x.pth#sha256={'2' * 64}", url("https://models.example/x.pth")),
        (TORCHVISION, HUB),
        (TORCHVISION, LOCAL),
        (TORCHVISION, url("https://evil.example/models/net-11111111.pth")),
        (TORCHVISION, url("https://download.pytorch.org.evil.example/models/net-11111111.pth")),
        (TORCHVISION, url("https://download.pytorch.org/models/net-22222222.pth")),
        (TORCHVISION, url("https://download.pytorch.org/models/net.pth")),
    ],
)
def test_source_of_something_else_than_the_reference_is_refused(
    reference: str, source: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(InvalidLock, match="its reference names another repository than its source"):
        locked(reference, source, tmp_path)
