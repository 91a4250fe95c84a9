"""Valid cards load; invalid cards are rejected."""

import json
from typing import Any

import pytest
import yaml

from model_zoo.cards.card import Card
from model_zoo.cards.recipes import AudioRecipe
from model_zoo.cards.weight_source import CardSource, InitialSource
from model_zoo.catalog import Catalog, parse_card
from model_zoo.errors import InvalidCard, ZooModelError
from model_zoo.golden.golden_case import (
    ClassificationExpectation,
    ContinuationExpectation,
    DetectionExpectation,
    EmbeddingExpectation,
    ForecastExpectation,
    ImageExpectation,
    KeypointsExpectation,
    NotesExpectation,
    NumberExpectation,
    SegmentationExpectation,
    ShotsExpectation,
    SpeechExpectation,
    TokensExpectation,
    VolumeExpectation,
)

CARDS = list(Catalog.from_package())
PRETRAINED = [card for card in CARDS if not isinstance(card.source, InitialSource | CardSource)]


def edited(name: str, path: str, value: Any) -> str:
    """The YAML of a shipped card with one field set; ``...`` removes it."""
    document: Any = Catalog.from_package().get(name).model_dump(mode="json")
    node = document
    *parents, last = path.split(".")
    for key in parents:
        node = node[int(key) if isinstance(node, list) else key]
    if value is ...:
        del node[last]
    else:
        node[last] = value
    return yaml.safe_dump(document)


@pytest.mark.parametrize("card", PRETRAINED, ids=lambda card: card.name)
def test_every_card_states_provenance_and_licence(card: Card) -> None:
    assert card.licence.weights
    assert card.provenance
    assert card.paper
    assert card.source.files["weights"].bytes > 0
    assert card.default is False or "not stated" not in card.licence.weights


@pytest.mark.parametrize("card", PRETRAINED, ids=lambda card: card.name)
def test_every_card_has_a_golden_case_of_its_input_kind(card: Card) -> None:
    expected = {
        "audio-classification": ClassificationExpectation,
        "audio-to-notes": NotesExpectation,
        "image-classification": ClassificationExpectation,
        "image-feature-extraction": EmbeddingExpectation,
        "object-detection": DetectionExpectation,
        "image-segmentation": SegmentationExpectation,
        "keypoint-detection": KeypointsExpectation,
        "fill-mask": TokensExpectation,
        "image-to-image": ImageExpectation,
        "image-segmentation-3d": VolumeExpectation,
        "feature-extraction": EmbeddingExpectation,
        "tabular-regression": NumberExpectation,
        "image-tabular-regression": NumberExpectation,
        "text-classification": ClassificationExpectation,
        "time-series-forecasting": ForecastExpectation,
        "text-generation": ContinuationExpectation,
        "voice-activity-detection": SpeechExpectation,
        "video-segmentation": ShotsExpectation,
    }[card.task]
    assert card.golden
    assert all(type(case.expect) is expected for case in card.golden)


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.name)
def test_every_tensor_has_a_leading_rows_axis(card: Card) -> None:
    assert all(spec.shape[0] == -1 for spec in (*card.signature.inputs, *card.signature.outputs))


def test_max_length_agrees_with_max_seconds() -> None:
    card = Catalog.from_package().get("silero_vad")
    assert isinstance(card.recipe, AudioRecipe)
    assert card.batching.max_length == card.recipe.max_seconds * card.recipe.sample_rate


@pytest.mark.parametrize(
    ("path", "value", "field"),
    [
        ("summary", ..., "summary"),
        ("colour", "blue", "colour"),
        ("family", "svm", "family"),
        ("name", "Not A Name", "name"),
        ("parameters", 0, "parameters"),
        ("source.artifact_sha256", "abc", "source.artifact_sha256"),
        ("source.artifact", "../../etc/passwd.whl", "source.artifact"),
        ("source.package", "--index-url=x", "source.package"),
        ("source.files", {}, "source"),
        ("labels", "../labels.txt", "labels"),
        ("signature.inputs.0.datatype", "float32", "signature.inputs.0.datatype"),
        ("recipe.kind", "video", "recipe"),
        ("recipe.resize_shorter", 100, "recipe"),
        ("recipe.std", [0.5, 0.5, 0.0], "recipe"),
        ("batching.length_of", "pixel_values", "batching"),
        ("golden.0.input", {}, "golden.0.input"),
        ("golden", [], "golden"),
    ],
)
def test_invalid_card_is_rejected_with_the_field_name(path: str, value: object, field: str) -> None:
    with pytest.raises(InvalidCard, match=r"bad\.yaml") as refusal:
        parse_card(edited("efficientnet_lite0", path, value), "bad.yaml")
    assert any(named.startswith(field) for named in refusal.value.fields)
    assert field.split(".")[-1] in str(refusal.value)


@pytest.mark.parametrize(
    ("name", "path", "value", "message"),
    [
        ("efficientnet_lite0", "raw_input", "text", "raw_input and recipe.kind differ"),
        ("all_minilm_l6_v2", "recipe.tokenizer", "vocabulary", "recipe.tokenizer names a role"),
        ("all_minilm_l6_v2", "batching.length_of", "tokens", "batching.length_of must name an input"),
        (
            "basic_pitch",
            "architecture.arguments",
            {"names": {"samples": 3}},
            "arguments.names must be names in the graph",
        ),
        ("silero_vad", "labels", "labels.txt", "labels are known for ImageNet"),
        ("all_minilm_l6_v2", "architecture.arguments.num_hidden_layers", 10**7, r"num_hidden_layers is 10000000"),
        ("all_minilm_l6_v2", "architecture.arguments.part", {"_attn_implementation": "a/b"}, "_attn_implementation is"),
        ("efficientnet_lite0", "architecture.arguments.depths", [600, 600], "depths adds up to more than 1,000 layers"),
    ],
)
def test_card_with_contradicting_fields_is_rejected(name: str, path: str, value: object, message: str) -> None:
    with pytest.raises(InvalidCard, match=message):
        parse_card(edited(name, path, value), "bad.yaml")


@pytest.mark.parametrize("text", ["a: [1", "- just\n- a list", "", "!!python/object/apply:os.getcwd []"])
def test_file_that_is_not_a_card_is_rejected_without_execution(text: str) -> None:
    with pytest.raises(ZooModelError, match=r"bad\.yaml"):
        parse_card(text, "bad.yaml")


def test_card_is_immutable() -> None:
    with pytest.raises(ValueError, match="frozen"):
        CARDS[0].name = "other"  # type: ignore[misc]


@pytest.mark.parametrize(("least", "flips"), [(1.0, 0.0), (0.9, 0.1)])
def test_least_agreement_of_an_earlier_card_is_read_as_a_bound_on_flips(least: float, flips: float) -> None:
    document = Catalog.from_package().get("efficientnet_lite0").model_dump(mode="json")
    bounds = document["tolerance"]["reduced_precision"]
    del bounds["max_flips"]
    card = Card.model_validate_json(json.dumps(with_bounds(document, bounds | {"min_top1_agreement": least})))
    assert card.tolerance.reduced_precision.max_flips == flips
    with pytest.raises(ValueError, match="max_flips"):
        Card.model_validate(with_bounds(document, bounds | {"min_top1_agreement": 1.5}))


def with_bounds(document: dict[str, Any], bounds: dict[str, Any]) -> dict[str, Any]:
    return document | {"tolerance": document["tolerance"] | {"reduced_precision": bounds}}
