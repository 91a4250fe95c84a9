"""A plain feed-forward network over columns of numbers; without hidden layers it is a linear model.

Each layer is a matrix product and an activation (Rosenblatt 1958; trained by backpropagation: Rumelhart, Hinton and Williams,
Learning representations by back-propagating errors, Nature 1986). There is no normalisation and no residual connection: the
network is the one of a first course, and its answer for a row does not depend on other rows.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from model_zoo.architectures.wrappers import Network
from model_zoo.cards.signature import FEATURES

__all__ = ["FeedForward", "FeedForwardNetwork"]

_ACTIVATIONS = {"tanh": torch.tanh, "relu": torch.relu}


class FeedForward(nn.Module):
    """Standardised columns → numbers, or logits of classes."""

    def __init__(
        self, inputs: int, hidden: Sequence[int] = (), outputs: int = 1, activation: Literal["tanh", "relu"] = "tanh"
    ) -> None:
        """Build the network with random weights.

        Args:
            inputs: columns of numbers.
            hidden: width of each hidden layer; empty for a linear model.
            outputs: numbers to predict, or classes.

        Raises:
            ValueError: an activation of another name.
        """
        super().__init__()
        if activation not in _ACTIVATIONS:
            raise ValueError("an activation is tanh or relu")
        self.activation = _ACTIVATIONS[activation]
        self.hidden = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise((inputs, *hidden)))
        self.out: nn.Linear | None = nn.Linear((inputs, *hidden)[-1], outputs)

    def features(self, numbers: Tensor) -> Tensor:
        """``numbers`` (B, n) standardised → the last hidden layer (B, width); without one the numbers themselves."""
        x = numbers
        for layer in self.hidden:
            x = self.activation(layer(x))
        return x

    def forward(self, numbers: Tensor) -> Tensor:
        """``numbers`` (B, n) standardised → (B, outputs)."""
        return self.answer(self.features(numbers))

    def answer(self, features: Tensor) -> Tensor:
        """The last hidden layer (B, width) → (B, outputs)."""
        assert self.out is not None
        out: Tensor = self.out(features)
        return out


class FeedForwardNetwork(Network):
    """Columns of numbers → the output that the card names, and the last hidden layer behind it, to which heads attach."""

    def __init__(self, columns: FeedForward, output: str) -> None:
        super().__init__()
        self.backbone = columns
        self.output = output

    def features(self, **inputs: Tensor) -> Tensor:
        """``numbers`` (B, n) → the last hidden layer (B, width)."""
        return self._columns.features(inputs["numbers"])

    def drop_own_head(self) -> None:
        """Remove the last layer."""
        self._columns.out = None

    def forward(self, numbers: Tensor) -> dict[str, Tensor]:
        """``numbers`` (B, n) → (B, outputs), and the features (B, width) behind them."""
        features = self._columns.features(numbers)
        return {self.output: self._columns.answer(features), FEATURES: features}

    @property
    def _columns(self) -> FeedForward:
        backbone = self.backbone
        assert isinstance(backbone, FeedForward)
        return backbone
