"""Adapters of peft that low-rank updates make, merged into the weights of their network.

LoRA (https://arxiv.org/abs/2106.09685) adds the product of two small matrices to a weight. Merged, the network is as fast as
before.
"""

import re
import warnings
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor, nn

__all__ = ["ADAPTER", "AdapterUnfit", "merged"]

ADAPTER = "adapter_weights"
"""Role of the file with the weights of an adapter; its configuration lies beside it."""

_COPY = re.compile(r"\.(modules_to_save|original_module)\.(?=bias$)")


class AdapterUnfit(Exception):
    """The tensors of an adapter do not fit its network. The text names the first ones and is fit for a user."""


def merged(network: nn.Module, folder: Path) -> tuple[nn.Module, set[str]]:
    """The network with an adapter in its weights, and the names of the tensors that the adapter replaces as a whole.

    Args:
        network: of transformers; it is changed.
        folder: with ``adapter_config.json`` and ``adapter_model.safetensors``.

    Raises:
        AdapterUnfit: a tensor is missing, is left over, or has another shape.
    """
    import peft

    config: Any = peft.LoraConfig.from_pretrained(str(folder))
    config.inference_mode = True
    config.base_model_name_or_path = None  # the network is at hand
    config.init_lora_weights = True  # others decompose the weights of the network first; all are replaced here anyway
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft calls what transformers has renamed
        adapted: Any = peft.get_peft_model(network, config)
    tensors = load_file(folder / "adapter_model.safetensors")
    if config.bias == "all":
        tensors = _without_copies(tensors)
    try:
        report: Any = peft.set_peft_model_state_dict(adapted, tensors)
    except RuntimeError as error:
        raise AdapterUnfit("a tensor of the adapter has another shape than its network needs") from error
    trained = {name for name in peft.get_peft_model_state_dict(adapted) if not _COPY.search(name)}
    if left := sorted(report.unexpected_keys):
        raise AdapterUnfit(f"the network has no place for {_some(left)} of the adapter")
    if missing := sorted(trained - tensors.keys()):
        raise AdapterUnfit(f"the adapter lacks {_some(missing)}")
    whole = {name.removeprefix("base_model.model.") for name in tensors if ".lora_" not in name}
    result: nn.Module = adapted.merge_and_unload(safe_merge=True)
    return result, whole


def _without_copies(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """With ``bias="all"`` peft writes the bias of a replaced module a second time, and that of the module before."""
    return {
        name: tensor
        for name, tensor in tensors.items()
        if not _COPY.search(name) or _COPY.sub(".", name) not in tensors
    }


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
