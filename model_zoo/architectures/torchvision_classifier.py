"""Classifiers of images of torchvision, built by their names, with the features in front of their last layer."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from model_zoo.architectures.wrappers import Network
from model_zoo.cards.signature import FEATURES

__all__ = ["TorchvisionClassifier", "build"]

_ARGUMENTS = frozenset({"model_name", "num_classes", "image_size", "transform_input"})
"""That a card may give. `weights` and the like would fetch files."""
_AUXILIARY = ("googlenet", "inception_v3")
"""Networks with further classifiers, which only training uses."""


def build(arguments: Mapping[str, Any], *, auxiliary: bool = False) -> nn.Module:
    """A network with unspecified weights.

    Args:
        arguments: `model_name`, `num_classes`, and what the constructor of some networks takes.
        auxiliary: whether the classifiers are there that only training uses, whose weights the published files have.

    Raises:
        ValueError: torchvision has no such classifier, or a card may not give one of the arguments.
        ImportError: torchvision is not installed.
    """
    from torchvision import models

    given = dict(arguments)
    name = given.pop("model_name", None)
    if wrong := sorted(given.keys() - _ARGUMENTS):
        raise ValueError(f"a card may not give torchvision the argument {wrong[0]}")
    if name not in models.list_models(module=models):
        raise ValueError("torchvision has no classifier of images of that name")
    if name in _AUXILIARY:
        given |= {"aux_logits": auxiliary, "init_weights": False}
    network: nn.Module = models.get_model(name, weights=None, **given)
    return network


class TorchvisionClassifier(Network):
    """A classifier of torchvision, whose last layer is linear."""

    def __init__(self, backbone: nn.Module) -> None:
        """Raises ValueError for a network whose last layer is not linear."""
        super().__init__()
        self.backbone = backbone
        self._head = last_linear(backbone)
        last = backbone.get_submodule(self._head)
        assert isinstance(last, nn.Linear)
        self._classes = last.out_features
        backbone.set_submodule(self._head, _LinearBesideInput(last))

    def features(self, **inputs: Tensor) -> Tensor:
        """``pixel_values`` (B, 3, H, W) → pooled features (B, D) in front of the classifier."""
        found: Tensor = self.backbone(inputs["pixel_values"])
        return found[:, self._classes :] if self._classes else found

    def drop_own_head(self) -> None:
        """Remove the classifier."""
        self.backbone.set_submodule(self._head, nn.Identity())
        self._classes = 0

    def forward(self, pixel_values: Tensor) -> dict[str, Tensor]:
        """``pixel_values`` (B, 3, H, W) → ``logits`` (B, classes), and the features (B, D) behind them."""
        found: Tensor = self.backbone(pixel_values)
        return {"logits": found[:, : self._classes], FEATURES: found[:, self._classes :]}


class _LinearBesideInput(nn.Linear):
    """(B, D) → (B, outputs + D): the output of a linear layer, and its input behind it. Its parameters are those of the layer."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__(layer.in_features, layer.out_features, layer.bias is not None, device="meta")
        self.weight, self.bias = layer.weight, layer.bias

    def forward(self, features: Tensor) -> Tensor:
        return torch.cat([functional.linear(features, self.weight, self.bias), features], dim=1)


def last_linear(network: nn.Module) -> str:
    """Dotted name of the last layer. Raises ValueError where it is not linear."""
    layers = [(name, layer) for name, layer in network.named_modules() if not [*layer.children()]]
    # Modules without weights may follow in the list, and in none of the networks in the computation.
    name, last = [(str(name), layer) for name, layer in layers if [*layer.parameters()]][-1]
    if not isinstance(last, nn.Linear):
        raise ValueError("its last layer is not linear")
    return name
