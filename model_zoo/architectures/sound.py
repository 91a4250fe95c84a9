"""Networks of transformers that read sounds."""

from typing import Any

import torch
from torch import Tensor, nn

from model_zoo.architectures.wrappers import Network

__all__ = ["SoundClassifier", "SoundFrames", "run_sounds"]


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


class SoundFrames(Network):
    """A network that tells the token of each frame of a sound."""

    def __init__(self, backbone: nn.Module, masked: bool) -> None:
        """``masked``: whether the network keeps padding out of its answers."""
        super().__init__()
        self.backbone = backbone
        self._masked = masked

    def forward(self, input_values: Tensor, attention_mask: Tensor) -> dict[str, Tensor]:
        """``input_values``, ``attention_mask`` (B, samples) → ``logits`` (B, F, tokens), ``frames`` (B, 1) of each row."""
        network: Any = self.backbone
        found = run_sounds(
            self.backbone, {"input_values": input_values, "attention_mask": attention_mask}, self._masked
        )
        longest = max(logits.shape[1] for logits in found)
        padded = [nn.functional.pad(logits, (0, 0, 0, longest - logits.shape[1])) for logits in found]
        frames = network._get_feat_extract_output_lengths(attention_mask.sum(dim=1))
        return {"logits": torch.cat(padded), "frames": frames[:, None]}


def run_sounds(backbone: nn.Module, inputs: dict[str, Tensor], masked: bool) -> list[Tensor]:
    """Logits of a batch, or of each row: a network that cannot tell padding from silence gets its rows one by one, without it."""
    network: Any = backbone
    mask = inputs.get("attention_mask")
    if masked or mask is None:
        return [network(**inputs).logits]
    rows = zip(inputs["input_values"], mask, strict=True)
    return [network(input_values=row[kept.bool()][None]).logits for row, kept in rows]
