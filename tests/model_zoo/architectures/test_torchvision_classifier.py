"""A classifier of torchvision gives its logits, and the features in front of its last layer."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from model_zoo.architectures.torchvision_classifier import TorchvisionClassifier, build
from model_zoo.cards.signature import FEATURES
from tests.support.references.torchvision_files import network


@pytest.mark.parametrize(
    ("name", "layer", "size"),
    [("shufflenet_v2_x0_5", "fc", 64), ("mobilenet_v3_small", "classifier.3", 64), ("googlenet", "fc", 64)],
)
def test_logits_and_features_equal_those_of_the_library(name: str, layer: str, size: int) -> None:
    given = {"aux_logits": False, "init_weights": False} if name == "googlenet" else {}
    theirs = network(name, num_classes=5, **given)
    seen: list[torch.Tensor] = []
    theirs.get_submodule(layer).register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    ours = TorchvisionClassifier(build({"model_name": name, "num_classes": 5})).eval()
    ours.backbone.load_state_dict(theirs.state_dict(), strict=True)
    pixels = torch.randn(3, 3, size, size, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        logits, found = theirs(pixels), ours(pixel_values=pixels)
        assert torch.equal(found["logits"], logits)
        assert torch.equal(found[FEATURES], seen[0])
        assert torch.equal(ours.features(pixel_values=pixels), seen[0])
        ours.drop_own_head()
        assert torch.equal(ours.features(pixel_values=pixels), seen[0])
    assert ours.backbone.state_dict().keys() == {key for key in theirs.state_dict() if not key.startswith(f"{layer}.")}


def test_vision_transformer_takes_images_of_its_size() -> None:
    made = TorchvisionClassifier(build({"model_name": "vit_b_32", "num_classes": 2, "image_size": 64})).eval()
    with torch.inference_mode():
        found = made(pixel_values=torch.zeros(1, 3, 64, 64))
    assert (found["logits"].shape, found[FEATURES].shape) == ((1, 2), (1, 768))


@pytest.mark.parametrize(
    "arguments",
    [
        {"model_name": "resnet18", "weights": "DEFAULT"},
        {"model_name": "resnet18", "progress": True},
        {"model_name": "fasterrcnn_resnet50_fpn"},
        {"model_name": "quantized_resnet18"},
        {"model_name": ["resnet18"]},
        {},
    ],
)
def test_arguments_that_fetch_and_other_networks_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"may not give|no classifier of images"):
        build(arguments)


def test_network_without_a_last_linear_layer_is_refused() -> None:
    with pytest.raises(ValueError, match="its last layer is not linear"):
        TorchvisionClassifier(build({"model_name": "squeezenet1_1"}))
