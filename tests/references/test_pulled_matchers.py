"""Networks that compare images with texts choose among labels that a caller names, as the pipeline of transformers does."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from PIL import Image

from model_zoo.architectures.tuned import Head, TunedNetwork
from model_zoo.cards.recipes import LabelledImageRecipe
from model_zoo.cards.tuned_parts import HeadSpec
from model_zoo.errors import NotDerivable, NotEqual
from model_zoo.golden.golden_case import golden_path
from model_zoo.network import build_network
from model_zoo.references.card_plan import Given
from model_zoo.references.derive import derive
from model_zoo.references.local import LocalRepository
from model_zoo.references.reference import parse_reference
from service.errors import InvalidInput
from service.references.library_answers import answer
from service.references.pull import pull_reference
from service.references.verification_inputs import LABELS
from service.tasks.image.zero_shot_image_classification import TEMPLATE, labelled
from service.training.compatibility import check_before_upload
from service.training.job_spec import JobSpec
from service.types import (
    Classification,
    ImageInstance,
    Item,
    LabelledImageInstance,
    Options,
    TensorInstance,
    Tensors,
    TextInstance,
)
from service.verification.golden_check import golden_problem
from tests.support.references.pulled import RunningModel, photo, pulled_here
from tests.support.references.stand_in_hub import HostedRepository, stand_in_hub
from tests.support.references.tiny_image_text import MATCHERS, clip, sentencepiece_siglip, siglip

PHOTOS = ("cat.jpg", "coffee.jpg")


@pytest.fixture(scope="module", params=MATCHERS)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> RunningModel:
    root = tmp_path_factory.mktemp("matchers")
    return pulled_here(MATCHERS[request.param], root / request.param, root / "home")


@pytest.fixture(scope="module")
def pipe(model: RunningModel) -> Any:
    make: Any = transformers.pipeline
    return make("zero-shot-image-classification", model=str(model.folder), device="cpu")


def expected_of(pipe: Any, image: Image.Image, labels: Sequence[str], template: str, most: int) -> list[dict[str, Any]]:
    """The pipeline's answer, with texts cut where the network has no more positions; without a limit the pipeline fails."""
    limits = {"truncation": True, "max_length": most}
    given = pipe.preprocess(image, list(labels), template, tokenizer_kwargs=limits)
    with torch.inference_mode():
        found: list[dict[str, Any]] = pipe.postprocess(pipe.forward(given))
    return found


def item(model: RunningModel, name: str, labels: Sequence[str], template: str = TEMPLATE) -> Item:
    (found,) = model.task.preprocess([labelled(photo(name), labels, template)], ["instances[0]"])
    assert isinstance(found, Item), found
    return found


def rows(model: RunningModel, items: Sequence[Item]) -> list[Tensors]:
    return model.task.split(model.runtime.run(model.task.collate(items)[0]), items)


def test_card_says_what_the_network_takes_and_that_it_is_verified(model: RunningModel) -> None:
    card = model.pulled.card
    assert (card.task, card.raw_input, card.family) == ("zero-shot-image-classification", "image", "transformer")
    assert [spec.name for spec in card.signature.outputs] == ["logits", "image_embeds", "text_embeds"]
    assert card.verification is not None
    assert card.verification.inputs == 3
    assert [case.input.candidate_labels for case in card.golden] == [LABELS, LABELS, LABELS[:2]]
    assert card.activation == ("sigmoid" if "siglip" in model.folder.name else "softmax")
    assert golden_problem(model.task, model.runtime) is None


