"""A pulled network is derived, converted, verified and pinned; a refused one leaves nothing behind."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from model_zoo.catalog import CARDS, Catalog
from model_zoo.errors import (
    ConversionFailed,
    InvalidName,
    NotDerivable,
    NotEqual,
    SourceUnavailable,
    ZooModelError,
)
from model_zoo.network import load_network
from model_zoo.references.card_plan import Given
from model_zoo.references.reference import parse_reference
from model_zoo.store import Store
from service.references import library_process
from service.references.footprint import Room
from service.references.library_answers import answer
from service.references.publishing import publish_card
from service.references.pull import Pulled, pull_reference
from service.references.verification_inputs import TEXTS, verification_inputs
from service.runtime.network import NetworkRuntime
from service.tasks.table import read_labels, task_for
from service.types import Item
from tests.support.model_zoo.pulled_cards import add_card, pulled_card
from tests.support.preloaded_process import forked_worker
from tests.support.references.stand_in_hub import HostedRepository, stand_in_hub
from tests.support.references.tiny_repositories import (
    image_classifier,
    sentence_encoder,
    text_classifier,
    timm_repository,
    tokenizer,
)
from tests.support.references.tiny_texts import pair_classifier

LAYOUTS: dict[str, Callable[[Path], Path]] = {
    "text": text_classifier,
    "sentence": sentence_encoder,
    "sentence of the first token": lambda folder: sentence_encoder(folder, "cls", normalize=False),
    "vit": image_classifier,
    "convnext": lambda folder: image_classifier(folder, "convnext"),
    "resnet": lambda folder: image_classifier(folder, "resnet"),
    "timm": timm_repository,
    "timm transformer": lambda folder: timm_repository(folder, "test_vit"),
    "timm encoder": lambda folder: timm_repository(folder, classes=0),
}


@pytest.fixture(autouse=True)
def library_here(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """The library answers in this process, and in tests of its own process in a fork."""
    if "own_process" in request.node.name:
        monkeypatch.setattr(library_process, "WORKER", forked_worker("service.references.library_answers"))
    else:
        monkeypatch.setattr("service.references.pull.library_answers", lambda _, asked: answer(asked))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def pulled_from(folder: Path, home: Path, name: str = "tiny") -> Pulled:
    return pull_reference(parse_reference(f"local:{folder}"), home, name=name)


FILLER = 80_000
"""Bytes, as many as the weights have."""


def leftovers(home: Path) -> list[str]:
    """Files below a home, without locks."""
    return sorted(
        p.relative_to(home).as_posix() for p in home.rglob("*") if p.is_file() and not p.name.endswith(".lock")
    )


@pytest.mark.parametrize("layout", LAYOUTS)
def test_network_of_each_layout_gives_the_answers_of_its_library(layout: str, tmp_path: Path, home: Path) -> None:
    (tmp_path / "tiny").mkdir()
    pulled = pulled_from(LAYOUTS[layout](tmp_path / "tiny"), home)
    assert pulled.card.verification is not None
    assert pulled.card.verification.max_difference <= pulled.card.verification.bound
    assert pulled.card.licence.weights == "apache-2.0"
    card = Catalog.of_home(home).get("tiny")
    assert card == pulled.card, "what is stored is what was pulled"
    files = Store(home).find(card)
    assert files == pulled.files


def test_weights_in_several_files_are_one_network(tmp_path: Path, home: Path) -> None:
    folder = tmp_path / "tiny"
    folder.mkdir()
    whole = pulled_from(text_classifier(folder), home, "whole")
    network = transformers.BertForSequenceClassification.from_pretrained(folder)
    (folder / "model.safetensors").unlink()
    network.save_pretrained(folder, max_shard_size="20KB")
    assert len(list(folder.glob("model-*.safetensors"))) > 1
    assert pulled_from(folder, home, "sharded").files.digest == whole.files.digest


@pytest.mark.parametrize("flag", ["tokenize_chinese_chars", "do_lower_case", "strip_accents"])
def test_setting_that_contradicts_the_file_of_the_tokenizer_is_refused(flag: str, tmp_path: Path, home: Path) -> None:
    """The library builds its tokenizer by these settings, whatever tokenizer.json says."""
    folder = pair_classifier(tmp_path)
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), flag: False}), "utf-8")
    with pytest.raises(NotEqual):
        pulled_from(folder, home)


def test_texts_of_the_comparison_end_otherwise_than_they_begin() -> None:
    words = TEXTS[3].split()
    assert all(words[:most] != words[-most:] for most in range(1, len(words)))


def test_library_answers_in_its_own_process(tmp_path: Path, home: Path) -> None:
    (tmp_path / "tiny").mkdir()
    folder = text_classifier(tmp_path / "tiny")
    assert pulled_from(folder, home).card.verification is not None
    for damage, words in (
        (_not_finite, "not finite"),
        (_broken_tokenizer, "gives no answers to compare with: it fails"),
    ):
        damaged = text_classifier(tmp_path / "tiny")
        damage(damaged)
        with pytest.raises(NotEqual, match=words):
            pulled_from(damaged, home, "other")
    assert "other" not in Catalog.of_home(home)


@pytest.mark.parametrize("layout", ["text", "sentence", "vit", "timm"])
def test_rows_of_a_batch_equal_single_rows(layout: str, tmp_path: Path, home: Path) -> None:
    (tmp_path / "tiny").mkdir()
    pulled = pulled_from(LAYOUTS[layout](tmp_path / "tiny"), home)
    task = task_for(pulled.card, pulled.files)
    runtime = NetworkRuntime(load_network(pulled.card, pulled.files), "cpu")
    inputs = verification_inputs(pulled.card.raw_input)
    items = task.preprocess([task.golden_instance(one) for one in inputs], ["input"] * len(inputs))
    good = [item for item in items if isinstance(item, Item)]
    assert len(good) == len(inputs)
    together = task.split(runtime.run(task.collate(good)[0]), good)
    output = pulled.card.signature.outputs[0].name
    for item, row in zip(good, together, strict=True):
        (alone,) = task.split(runtime.run(task.collate([item])[0]), [item])
        np.testing.assert_allclose(row[output], alone[output], atol=pulled.card.tolerance.max_abs_error)


def test_second_pull_uses_the_pinned_files(tmp_path: Path, home: Path) -> None:
    (tmp_path / "tiny").mkdir()
    folder = text_classifier(tmp_path / "tiny")
    first = pulled_from(folder, home)
    (folder / "model.safetensors").write_bytes(b"something else")
    again = pulled_from(folder, home)
    assert again.already
    assert again.card == first.card
    with pytest.raises(NotDerivable, match="another name"):
        pull_reference(parse_reference(f"local:{tmp_path}"), home, name="tiny")
    with pytest.raises(NotDerivable, match="it was pulled before"):
        pull_reference(parse_reference(f"local:{folder}"), home, name="tiny", given=Given(labels=("a", "b")))
    with pytest.raises(NotDerivable, match="there is a model efficientnet_lite0 already"):
        pull_reference(parse_reference(f"local:{folder}"), home, name="efficientnet_lite0")
    (home / "versions" / "mood" / "1").mkdir(parents=True)
    with pytest.raises(NotDerivable, match="there is a fine-tuned model mood already; give another name by --name"):
        pull_reference(parse_reference(f"local:{folder}"), home, name="mood")


@pytest.mark.parametrize(
    ("reference", "shown"),
    [
        ("onnx:/srv/secret/model.onnx", "onnx:model.onnx"),
        ("local:/srv/secret/folder", "local:folder"),
        ("hf:org/tiny", "hf:org/tiny"),
    ],
)
def test_model_of_that_name_is_told_without_the_path_of_its_files(reference: str, shown: str, tmp_path: Path) -> None:
    add_card(tmp_path, pulled_card().model_copy(update={"reference": reference}))
    with pytest.raises(NotDerivable, match=f"there is a model tiny already, pulled from {shown}; give") as refused:
        pull_reference(parse_reference("hf:other/tiny"), tmp_path)
    assert "secret" not in str(refused.value)


def test_repository_of_a_hub_is_pinned_to_its_commit(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tiny").mkdir()
    folder = text_classifier(tmp_path / "tiny")
    with stand_in_hub() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        hub.repositories["org/Tiny-Text"] = hosted = HostedRepository(folder, card={"license": "mit"})
        reference = parse_reference("hf:org/Tiny-Text")
        pulled = pull_reference(reference, home)
        assert (pulled.card.name, pulled.card.licence.weights) == ("tiny_text", "mit")
        assert pulled.card.source.kind == "hub"
        assert pulled.card.source.commit == hosted.commit
        assert not list((home / "downloads").glob("[!.]*")), "what was fetched is removed once it is converted"
        asked = len(hub.requests)
        hosted.commit = "f" * 40
        assert pull_reference(reference, home).card == pulled.card
        assert len(hub.requests) == asked, "a branch that moved changes nothing"
        # The files are fetched again, at the commit of the card, where they were lost.
        hosted.commit = pulled.card.source.commit
        Store(home).remove(pulled.card)
        assert pull_reference(reference, home).files.digest == pulled.files.digest
    with pytest.raises(SourceUnavailable, match="ZOO_OFFLINE"):
        pull_reference(parse_reference("hf:org/other"), home, offline=True)


def test_name_of_timm_is_pulled_from_its_repository(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("network", "text"):
        (tmp_path / name).mkdir()
    with stand_in_hub() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        hub.repositories["timm/test_resnet.tiny"] = HostedRepository(timm_repository(tmp_path / "network"))
        hub.repositories["timm/no_timm"] = HostedRepository(text_classifier(tmp_path / "text"))
        pulled = pull_reference(parse_reference("timm:test_resnet.tiny"), home)
        assert (pulled.card.name, pulled.card.reference) == ("test_resnet_tiny", "timm:test_resnet.tiny")
        assert pulled.card.source.kind == "hub"
        assert pulled.card.source.repository == "timm/test_resnet.tiny"
        again = pull_reference(parse_reference("hf:timm/test_resnet.tiny"), home)
        assert again.already, "the same network by its other name"
        with pytest.raises(NotDerivable, match="not of timm"):
            pull_reference(parse_reference("timm:no_timm"), home)
    assert "no_timm" not in Catalog.of_home(home)


def test_equal_weights_with_other_labels_are_another_model(tmp_path: Path, home: Path) -> None:
    folders = [tmp_path / "first", tmp_path / "second"]
    others = ("no", "y\x85es")  # a line break of YAML, not of a file of labels
    for folder, labels in zip(folders, (("bad", "good"), others), strict=True):
        folder.mkdir()
        text_classifier(folder, labels)
    first = pulled_from(folders[0], home, "first")
    second = pulled_from(folders[1], home, "second")
    assert first.files.digest == second.files.digest
    for pulled, labels in ((first, ("bad", "good")), (second, others)):
        assert Catalog.of_home(home).get(pulled.card.name) == pulled.card
        files = Store(home).find(pulled.card)
        assert files == pulled.files
        assert read_labels(pulled.card, files.folder) == labels
    Store(home).remove(second.card)
    assert Store(home).find(first.card) == first.files
    assert Store(home).find(second.card) is None


def test_refused_pull_leaves_a_model_with_equal_weights_as_it_is(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = [tmp_path / "first", tmp_path / "second"]
    for folder, labels in zip(folders, (("bad", "good"), ("no", "yes")), strict=True):
        folder.mkdir()
        text_classifier(folder, labels)
    first = pulled_from(folders[0], home, "first")
    before = leftovers(home)
    monkeypatch.setattr("service.references.pull.library_answers", lambda *_: [[0.5, 0.5]] * 4)
    with pytest.raises(NotEqual):
        pulled_from(folders[1], home, "second")
    assert leftovers(home) == before
    assert read_labels(first.card, first.files.folder) == ("bad", "good")


def test_network_that_cannot_run_several_rows_is_refused(tmp_path: Path, home: Path) -> None:
    """Without a token for padding in its configuration this network takes single rows alone, so the library answers them."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    size = tokenizer(folder)
    torch.manual_seed(9)
    settings = transformers.GPT2Config(
        vocab_size=size,
        n_positions=64,
        n_embd=16,
        n_layer=1,
        n_head=2,
        id2label={0: "bad", 1: "good"},
        pad_token_id=None,
    )
    transformers.GPT2ForSequenceClassification(settings).eval().save_pretrained(folder)
    with pytest.raises(NotDerivable, match="several rows together"):
        pulled_from(folder, home)
    assert leftovers(home) == []


