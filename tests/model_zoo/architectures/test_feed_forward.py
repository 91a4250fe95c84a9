"""A feed-forward network is the formula of its layers, and a linear model without hidden ones."""

import pytest
import torch

from model_zoo.architectures.feed_forward import FeedForward


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