@pytest.mark.parametrize("labels", [LABELS, ("cat",), ("a rocket " * 40, "cup", "Cup?")])
@pytest.mark.parametrize("template", [None, "the {} was a delight!"])
@pytest.mark.parametrize("name", PHOTOS)
def test_probabilities_are_those_of_the_pipeline(
    model: RunningModel, pipe: Any, labels: tuple[str, ...], template: str | None, name: str
) -> None:
    """On the pixels of the library: other code decodes and resizes images."""
    image = Image.open(golden_path(name)).convert("RGB")
    recipe = model.pulled.card.recipe
    assert isinstance(recipe, LabelledImageRecipe)
    expected = expected_of(pipe, image, labels, template or "This is a photo of {}.", recipe.text.max_tokens)
    mine = item(model, name, labels, template or TEMPLATE)
    pixels = pipe.image_processor(images=[image], return_tensors="np")["pixel_values"][0]
    (row,) = rows(model, [Item({**mine.tensors, "pixel_values": pixels}, mine.length)])
    answer = model.task.postprocess(row, mine, Options())
    assert isinstance(answer, Classification)
    scores = {label.name: label.score for label in answer.labels}
    assert len(scores) == len(labels)
    np.testing.assert_allclose(
        [scores[one["label"]] for one in expected], [one["score"] for one in expected], atol=1e-5
    )
    assert [label.score for label in answer.labels] == sorted(scores.values(), reverse=True)
    assert all(labels[label.index] == label.name for label in answer.labels)


def test_batched_rows_equal_single_ones_with_unlike_numbers_and_lengths_of_labels(model: RunningModel) -> None:
    items = [
        item(model, "cat.jpg", LABELS),
        item(model, "coffee.jpg", ("cat",)),
        item(model, "coffee.jpg", LABELS[::-1]),
        item(model, "cat.jpg", ("cup of coffee",), "{}"),
        item(model, "cat.jpg", tuple(f"label {i}" for i in range(100))),
    ]
    together = rows(model, items)
    for one, row in zip(items, together, strict=True):
        (alone,) = rows(model, [one])
        assert row.keys() == alone.keys()
        for name, array in alone.items():
            assert row[name].shape == array.shape
            np.testing.assert_allclose(row[name], array, atol=1e-4)
    assert together[4]["logits"].shape == (100,)
    assert together[0]["text_embeds"].shape == (len(LABELS), together[0]["image_embeds"].shape[0])


def test_each_different_text_of_a_batch_runs_once(model: RunningModel, monkeypatch: pytest.MonkeyPatch) -> None:
    network: Any = model.runtime._network
    seen: list[int] = []
    features = network.backbone.get_text_features

    def counted(input_ids: Any, attention_mask: Any) -> Any:
        seen.append(len(input_ids))
        return features(input_ids, attention_mask)

    monkeypatch.setattr(network.backbone, "get_text_features", counted)
    rows(model, [item(model, name, LABELS) for name in PHOTOS] + [item(model, "cat.jpg", LABELS[:1])])
    different = len({tuple(ids) for ids in item(model, "cat.jpg", LABELS).tensors["input_ids"].tolist()})
    assert seen == [different]
    seen.clear()
    rows(model, [item(model, "cat.jpg", [f"cat {'!' * (i % 10)} {'?' * (i // 10)}" for i in range(100)], "{}")])
    assert max(seen) <= 64


def test_embeddings_have_length_one_and_their_cosines_order_the_labels(model: RunningModel) -> None:
    row = model.alone(item(model, "cat.jpg", LABELS))
    np.testing.assert_allclose(np.linalg.norm(row["image_embeds"]), 1, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(row["text_embeds"], axis=1), 1, atol=1e-5)
    cosines = row["text_embeds"] @ row["image_embeds"]
    assert np.corrcoef(cosines, row["logits"])[0, 1] == pytest.approx(1)


def test_tensors_of_a_row_are_taken_as_they_are(model: RunningModel) -> None:
    mine = item(model, "cat.jpg", LABELS)
    given = model.task.row(TensorInstance(mine.tensors), "p")
    np.testing.assert_allclose(model.alone(given)["logits"], model.alone(mine)["logits"], atol=1e-5)
    pixels = np.full((64, 64, 3), 127, np.uint8)
    rest = {name: array for name, array in mine.tensors.items() if name != "pixel_values"}
    grey = model.task.row(TensorInstance({"pixels": pixels, **rest}), "p")
    assert model.alone(grey)["logits"].shape == (len(LABELS),)


