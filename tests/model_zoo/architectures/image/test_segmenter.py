"""The head for masks on an encoder: its places, and which encoders it takes."""

import pytest
import torch
from torch import nn

from model_zoo.architectures.image.efficientnet_lite import EfficientNetLite
from model_zoo.architectures.image.segmenter import Segmenter


def test_logits_are_at_a_quarter_of_the_sides_and_rows_do_not_depend_on_their_batch() -> None:
    torch.manual_seed(0)
    network = Segmenter(EfficientNetLite("tf_efficientnet_lite0", 10), classes=3, width=16).eval().requires_grad_(False)
    images = torch.randn(2, 3, 64, 96)
    assert [m.shape[-2:] for m in network.maps(images)] == [(16, 24), (8, 12), (4, 6), (2, 3)]
    logits = network(images)
    assert logits.shape == (2, 3, 16, 24)
    assert torch.allclose(network(images[1:]), logits[1:], atol=1e-4)
    names = {name.split(".")[0] for name in network.state_dict()}
    assert names == {"conv_stem", "bn1", "blocks", "mask_head"}, "the classifier is left out"


def test_encoder_of_another_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="no conv_stem, bn1 and blocks"):
        Segmenter(nn.Sequential(), classes=2)
