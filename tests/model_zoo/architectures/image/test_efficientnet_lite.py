"""The network is that of timm: the same names in the same order, and the same answers."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from model_zoo.architectures.image.efficientnet_lite import EfficientNetLite, is_efficientnet_lite


@pytest.mark.parametrize("name", ["tf_efficientnet_lite0", "tf_efficientnet_lite2"])
def test_network_has_the_states_and_the_answers_of_timm(name: str) -> None:
    import timm

    torch.manual_seed(0)
    theirs: Any = timm.create_model(name, pretrained=False, num_classes=5)
    ours = EfficientNetLite(name, 5)
    assert [*ours.state_dict()] == [*theirs.state_dict()]  # in order: a conversion pairs tensors by it
    pixels = torch.randn(2, 3, 65, 70)  # sizes that are padded unevenly
    with torch.no_grad():
        theirs.train()(pixels)  # the running means are then not those of a new network
        ours.load_state_dict(theirs.state_dict(), strict=True)
        torch.testing.assert_close(ours.train()(pixels), theirs(pixels), atol=1e-5, rtol=0)
        for network in (ours.eval(), theirs.eval()):
            network.load_state_dict(theirs.state_dict())
        torch.testing.assert_close(ours(pixels), theirs(pixels), atol=1e-5, rtol=0)
        features = ours.forward_head(ours.forward_features(pixels), pre_logits=True)
        torch.testing.assert_close(ours.get_classifier()(features), ours(pixels), atol=1e-6, rtol=0)
        ours.reset_classifier(0)
        assert torch.equal(ours(pixels), features)


def test_other_arguments_are_for_the_library() -> None:
    arguments = {"model_name": "tf_efficientnet_lite0", "num_classes": 10}
    assert is_efficientnet_lite(arguments)
    assert not is_efficientnet_lite({**arguments, "model_name": "tf_efficientnet_b0"})
    assert not is_efficientnet_lite({**arguments, "num_classes": 0})
    assert not is_efficientnet_lite({**arguments, "drop_rate": 0.2})