def test_wrong_tensors_are_refused_by_name(model: RunningModel) -> None:
    good = item(model, "cat.jpg", LABELS).tensors
    ids = np.array(good["input_ids"])
    for wrong, field in (
        (ids[:0], "p.input_ids"),
        (np.repeat(ids, 21, axis=0), "p.input_ids"),
        (np.repeat(ids, 3, axis=1), "p.input_ids"),
        (ids[:, :0], "p.input_ids"),
        (ids - 1000, "p.input_ids"),
        (ids + 1000, "p.input_ids"),
    ):
        with pytest.raises(InvalidInput) as raised:
            model.task.row(TensorInstance({**good, "input_ids": wrong}), "p")
        assert raised.value.field == field
    if "attention_mask" in good:
        for mask in (np.zeros_like(ids), ids * 0 + 2, np.ones((2, 64), np.int64)):
            with pytest.raises(InvalidInput) as raised:
                model.task.row(TensorInstance({**good, "attention_mask": mask}), "p")
            assert raised.value.field == "p.attention_mask"


@pytest.mark.parametrize(
    ("instance", "field"),
    [
        (labelled(b"", ["a"], TEMPLATE), "p"),
        (labelled(b"no image", ["a"], TEMPLATE), "p"),
        (LabelledImageInstance(photo("cat.jpg"), ()), "p.text"),
        (LabelledImageInstance(photo("cat.jpg"), (b"a",) * 101), "p.text"),
        (LabelledImageInstance(photo("cat.jpg"), (b"a", b" ")), "p.text[1]"),
        (LabelledImageInstance(photo("cat.jpg"), (b"a", b"\xff")), "p.text[1]"),
        (LabelledImageInstance(photo("cat.jpg"), (b"a" * 8001,)), "p.text[0]"),
        (TextInstance(b"a cat"), "p"),
    ],
)
def test_wrong_inputs_fail_alone_and_are_named(model: RunningModel, instance: Any, field: str) -> None:
    good = labelled(photo("cat.jpg"), ["cat"], TEMPLATE)
    first, wrong, last = model.task.preprocess([good, instance, good], ["p", "p", "p"])
    assert isinstance(first, Item)
    assert isinstance(last, Item)
    assert isinstance(wrong, InvalidInput)
    assert wrong.field == field


def test_labels_become_sentences_and_a_long_one_is_cut_with_a_note(model: RunningModel) -> None:
    given = model.task.expand(ImageInstance(b"x"), Options(candidate_labels=("{0}", "cat")), "p")
    assert given == LabelledImageInstance(
        b"x", (b"This is a photo of {0}.", b"This is a photo of cat."), ("{0}", "cat")
    )
    with pytest.raises(InvalidInput) as raised:
        model.task.expand(ImageInstance(b"x"), Options(), "p")
    assert raised.value.field == "options.candidate_labels"
    assert model.task.expand(TextInstance(b"x"), Options(), "p") is None, "preprocessing refuses it"
    assert item(model, "cat.jpg", ("cat", "a cat " * 90)).notes == {"truncated": True}
    assert item(model, "cat.jpg", ("cat",), "{}").notes == {}
    with pytest.raises(InvalidInput, match="multi_label"):
        model.task.check(Options(multi_label=True, candidate_labels=("a",)))


def test_top_k_and_threshold_choose_among_the_labels(model: RunningModel) -> None:
    mine = item(model, "cat.jpg", LABELS)
    row = model.alone(mine)

    def answered(**options: Any) -> tuple[Any, ...]:
        found = model.task.postprocess(row, mine, Options(**options))
        assert isinstance(found, Classification)
        return found.labels

    every = answered()
    assert len(every) == len(LABELS)
    assert answered(top_k=2) == every[:2]
    assert answered(threshold=every[1].score) == tuple(label for label in every if label.score >= every[1].score)


def test_network_is_no_base_for_fine_tuning(model: RunningModel) -> None:
    with pytest.raises(InvalidInput, match="no features"):
        check_before_upload(model.pulled.card, JobSpec(base="tiny", dataset_id="", model="mine"))


