"""Disk and memory are predicted from metadata, within a fifth of what is measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from model_zoo.catalog import Catalog
from model_zoo.network import load_network
from model_zoo.references.derive import derive
from model_zoo.references.local import LocalRepository
from model_zoo.references.reference import parse_reference
from model_zoo.store import Store
from service.references.footprint import FP32_BYTES, Footprint, Room, footprint, megabytes
from service.references.library_answers import answer
from service.references.pull import pull_reference
from service.runtime.network import NetworkRuntime
from tests.support.model_zoo.real_models import or_skip
from tests.support.references.tiny_repositories import (
    image_classifier,
    sentence_encoder,
    text_classifier,
    timm_repository,
)

LAYOUTS = {
    "text": text_classifier,
    "photo": image_classifier,
    "sentence": sentence_encoder,
    "timm": timm_repository,
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_disk_and_memory_of_a_pulled_network_are_as_predicted(
    layout: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.references.pull.library_answers", lambda _, asked: answer(asked))
    (tmp_path / "tiny").mkdir()
    folder = LAYOUTS[layout](tmp_path / "tiny")
    seen: list[Footprint] = []
    pulled = pull_reference(parse_reference(f"local:{folder}"), tmp_path / "home", room=Room(limit=seen.append))
    [predicted] = seen
    runtime = NetworkRuntime(load_network(pulled.card, pulled.files), "cpu")
    assert runtime.memory_bytes == pytest.approx(predicted.memory, rel=0.2)
    stored = sum(path.stat().st_size for path in pulled.files.folder.iterdir())
    assert stored == pytest.approx(predicted.disk, rel=0.2)


@pytest.mark.weights
@pytest.mark.parametrize("name", ["efficientnet_lite0", "mobilenetv2_100", "all_minilm_l6_v2"])
def test_memory_of_a_model_of_the_zoo_is_as_its_card_predicts(name: str, zoo_home: Path) -> None:
    card = Catalog.from_package().get(name)
    runtime = NetworkRuntime(load_network(card, or_skip(lambda: Store(zoo_home).materialise(card))), "cpu")
    assert runtime.memory_bytes == pytest.approx(FP32_BYTES * card.parameters, rel=0.2)


def test_weights_that_a_library_maps_are_counted_once(tmp_path: Path) -> None:
    (tmp_path / "text").mkdir()
    (tmp_path / "photo").mkdir()
    mapped = LocalRepository(text_classifier(tmp_path / "text"))
    found = footprint(derive(mapped), mapped.files)
    assert found.pull_memory == found.memory
    read = LocalRepository(timm_repository(tmp_path / "photo"))
    found = footprint(derive(read), read.files)
    assert found.pull_memory == found.memory + read.files["model.safetensors"].size


def test_sizes_are_shown_in_megabytes() -> None:
    assert (megabytes(1_234_567_890), megabytes(78_600)) == ("1,234.6 MB", "0.1 MB")
