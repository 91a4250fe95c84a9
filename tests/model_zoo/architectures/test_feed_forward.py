"""A feed-forward network is the formula of its layers, and a linear model without hidden ones."""

import numpy as np
import pytest
import torch

from model_zoo.architectures.feed_forward import FeedForward
from model_zoo.catalog import Catalog
from model_zoo.network import build_network
from service.engine.head_dispatch import features_of


def test_network_without_hidden_layers_is_a_linear_function() -> None:
    network = FeedForward(4)
    x = torch.randn(5, 4)
    assert network.out is not None
    torch.testing.assert_close(network(x), x @ network.out.weight.T + network.out.bias)
    assert network.features(x) is x


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_network_of_4_3_3_1_is_the_formula_of_its_layers(activation: str) -> None:
    network = FeedForward(4, [3, 3], activation=activation)  # type: ignore[arg-type]
    assert sum(parameter.numel() for parameter in network.parameters()) == 15 + 12 + 4
    x = torch.randn(5, 4)
    function = getattr(torch, activation)
    (w1, b1), (w2, b2), (w3, b3) = (
        (network.state_dict()[f"{n}.weight"], network.state_dict()[f"{n}.bias"])
        for n in ("hidden.0", "hidden.1", "out")
    )
    hidden = function(function(x @ w1.T + b1) @ w2.T + b2)
    torch.testing.assert_close(network.features(x), hidden)
    torch.testing.assert_close(network(x), hidden @ w3.T + b3)


def test_other_activation_is_refused() -> None:
    with pytest.raises(ValueError, match="tanh or relu"):
        FeedForward(4, [3], activation="step")  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["house_linear", "house_mlp"])
def test_heads_attach_to_the_last_hidden_layer_and_not_to_the_answer(name: str) -> None:
    """A server hands a head what `forward` gives as features; a worker, what `features` gives."""
    card = Catalog.from_package().get(name)
    network = build_network(card).eval()
    numbers = torch.randn(5, 4)
    with torch.inference_mode():
        outputs = network(numbers=numbers)
        served = features_of(card, {key: tensor.numpy() for key, tensor in outputs.items()}, 5)
        assert np.array_equal(served, network.features(numbers=numbers).numpy())
    assert served.shape == (5, 3 if name == "house_mlp" else 4)
