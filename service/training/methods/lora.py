"""Method `lora`: the backbone stays as it is, and what is learned is a low-rank update beside some of its linear layers.

Hu et al., LoRA: Low-Rank Adaptation of Large Language Models, arXiv:2106.09685. Queries and values of the attention, as there.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from model_zoo.architectures.tuned import TunedNetwork
from model_zoo.cards.tuned_parts import AdapterSpec
from model_zoo.network import add_adapter
from service.training.failures import CannotTrain
from service.training.hyperparameters import Hyperparameters

QUERIES_AND_VALUES = (("query", "value"), ("q_proj", "v_proj"), ("q_lin", "v_lin"), ("q", "v"))
"""What the two layers are called, by family: BERT, Llama and CLIP, DistilBERT, T5."""


def updates_for(backbone: nn.Module, knobs: Hyperparameters) -> AdapterSpec:
    """Which layers get updates, and how large. Raises CannotTrain where the network has none of the known names."""
    linear = {name.rpartition(".")[2] for name, module in backbone.named_modules() if isinstance(module, nn.Linear)}
    for targets in QUERIES_AND_VALUES:
        if linear.issuperset(targets):
            return AdapterSpec(rank=knobs.rank, alpha=knobs.alpha, targets=targets)
    raise CannotTrain("the base has no attention layers of a known name; use the method full or head")


def add_updates(network: TunedNetwork, spec: AdapterSpec) -> None:
    """Puts them in, and lets only them and the head learn."""
    add_adapter(network.base.backbone, spec)
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(is_added(name))


def is_added(name: str) -> bool:
    """Whether a tensor is none of the base's."""
    return name.startswith("head.") or ".lora_" in name


def added(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What a version has to hold beside its base."""
    return {name: tensor for name, tensor in state.items() if is_added(name)}
