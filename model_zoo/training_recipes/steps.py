"""Steps of a training, recorded by hooks of torch on the network and on the optimizer, which do not change the training."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["EnoughSteps", "LayerPass", "Step", "StepRecorder"]

Loss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class LayerPass:
    """A linear layer in the forward pass of a step."""

    name: str
    """Of the module."""
    inputs: Tensor
    """(B, n)."""
    outputs: Tensor
    """(B, m), before an activation."""


@dataclass(frozen=True)
class Step:
    """A step that is done."""

    number: int
    """From 1."""
    rate: float
    layers: tuple[LayerPass, ...]
    """In the order in which they ran."""
    targets: Tensor
    """(B, k)."""
    loss: float
    """Of the whole batch."""
    before: Mapping[str, Tensor]
    """Parameters by name."""
    gradients: Mapping[str, Tensor]
    """Of the loss, as the optimizer uses them."""
    after: Mapping[str, Tensor]


class EnoughSteps(Exception):
    """Ends a training whose steps have been recorded."""


class StepRecorder:
    """Records the first steps of a training of linear layers, and ends the training by ``EnoughSteps``."""

    def __init__(self, steps: int, report: Callable[[Step], None]) -> None:
        self._steps = steps
        self._report = report
        self._number = 0
        self._layers: list[LayerPass] = []
        self._targets, self._loss = torch.empty(0), 0.0
        self._before: dict[str, Tensor] = {}

    def attached(self, network: nn.Module, optimizer: torch.optim.Optimizer, loss: Loss) -> Loss:
        """Hooks a network and its optimizer; the loss that is returned is the given one, recorded."""
        network.register_forward_pre_hook(lambda *_: self._layers.clear())
        for name, layer in network.named_modules():
            if isinstance(layer, nn.Linear):
                layer.register_forward_hook(self._layer_hook(name))

        def before_step(*_: Any) -> None:
            self._before = _copies(network)

        def after_step(*_: Any) -> None:
            self._number += 1
            gradients = {
                name: weight.grad.clone() for name, weight in network.named_parameters() if weight.grad is not None
            }
            rate = float(optimizer.param_groups[0]["lr"])
            layers, after = tuple(self._layers), _copies(network)
            self._report(Step(self._number, rate, layers, self._targets, self._loss, self._before, gradients, after))
            if self._number >= self._steps:
                raise EnoughSteps

        optimizer.register_step_pre_hook(before_step)
        optimizer.register_step_post_hook(after_step)

        def recorded(outputs: Tensor, targets: Tensor) -> Tensor:
            value = loss(outputs, targets)
            self._targets, self._loss = targets, float(value.detach())
            return value

        return recorded

    def _layer_hook(self, name: str) -> Callable[[nn.Module, tuple[Any, ...], Any], None]:
        def hook(_: nn.Module, inputs: tuple[Any, ...], outputs: Any) -> None:
            self._layers.append(LayerPass(name, inputs[0].detach(), outputs.detach()))

        return hook


def _copies(network: nn.Module) -> dict[str, Tensor]:
    return {name: weight.detach().clone() for name, weight in network.named_parameters()}
