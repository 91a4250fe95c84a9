"""Weights of torchvision are pulled by the library's own table, checked by the digits in their file's name, and compared."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision import models

from model_zoo.catalog import Catalog
from model_zoo.errors import ConversionFailed, DigestMismatch, NotDerivable, SourceNotFound, SourceUnavailable
from model_zoo.inventory.cache import cache_items
from model_zoo.inventory.lock_file import read_lock, text_of_lock
from model_zoo.network import load_network
from model_zoo.references.card_plan import Given
from model_zoo.references.reference import parse_reference
from model_zoo.sources.url import TORCHVISION_HOST
from model_zoo.store import Store
from service.references.library_answers import answer
from service.references.locked_pull import pull_locked
from service.references.pull import Pulled, pull_reference
from service.runtime.network import NetworkRuntime
from service.tasks.table import task_for
from service.training.compatibility import methods
from service.types import Classification, ImageInstance, Item, Options
from tests.support.model_zoo.web_files import WebFiles, web_files
from tests.support.references.pulled import photo
from tests.support.references.torchvision_files import WEIGHTS, network, publish, saved

REFERENCE = parse_reference(f"torchvision:{WEIGHTS}")


@pytest.fixture(scope="module")
def content() -> bytes:
    return saved(network("shufflenet_v2_x0_5").state_dict())


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[WebFiles]:
    monkeypatch.setattr("service.references.pull.library_answers", lambda _, asked: answer(asked))
    monkeypatch.setattr("model_zoo.sources.download.time.sleep", lambda seconds: None)
    with web_files() as found:
        yield found


@pytest.fixture(scope="module")
def pulled(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Pulled, Path, WebFiles]]:
    home = tmp_path_factory.mktemp("home")
    with web_files() as found, pytest.MonkeyPatch.context() as patch:
        patch.setattr("service.references.pull.library_answers", lambda _, asked: answer(asked))
        publish(content, found, patch)
        yield pull_reference(REFERENCE, home), home, found


def leftovers(home: Path) -> list[str]:
    return sorted(p.name for p in home.rglob("*") if p.is_file() and not p.name.endswith(".lock"))


def test_card_says_what_torchvision_says(pulled: tuple[Pulled, Path, WebFiles], content: bytes) -> None:
    card, home = pulled[0].card, pulled[1]
    weights = models.get_weight(WEIGHTS)
    assert (card.name, card.task, card.family) == (
        "shufflenet_v2_x0_5_weights_imagenet1k_v1",
        "image-classification",
        "cnn",
    )
    assert card.parameters == weights.meta["num_params"]
    assert list(card.class_names) == weights.meta["categories"]
    assert card.licence.weights == "not stated"
    assert card.source.kind == "url"
    assert card.source.url.startswith(f"{TORCHVISION_HOST}models/shufflenet-"), "the mirror is not on the card"
    assert card.source.url in card.provenance
    assert card.source.files["weights"].sha256 == hashlib.sha256(content).hexdigest()
    assert card.verification is not None
    assert card.verification.library.startswith("torchvision ")
    assert card.verification.max_difference <= card.verification.bound
    assert len(card.golden) == 2
    assert [method.value for method in methods(card, card.task)] == ["head", "full"]
    assert Catalog.of_home(home).get(card.name) == card
    assert not list((home / "downloads").glob("[!.]*"))
    assert {item.users for item in cache_items(home)} == {(card.name,)}


def test_answers_equal_those_of_torchvision(pulled: tuple[Pulled, Path, WebFiles], content: bytes) -> None:
    card, files = pulled[0].card, pulled[0].files
    task, runtime = task_for(card, files), NetworkRuntime(load_network(card, files), "cpu")
    (item,) = task.preprocess([ImageInstance(photo("cat.jpg"))], ["instances[0]"])
    assert isinstance(item, Item)
    (row,) = task.split(runtime.run(task.collate([item])[0]), [item])
    theirs = network("shufflenet_v2_x0_5")
    with torch.inference_mode():
        logits = theirs(torch.from_numpy(item.tensors["pixel_values"]).unsqueeze(0))[0].numpy()
    np.testing.assert_allclose(row["logits"], logits, atol=1e-4)
    found = task.postprocess(row, item, Options())
    assert isinstance(found, Classification)
    assert found.labels[0].name == card.class_names[int(logits.argmax())]


def test_pull_is_repeated_from_the_card_and_by_a_lock(
    pulled: tuple[Pulled, Path, WebFiles], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, home, web = pulled
    asked = len(web.requests)
    assert pull_reference(REFERENCE, home).already
    assert len(web.requests) == asked
    (tmp_path / "zoo.lock").write_text(text_of_lock([found.card]), encoding="utf-8")
    [locked] = read_lock(tmp_path / "zoo.lock")
    again = pull_locked(locked, tmp_path / "second")
    assert (again.card, again.files.digest) == (found.card, found.files.digest)
    Store(tmp_path / "second").remove(found.card)
    assert pull_locked(locked, tmp_path / "second").files.digest == found.files.digest


def test_other_digits_than_in_the_name_are_refused(
    web: WebFiles, content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(content, web, monkeypatch, digest="01234567")
    with pytest.raises(DigestMismatch, match="but 01234567 was expected"):
        pull_reference(REFERENCE, tmp_path)
    assert leftovers(tmp_path) == []


def test_file_that_runs_code_is_refused_and_runs_none(
    web: WebFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Payload:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path.touch, (tmp_path / "ran",))  # type: ignore[return-value]

    publish(pickle.dumps({"fc.weight": Payload()}) + b"\0" * 8_000_000, web, monkeypatch)
    with pytest.raises(ConversionFailed, match="without running code from it"):
        pull_reference(REFERENCE, tmp_path / "home")
    assert not (tmp_path / "ran").exists()
    assert leftovers(tmp_path / "home") == []


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("shufflenet_v2_x0_5", {"num_classes": 10}, r"fc\.weight is \[10, 1024\] in the file and \[1000, 1024\]"),
        ("mobilenet_v3_small", {}, r"its file lacks conv1\.0\.weight, .* more"),
    ],
)
def test_weights_of_another_network_are_refused_with_their_tensors(
    name: str, arguments: dict[str, int], message: str, web: WebFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(saved(network(name, **arguments).state_dict()), web, monkeypatch)
    with pytest.raises(ConversionFailed, match=message):
        pull_reference(REFERENCE, tmp_path)
    assert leftovers(tmp_path) == []


def test_what_cannot_be_pulled_is_refused_before_a_fetch(
    web: WebFiles, content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = publish(content, web, monkeypatch)
    with pytest.raises(SourceUnavailable, match="ZOO_OFFLINE"):
        pull_reference(REFERENCE, tmp_path, offline=True)
    other = f"/{models.get_weight('SqueezeNet1_1_Weights.IMAGENET1K_V1').url.removeprefix(TORCHVISION_HOST)}"
    web.files[other] = b"x"
    for weights, message in (
        ("ResNet50_Weights.IMAGENET1K_V3", "has no such weights; did you mean ResNet50_Weights.IMAGENET1K_V2"),
        ("FasterRCNN_ResNet50_FPN_Weights.COCO_V1", "not for classes of images"),
        ("VGG16_Weights.IMAGENET1K_FEATURES", "not for classes of images"),
        ("SqueezeNet1_1_Weights.IMAGENET1K_V1", "its last layer is not linear"),
    ):
        with pytest.raises(NotDerivable, match=message):
            pull_reference(parse_reference(f"torchvision:{weights}"), tmp_path)
    assert {asked for asked, _ in web.requests} == {other}, "its size"
    with pytest.raises(NotDerivable, match="is for image-classification, not for object-detection"):
        pull_reference(REFERENCE, tmp_path, given=Given(task="object-detection"))
    with pytest.raises(NotDerivable, match="1,000 classes, but 2 are named"):
        pull_reference(REFERENCE, tmp_path, given=Given(labels=("a", "b")))
    del web.files[path]
    with pytest.raises(SourceNotFound, match="does not have it"):
        pull_reference(REFERENCE, tmp_path)
    assert leftovers(tmp_path) == []


def test_missing_library_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "torchvision", None)
    with pytest.raises(NotDerivable, match="torchvision is not installed"):
        pull_reference(REFERENCE, tmp_path)
