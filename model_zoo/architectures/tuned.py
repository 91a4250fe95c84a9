"""The network of a fine-tuned version: the backbone of its base, and a head."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from model_zoo.architectures.wrappers import Network
from model_zoo.cards.tuned_parts import HeadSpec

__all__ = ["Head", "TunedNetwork"]


class Head(nn.Module):
    """The head that a fine-tune job trains: standardised features, then a linear layer or a small perceptron.

    Attributes:
        mean, scale: of the features on the training data, (D). The head subtracts the mean and divides by the scale first.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, spec: HeadSpec) -> None:
        super().__init__()
        self.spec = spec
        self.register_buffer("mean", torch.zeros(spec.inputs))
        self.register_buffer("scale", torch.ones(spec.inputs))
        self.hidden = nn.Linear(spec.inputs, spec.hidden or 1) if spec.kind == "mlp" else None
        self.out = nn.Linear(spec.hidden if spec.kind == "mlp" and spec.hidden else spec.inputs, spec.outputs)

    def forward(self, features: Tensor) -> Tensor:
        """(B, D) → (B, outputs), or of tokens (B, T, D) → (B, T, outputs)."""
        x = (features - self.mean) / self.scale
        if self.hidden is not None:
            x = functional.relu(self.hidden(x))
        out: Tensor = self.out(x)
        return out


class TunedNetwork(Network):
    """The backbone of a base, and a head. The keys of its state are ``base.backbone.…`` and ``head.…``."""

    def __init__(self, base: Network, head: Head) -> None:
        super().__init__()
        base.drop_own_head()
        self.base = base
        self.head = head

    def features(self, **inputs: Tensor) -> Tensor:
        """The features of the base, followed by the row's ``columns`` if the head takes them."""
        columns = inputs.pop("columns", None)
        features = self.base.features(**inputs)
        return features if columns is None else torch.cat([features, columns], dim=1)

    def forward(self, **inputs: Tensor) -> dict[str, Tensor]:
        """The base's inputs → the head's output, (B, outputs), or (B, T, outputs) of a head for each token."""
        if self.head.spec.per_token:
            return {self.head.spec.output: self.head(self.base.token_features(**inputs))}
        return {self.head.spec.output: self.head(self.features(**inputs))}
