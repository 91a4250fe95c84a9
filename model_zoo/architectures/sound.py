"""Networks of transformers that read sounds."""

from typing import Any

import torch
from torch import Tensor, nn

from model_zoo.architectures.wrappers import Network

__all__ = ["SoundClassifier", "run_sounds"]


class SoundClassifier(Network):
    """A classifier of sounds."""

    def __init__(self, backbone: nn.Module, masked: bool) -> None:
        """``masked``: whether the network keeps padding out of its answers."""
        super().__init__()
        self.backbone = backbone
        self._masked = masked

    def forward(self, **inputs: Tensor) -> dict[str, Tensor]:
        """The inputs of the extractor → ``logits`` (B, classes)."""
        return {"logits": torch.cat(run_sounds(self.backbone, inputs, self._masked))}


def run_sounds(backbone: nn.Module, inputs: dict[str, Tensor], masked: bool) -> list[Tensor]:
    """Logits of a batch, or of each row: a network that cannot tell padding from silence gets its rows one by one, without it."""
    network: Any = backbone
    mask = inputs.get("attention_mask")
    if masked or mask is None:
        return [network(**inputs).logits]
    rows = zip(inputs["input_values"], mask, strict=True)
    return [network(input_values=row[kept.bool()][None]).logits for row, kept in rows]