# ── one encoder alone ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def towers(model: RunningModel) -> dict[str, RunningModel]:
    """The encoders of the same repository."""
    home, make = model.folder.parent / "home", MATCHERS[model.folder.name]
    return {
        name: pulled_here(make, model.folder, home, Given(task=task), name)
        for name, task in (("images", "image-feature-extraction"), ("texts", "feature-extraction"))
    }


def test_encoders_alone_give_embeddings_in_the_space_of_both(
    model: RunningModel, towers: dict[str, RunningModel]
) -> None:
    both = model.alone(item(model, "cat.jpg", LABELS))
    (image,) = towers["images"].task.preprocess([ImageInstance(photo("cat.jpg"))], ["p"])
    assert isinstance(image, Item)
    np.testing.assert_allclose(towers["images"].alone(image)["embedding"], both["image_embeds"], atol=1e-5)
    sentences = [TextInstance(text) for text in labelled(b"", LABELS, TEMPLATE).texts]
    texts = [one for one in towers["texts"].task.preprocess(sentences, ["p"] * len(sentences)) if isinstance(one, Item)]
    for together in (rows(towers["texts"], texts), [towers["texts"].alone(one) for one in texts]):
        found = np.stack([row["embedding"] for row in together])
        np.testing.assert_allclose(found, both["text_embeds"], atol=1e-5)


def test_encoders_alone_are_verified_and_share_their_weights(
    model: RunningModel, towers: dict[str, RunningModel]
) -> None:
    assert {tower.pulled.files.digest for tower in towers.values()} == {model.pulled.files.digest}
    for tower in towers.values():
        verification = tower.pulled.card.verification
        assert verification is not None
        assert verification.max_difference <= verification.bound
        assert golden_problem(tower.task, tower.runtime) is None


@pytest.mark.parametrize("name", ["images", "texts"])
def test_head_on_an_encoder_drops_the_other_one(towers: dict[str, RunningModel], name: str) -> None:
    network = build_network(towers[name].pulled.card)
    width = towers[name].pulled.card.signature.outputs[0].shape[1]
    tuned = TunedNetwork(network, Head(HeadSpec(kind="linear", inputs=width, outputs=3, output="logits")))
    kept = {key.split(".")[2] for key in tuned.state_dict() if key.startswith("base.backbone.")}
    assert kept <= ({"vision_model", "visual_projection"} if name == "images" else {"text_model", "text_projection"})
    inputs = (
        {"pixel_values": torch.zeros(2, 3, 64, 64)}
        if name == "images"
        else {"input_ids": torch.ones(2, 5, dtype=torch.long), "attention_mask": torch.ones(2, 5, dtype=torch.long)}
    )
    assert tuned(**inputs)["logits"].shape == (2, 3)


def test_repository_of_a_hub_becomes_up_to_three_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.references.pull.library_answers", lambda _, asked: answer(asked))
    (tmp_path / "tiny").mkdir()
    tasks = ("", "image-feature-extraction", "feature-extraction")
    with stand_in_hub() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        hub.repositories["org/tiny-clip"] = HostedRepository(clip(tmp_path / "tiny"), card={"license": "mit"})
        reference = parse_reference("hf:org/tiny-clip")
        found = [
            pull_reference(reference, tmp_path / "home", name=f"clip_{i}", given=Given(task=task))
            for i, task in enumerate(tasks)
        ]
    assert [pulled.card.task for pulled in found] == ["zero-shot-image-classification", *tasks[1:]]
    assert all(pulled.card.source.kind == "hub" for pulled in found)
    assert all(pulled.card.licence.weights == "mit" for pulled in found)


# ── repositories that are refused ────────────────────────────────────────────────────────────────────────────────────


