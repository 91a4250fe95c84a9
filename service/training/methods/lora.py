"""Method `lora`: the backbone's weights stay fixed, and a low-rank update beside some of its linear layers is learned.

Hu et al., LoRA: Low-Rank Adaptation of Large Language Models, arXiv:2106.09685. As there, the updates are beside the queries and
values of the attention.
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
"""Names of the two layers by family: BERT; Llama and CLIP; DistilBERT; T5."""


def adapter_for(backbone: nn.Module, hparams: Hyperparameters) -> AdapterSpec:
    """The layers that get updates, and their rank. Raises CannotTrain if the network has none of the known names."""
    linear = {name.rpartition(".")[2] for name, module in backbone.named_modules() if isinstance(module, nn.Linear)}
    for targets in QUERIES_AND_VALUES:
        if linear.issuperset(targets):
            return AdapterSpec(rank=hparams.rank, alpha=hparams.alpha, targets=targets)
    raise CannotTrain("the base has no attention layers of a known name; use the method full or head")


def insert_adapter(network: TunedNetwork, spec: AdapterSpec) -> None:
    """Adds the updates to the network. Only the updates and the head require a gradient then."""
    add_adapter(network.base.backbone, spec)
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(is_added(name))


def is_added(name: str) -> bool:
    """Whether a tensor belongs to the head or to an update, not to the base."""
    return name.startswith("head.") or ".lora_" in name


def added_tensors(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors that a version holds beside its base."""
    return {name: tensor for name, tensor in state.items() if is_added(name)}