def test_configuration_of_a_larger_network_than_its_files_is_refused(tmp_path: Path, home: Path) -> None:
    folder = tmp_path / "tiny"
    folder.mkdir()
    text_classifier(folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "vocab_size": 50_000_000}))
    with pytest.raises(NotDerivable, match="parameters, but its weights have"):
        pulled_from(folder, home)


def _other_shape(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    weights["classifier.weight"] = torch.zeros(5, 32)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def _missing(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    del weights["bert.encoder.layer.1.output.dense.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def _not_finite(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    weights["classifier.bias"] = torch.full((2,), float("nan"))
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def _truncated(folder: Path) -> None:
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[: len(content) // 2])


def _huge_header(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes((1 << 60).to_bytes(8, "little") + bytes(FILLER))


def _wrong_offsets(folder: Path) -> None:
    header = json.dumps({"classifier.bias": {"dtype": "F32", "shape": [2], "data_offsets": [0, 9_000_000]}}).encode()
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(FILLER))


def _pickle(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"\x80\x04cos\nsystem\n(S'touch /tmp/zoo-pickle'\ntR." + bytes(FILLER))


def _broken_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").write_text('{"version": "1.0", "model": {"type": "Nothing"}}')


@pytest.mark.parametrize(
    ("damage", "error", "words"),
    [
        (_other_shape, ConversionFailed, "classifier.weight is [5, 32] in the files and [2, 32]"),
        (_missing, ConversionFailed, "bert.encoder.layer.1.output.dense.weight is missing"),
        (_not_finite, NotEqual, "allowed is 0.001"),
        (_truncated, ConversionFailed, "cannot read the files"),
        (_huge_header, ConversionFailed, "cannot read the files"),
        (_wrong_offsets, ConversionFailed, "cannot read the files"),
        (_pickle, ConversionFailed, "cannot read the files"),
    ],
)
def test_damaged_network_is_refused_and_leaves_nothing(
    damage: Callable[[Path], None], error: type[ZooModelError], words: str, tmp_path: Path, home: Path
) -> None:
    (tmp_path / "tiny").mkdir()
    folder = text_classifier(tmp_path / "tiny")
    damage(folder)
    with pytest.raises(error) as raised:
        pulled_from(folder, home)
    assert words in str(raised.value)
    assert str(tmp_path) not in str(raised.value)
    assert leftovers(home) == []
    assert "tiny" not in Catalog.of_home(home)


def test_network_whose_answers_differ_is_refused(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tiny").mkdir()
    folder = text_classifier(tmp_path / "tiny")
    monkeypatch.setattr("service.references.pull.library_answers", lambda *_: [[0.5, 0.5]] * 4)
    with pytest.raises(NotEqual, match=r"allowed is 0\.001"):
        pulled_from(folder, home)
    assert leftovers(home) == []


def test_more_than_the_disk_has_is_refused_with_the_figures(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tiny").mkdir()
    folder = text_classifier(tmp_path / "tiny")
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=100_000))
    with pytest.raises(ZooModelError, match=r"needs 0\.0\d+ GB of disk while it is pulled, and 0\.0001 GB are free"):
        pulled_from(folder, home)
    assert leftovers(home) == []


@pytest.mark.parametrize(
    ("room", "message"),
    [
        (Room(memory=10_000), r"7\.43e-05 GB of memory while it is pulled, and there are 1e-05 GB"),
        (Room(budget=50_000), r"7\.43e-05 GB of memory, and ZOO_MEMORY_BUDGET_MIB allows 5e-05 GB"),
    ],
)
def test_more_than_the_memory_is_refused_with_the_figures(tmp_path: Path, home: Path, room: Room, message: str) -> None:
    (tmp_path / "tiny").mkdir()
    folder = text_classifier(tmp_path / "tiny")
    with pytest.raises(NotDerivable, match=message):
        pull_reference(parse_reference(f"local:{folder}"), home, room=room)
    assert leftovers(home) == []


def test_repository_without_a_file_of_its_plan_is_refused(tmp_path: Path, home: Path) -> None:
    (tmp_path / "tiny").mkdir()
    folder = sentence_encoder(tmp_path / "tiny")
    (folder / "tokenizer.json").unlink()
    with pytest.raises(NotDerivable, match=r"tokenizer\.json"):
        pulled_from(folder, home)


@pytest.mark.parametrize("name", ["Tiny", "1 2", "../x", "a-b", "x" * 64, "_a"])
def test_name_that_is_none_is_refused(name: str, tmp_path: Path, home: Path) -> None:
    with pytest.raises(InvalidName, match="no name of a model: expected a to z"):
        pull_reference(parse_reference(f"local:{tmp_path}"), home, name=name)


# ── published cards ──────────────────────────────────────────────────────────────────────────────────────────────


def test_published_card_with_every_kind_of_line_break_is_read_as_it_was(tmp_path: Path) -> None:
    for text in (
        "a\x85b",
        "a\u2028 b\u2029",
        "a\rb\vc\fd\x1ce\u2028",
        " é\n \x85: #",
        "\ufeff\x00\x1b[1m",
        "\U0001f600",
    ):
        card = pulled_card().model_copy(update={"summary": text})
        publish_card(card, tmp_path)
        assert Catalog.of_home(tmp_path).get(card.name) == card


def test_card_that_would_not_be_read_as_it_is_is_refused_and_not_written(tmp_path: Path) -> None:
    with pytest.raises(NotDerivable, match="no card can hold"):
        publish_card(pulled_card().model_copy(update={"parameters": -1}), tmp_path)
    assert not (tmp_path / CARDS).exists()
