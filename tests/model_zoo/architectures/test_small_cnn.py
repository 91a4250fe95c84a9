"""A small CNN has the interface of a classifier of timm, and answers for a picture alone."""

import torch

from model_zoo.architectures.small_cnn import SmallCnn
from model_zoo.architectures.wrappers import ImageClassifier


def test_picture_in_a_batch_gets_the_answer_that_it_gets_alone() -> None:
    torch.manual_seed(0)
    network = SmallCnn(10).eval()
    x = torch.randn(4, 3, 28, 28)
    torch.testing.assert_close(network(x)[2:3], network(x[2:3]), atol=1e-5, rtol=1e-5)


def test_features_are_those_in_front_of_the_classifier() -> None:
    torch.manual_seed(0)
    network = ImageClassifier(SmallCnn(10)).eval()
    x = torch.randn(2, 3, 28, 28)
    out = network(x)
    assert out["features"].shape == (2, 64)
    torch.testing.assert_close(network.backbone.classifier(out["features"]), out["logits"])  # type: ignore[operator, union-attr]
    network.drop_own_head()
    torch.testing.assert_close(network.features(pixel_values=x), out["features"])
    assert not any(name.startswith("classifier") for name in network.backbone.state_dict())
