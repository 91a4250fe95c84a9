"""Weights that ship with Zoo are read from its package, checked as others are, and need no network."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from model_zoo.architectures.silero_vad import SileroVad
from model_zoo.cards.card import Card
from model_zoo.cards.weight_source import BundledSource
from model_zoo.catalog import Catalog
from model_zoo.errors import DigestMismatch, SourceUnavailable
from model_zoo.sources.bundled import PACKAGE, BundledFiles
from model_zoo.sources.source_table import source_for
from model_zoo.store import Store

WEIGHTS = "trained/net.safetensors"


@pytest.fixture
def content(tiny_state: dict[str, torch.Tensor]) -> bytes:
    return save(tiny_state)


@pytest.fixture
def package(tmp_path: Path, content: bytes) -> Path:
    (tmp_path / "package/trained").mkdir(parents=True)
    (tmp_path / "package" / WEIGHTS).write_bytes(content)
    return tmp_path / "package"


def source(content: bytes) -> BundledSource:
    file = {"path": WEIGHTS, "sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    return BundledSource.model_validate({"kind": "bundled", "files": {"weights": file}})


def test_file_is_read_in_place_and_kept(package: Path, content: bytes, tmp_path: Path) -> None:
    given = source(content)
    found = BundledFiles(given, package)
    artifact = found.fetch(tmp_path / "downloads")
    assert found.read(artifact, given.files["weights"]) == content
    found.discard(artifact)
    assert (package / WEIGHTS).read_bytes() == content
    assert not (tmp_path / "downloads").exists()
    assert found.key == f"bundled-{given.files['weights'].sha256[:16]}"


def test_source_of_a_card_is_in_the_package() -> None:
    given = BundledSource.model_validate(
        {"kind": "bundled", "files": {"weights": {"path": WEIGHTS, "sha256": "0" * 64, "bytes": 1}}}
    )
    found = source_for(given)
    assert found.fetch(Path("unused")) == PACKAGE
    assert (PACKAGE / "catalog.py").is_file()
    with pytest.raises(SourceUnavailable, match=r"trained/net\.safetensors of Zoo's package: there is no such file"):
        found.read(PACKAGE, given.files["weights"])


@pytest.mark.parametrize(("spoil", "error"), [(b"", DigestMismatch), (b"more", SourceUnavailable)])
def test_file_that_is_not_the_one_on_the_card_is_refused(
    spoil: bytes, error: type[Exception], package: Path, content: bytes
) -> None:
    given = source(content)
    (package / WEIGHTS).write_bytes(content + spoil if spoil else bytes(len(content)))
    with pytest.raises(error):
        BundledFiles(given, package).read(package, given.files["weights"])


def test_linked_file_is_read(package: Path, content: bytes, tmp_path: Path) -> None:
    """Some installers link the files of a package to their cache."""
    (package / WEIGHTS).rename(tmp_path / "kept")
    (package / WEIGHTS).symlink_to(tmp_path / "kept")
    given = source(content)
    assert BundledFiles(given, package).read(package, given.files["weights"]) == content


def test_store_publishes_bundled_weights_as_others(
    package: Path, content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("model_zoo.store.source_for", lambda source: BundledFiles(source, package))
    shipped = Catalog.from_package().get("silero_vad").model_dump(mode="json")
    shipped["weights"] = {"format": "safetensors", "mapping": "by_name"}
    shipped["source"] = source(content).model_dump(mode="json")
    card, store = Card.model_validate(shipped), Store(tmp_path / "home")
    made = store.materialise(card)
    assert store.find(card) == made
    assert made.digest == hashlib.sha256(made.weights.read_bytes()).hexdigest()
    store.verify(card)
    assert {*SileroVad().state_dict()} == {*torch_names(made.weights)}
    assert (package / WEIGHTS).is_file()


def torch_names(path: Path) -> list[str]:
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        return list(file.keys())
