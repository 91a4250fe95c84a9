"""The card of a network for semantic segmentation; what gives no class to each pixel is refused by name."""

from __future__ import annotations

from typing import Any

import pytest

from model_zoo.errors import NotDerivable
from model_zoo.references.card_plan import CardPlan, Given
from model_zoo.references.derive import derive
from model_zoo.references.transformers.vision.segmentation import MOST_VALUES
from tests.support.references.fake_repository import FakeRepository

SEGFORMER: dict[str, Any] = {
    "model_type": "segformer",
    "architectures": ["SegformerForSemanticSegmentation"],
    "depths": [1, 1, 1, 1],
    "hidden_sizes": [8, 8, 8, 8],
    "num_attention_heads": [1, 1, 1, 1],
    "decoder_hidden_size": 8,
    "id2label": {"0": "wall", "1": "floor", "2": "sky"},
}
PROCESSOR = {"size": 64, "image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6], "do_reduce_labels": True}


def planned(config: dict[str, Any] | None = None, processor: dict[str, Any] | None = None) -> CardPlan:
    contents = {
        "config.json": {**SEGFORMER, **(config or {})},
        "model.safetensors": b"weights",
        "preprocessor_config.json": {**PROCESSOR, **(processor or {})},
    }
    return derive(FakeRepository(contents), Given())


def test_logits_have_the_size_that_the_network_gives() -> None:
    fields = planned().fields
    assert (fields["task"], fields["class_names"]) == ("image-segmentation", ("wall", "floor", "sky"))
    assert fields["signature"]["outputs"] == [{"name": "logits", "datatype": "FP32", "shape": (-1, 3, 16, 16)}]
    assert fields["recipe"]["stretch"] is True
    wide = planned(processor={"size": {"height": 64, "width": 128}}).fields
    assert wide["signature"]["outputs"][0]["shape"] == (-1, 3, 16, 32)


def test_many_classes_allow_fewer_pixels() -> None:
    assert planned().fields["recipe"]["max_pixels"] == 50_000_000
    names = {str(i): f"class {i}" for i in range(1000)}
    assert planned({"id2label": names}).fields["recipe"]["max_pixels"] == MOST_VALUES // 1000


@pytest.mark.parametrize(
    ("config", "processor", "words"),
    [
        ({"architectures": ["Mask2FormerForUniversalSegmentation"]}, {}, "Mask2FormerForUniversalSegmentation"),
        ({"architectures": ["MaskFormerForInstanceSegmentation"]}, {}, "MaskFormerForInstanceSegmentation"),
        ({"architectures": ["DetrForSegmentation"]}, {}, "DetrForSegmentation"),
        ({}, {"do_center_crop": True, "crop_size": 32}, "cropped"),
        ({}, {"size": {"shortest_edge": 64}}, "keep their proportions"),
        ({"id2label": {"0": "water"}}, {}, "one number, not classes"),
        ({"model_type": "vit"}, {}, "cannot read its config.json"),
    ],
)
def test_network_that_zoo_lacks_is_refused(config: dict[str, Any], processor: dict[str, Any], words: str) -> None:
    with pytest.raises(NotDerivable) as raised:
        planned(config, processor)
    assert words in str(raised.value)
