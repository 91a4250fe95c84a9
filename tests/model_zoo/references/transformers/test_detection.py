"""The card of a detector says what its repository says; processors that Zoo lacks are refused by name."""

from __future__ import annotations

from typing import Any

import pytest

from model_zoo.errors import NotDerivable
from model_zoo.references.card_plan import CardPlan, Given
from model_zoo.references.derive import derive
from tests.support.references.fake_repository import FakeRepository

YOLOS: dict[str, Any] = {
    "model_type": "yolos",
    "architectures": ["YolosForObjectDetection"],
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "image_size": [64, 96],
    "patch_size": 16,
    "num_detection_tokens": 5,
    "id2label": {"0": "N/A", "1": "cat", "2": "cup"},
}
PROCESSOR: dict[str, Any] = {
    "feature_extractor_type": "YolosFeatureExtractor",
    "size": 512,
    "max_size": 864,
    "image_mean": [0.1, 0.2, 0.3],
    "image_std": [0.4, 0.5, 0.6],
    "do_normalize": True,
    "do_pad": True,
}


def planned(config: dict[str, Any] | None = None, given: Given | None = None, **processor: Any) -> CardPlan:
    kept = {name: value for name, value in {**PROCESSOR, **processor}.items() if value is not None}
    contents = {
        "config.json": {**YOLOS, **(config or {})},
        "model.safetensors": b"weights",
        "preprocessor_config.json": kept,
    }
    return derive(FakeRepository(contents), given or Given())


def recipe(**processor: Any) -> dict[str, Any]:
    found: dict[str, Any] = planned(**processor).fields["recipe"]
    return found


def test_early_repository_gives_sizes_classes_and_scores() -> None:
    fields = planned().fields
    assert fields["task"] == "object-detection"
    assert fields["boxes"] == {"scores": "softmax"}
    assert fields["class_names"] == ("N/A", "cat", "cup")
    assert [tensor["shape"] for tensor in fields["signature"]["outputs"]] == [(-1, 5, 4), (-1, 5, 4)]
    assert fields["signature"]["inputs"][0]["shape"] == (-1, 3, -1, -1)
    found = fields["recipe"]
    assert (found["shortest_edge"], found["longest_edge"], found["multiple_of"]) == (512, 864, 16)
    assert found["mean"] == (0.1, 0.2, 0.3)


def test_later_repository_bounds_both_edges() -> None:
    found = recipe(
        feature_extractor_type=None,
        image_processor_type="DetrImageProcessorFast",
        size={"shortest_edge": 100, "longest_edge": 200},
    )
    assert (found["shortest_edge"], found["longest_edge"], found["multiple_of"]) == (100, 200, 1)


def test_image_of_a_fixed_size_is_squeezed() -> None:
    found = recipe(size={"height": 64, "width": 96})
    assert (found["kind"], found["size"], found["stretch"]) == ("image", (64, 96), True)


def test_fields_that_a_repository_leaves_out_are_those_of_its_processor() -> None:
    found = recipe(size=None, max_size=None, image_mean=None, image_std=None)
    assert (found["shortest_edge"], found["longest_edge"], found["mean"]) == (800, 1333, (0.485, 0.456, 0.406))
    bare = recipe(
        feature_extractor_type="RTDetrImageProcessor", size=None, do_normalize=None, image_mean=None, do_pad=None
    )
    assert (bare["size"], bare["mean"], bare["std"]) == ((640, 640), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


@pytest.mark.parametrize(
    ("processor", "words"),
    [
        ({"feature_extractor_type": "OwlViTFeatureExtractor"}, "OwlViTFeatureExtractor; Zoo has ConditionalDetrImage"),
        ({"feature_extractor_type": None}, "no processor that it names"),
        ({"pad_size": {"height": 900, "width": 900}}, "pad_size"),
        ({"do_resize": False}, "size in preprocessor_config.json"),
        ({"size": {"shortest_edge": 100, "longest_edge": None}, "max_size": 0}, "bound the longer side"),
        ({"size": {"max_height": 100, "max_width": 100}}, "none that Zoo understands"),
        ({"size": {"shortest_edge": 300, "longest_edge": 200}}, "shortest_edge"),
        ({"do_rescale": False}, "not scaled"),
        ({"resample": 0}, "filter 0"),
    ],
)
def test_processor_that_zoo_lacks_is_refused(processor: dict[str, Any], words: str) -> None:
    with pytest.raises(NotDerivable) as raised:
        planned(**processor)
    assert words in str(raised.value)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"model_type": "owlvit", "architectures": ["OwlViTForObjectDetection"]}, "cannot build"),
        ({"num_detection_tokens": 0}, "number of boxes"),
        ({"num_channels": 1}, "1 channels"),
    ],
)
def test_network_that_zoo_lacks_is_refused(config: dict[str, Any], words: str) -> None:
    with pytest.raises(NotDerivable) as raised:
        planned(config)
    assert words in str(raised.value)


def test_classes_without_names_are_asked_for() -> None:
    nameless = {"id2label": None, "num_labels": 2}
    with pytest.raises(NotDerivable) as raised:
        planned(nameless)
    assert raised.value.option.startswith("--labels")
    assert planned(nameless, Given(labels=("a", "b"))).fields["class_names"] == ("a", "b")
