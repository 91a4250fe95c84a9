"""Networks of transformers that read sounds."""

from typing import Any

import torch
from torch import Tensor, nn

from model_zoo.architectures.wrappers import Network, masked_mean
from model_zoo.cards.signature import FEATURES

__all__ = ["SoundClassifier", "SoundEncoder", "SoundFrames", "run_sounds"]


class SoundClassifier(Network):
    """A classifier of sounds: an encoder whose frames are pooled, and the layers behind it."""

    def __init__(self, backbone: nn.Module, masked: bool) -> None:
        """``masked``: whether the network keeps padding out of its answers."""
        super().__init__()
        self.backbone = backbone
        self._masked = masked
        _train_without_gaps(self._encoder)

    @property
    def _encoder(self) -> Any:
        backbone: Any = self.backbone
        return backbone.encoder if hasattr(backbone, "encoder") else backbone.base_model

    def features(self, **inputs: Tensor) -> Tensor:
        """The inputs of the extractor → the frames of the encoder, pooled as its makers do it (B, D)."""
        return _pooled_sounds(self._encoder, inputs, self._masked, getattr(self.backbone, "layer_weights", None))

    def drop_own_head(self) -> None:
        """Remove the layers behind the pooled frames."""
        backbone: Any = self.backbone
        backbone.projector, backbone.classifier = None, None

    def forward(self, **inputs: Tensor) -> dict[str, Tensor]:
        """The inputs of the extractor → ``logits`` (B, classes), and the features (B, D) behind them."""
        backbone: Any = self.backbone
        features = self.features(**inputs)
        # The mean of projected frames is the projection of their mean.
        projector = getattr(backbone, "projector", None)
        projected = features if projector is None else projector(features)
        return {"logits": backbone.classifier(projected), FEATURES: features}


class SoundEncoder(Network):
    """An encoder of sounds without a head."""

    def __init__(self, backbone: nn.Module, masked: bool) -> None:
        """``masked``: whether the network keeps padding out of its answers."""
        super().__init__()
        self.backbone = backbone
        self._masked = masked
        _train_without_gaps(backbone)

    def features(self, **inputs: Tensor) -> Tensor:
        """The inputs of the extractor → pooled frames (B, D): their mean, or what the network itself pools."""
        return _pooled_sounds(self.backbone, inputs, self._masked)

    def forward(self, **inputs: Tensor) -> dict[str, Tensor]:
        """The inputs of the extractor → ``embedding`` (B, D)."""
        return {"embedding": self.features(**inputs)}


def _pooled_sounds(encoder: Any, inputs: dict[str, Tensor], masked: bool, weights: Tensor | None = None) -> Tensor:
    """Pooled frames (B, D). Rows that a network cannot tell padding of from silence run one by one, without it.

    ``weights``: how much each layer counts, where the makers have learned that; otherwise the last one does.
    """
    mask = inputs.get("attention_mask")
    if mask is None or masked:
        return _pooled_frames(encoder, inputs, mask, weights)
    rows = zip(inputs["input_values"], mask, strict=True)
    return torch.cat(
        [_pooled_frames(encoder, {"input_values": row[kept.bool()][None]}, None, weights) for row, kept in rows]
    )


def _pooled_frames(encoder: Any, inputs: dict[str, Tensor], mask: Tensor | None, weights: Tensor | None) -> Tensor:
    if weights is None:
        found = encoder(**inputs)
        pooled: Tensor | None = getattr(found, "pooler_output", None)
        if pooled is not None:
            return pooled
        frames: Tensor = found.last_hidden_state
    else:
        layers = torch.stack(encoder(**inputs, output_hidden_states=True).hidden_states, dim=-1)  # (B, F, D, layers)
        frames = layers @ torch.softmax(weights, dim=-1).to(layers.dtype)
    if mask is None:
        return frames.mean(dim=1)
    return masked_mean(frames, encoder._get_feature_vector_attention_mask(frames.shape[1], mask))


def _train_without_gaps(encoder: Any) -> None:
    """No layer is left out and no frames are masked at random while the network is trained: a short sound has fewer frames than a
    mask, and data sets of users are small."""
    encoder.config.apply_spec_augment, encoder.config.layerdrop, encoder.layerdrop = False, 0.0, 0.0


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