def changed(path: Path, **fields: Any) -> None:
    found = json.loads(path.read_text())
    for name, value in fields.items():
        inner, _, key = name.rpartition("__")
        (found[inner] if inner else found)[key] = value
    path.write_text(json.dumps(found))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda f: changed(f / "config.json", architectures=["AltCLIPModel"], model_type="altclip"), "'altclip'"),
        (lambda f: changed(f / "config.json", architectures=["Siglip2Model"], model_type="siglip2"), "'siglip2'"),
        (lambda f: (f / "tokenizer.json").unlink(), "tokenizer.json"),
        (lambda f: (f / "preprocessor_config.json").unlink(), "preprocessor_config.json"),
        (lambda f: changed(f / "config.json", text_config__max_position_embeddings=16), "16 positions"),
        (lambda f: changed(f / "config.json", text_config__num_hidden_layers=5000), "5000"),
    ],
)
def test_repository_that_makes_no_card_is_refused_with_the_reason(change: Any, reason: str, tmp_path: Path) -> None:
    def make(folder: Path) -> Path:
        siglip(folder)
        change(folder)
        return folder

    with pytest.raises(NotDerivable, match=reason):
        pulled_here(make, tmp_path / "tiny", tmp_path / "home")


def test_tokenizer_of_sentencepiece_gives_the_answers_of_the_library(tmp_path: Path) -> None:
    """The pull compares them, with labels that have capitals, punctuation and characters beyond ASCII."""
    model = pulled_here(sentencepiece_siglip, tmp_path / "tiny", tmp_path / "home")
    library: Any = transformers
    tokenizer = library.AutoTokenizer.from_pretrained(model.folder)
    texts = (
        *(f"This is a photo of {label}." for label in LABELS),
        "A photo, of a CAT!",
        " cat",
        "▁cat ▁ ",
        "!",
        "cat " * 90,
    )
    (mine,) = model.task.preprocess(
        [LabelledImageInstance(photo("cat.jpg"), tuple(text.encode() for text in texts), ())], ["instances[0]"]
    )
    assert isinstance(mine, Item)
    theirs = tokenizer([*texts], padding="max_length", max_length=64, truncation=True)["input_ids"]
    np.testing.assert_array_equal(mine.tensors["input_ids"], theirs)
    assert mine.notes == {"truncated": True}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda f: (f / "spiece.model").unlink(), "it has no spiece.model"),
        (lambda f: (f / "spiece.model").write_bytes(b"no model"), "spiece.model cannot be read"),
        (lambda f: changed(f / "tokenizer_config.json", do_lower_case=False), "keeps capitals"),
        (lambda f: changed(f / "tokenizer_config.json", eos_token="</end>"), "no piece '</end>'"),
        (lambda f: changed(f / "config.json", text_config__vocab_size=20), "pieces, and its network 20 tokens"),
    ],
)
def test_tokenizer_of_sentencepiece_of_another_form_is_refused(change: Any, reason: str, tmp_path: Path) -> None:
    sentencepiece_siglip(tmp_path)
    change(tmp_path)
    with pytest.raises(NotDerivable, match=reason):
        derive(LocalRepository(tmp_path))


def test_tokenizer_of_a_package_that_is_missing_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(NotDerivable, match="sentencepiece, which is not installed"):
        pulled_here(sentencepiece_siglip, tmp_path / "tiny", tmp_path / "home")


def test_settings_of_images_may_lie_in_the_file_of_a_processor_for_both(tmp_path: Path) -> None:
    """Releases of the library from 5 on write it in place of the other file."""

    def make(folder: Path) -> Path:
        clip(folder)
        given = json.loads((folder / "preprocessor_config.json").read_text())
        (folder / "preprocessor_config.json").unlink()
        written = {"image_processor": given, "processor_class": "CLIPProcessor"}
        (folder / "processor_config.json").write_text(json.dumps(written))
        return folder

    recipe = pulled_here(make, tmp_path / "tiny", tmp_path / "home").pulled.card.recipe
    assert isinstance(recipe, LabelledImageRecipe)
    assert recipe.image.size == (64, 64)


def test_other_answers_than_the_library_gives_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:

    def make(folder: Path) -> Path:
        clip(folder)
        changed(folder / "preprocessor_config.json", image_mean=[0.5, 0.5, 0.5])
        return folder

    assert pulled_here(make, tmp_path / "one", tmp_path / "home").pulled.card.verification
    monkeypatch.setattr("service.tasks.image.zero_shot_image_classification.TEMPLATE", "A picture of {}.")
    with pytest.raises(NotEqual, match=r"cat\.jpg"):
        pulled_here(make, tmp_path / "two", tmp_path / "home")
