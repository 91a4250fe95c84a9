"""Networks with an encoder of images and one of texts, whose embeddings are compared (CLIP, arXiv:2103.00020; SigLIP,
arXiv:2303.15343)."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from model_zoo.architectures.wrappers import Network

__all__ = ["IMAGES", "TEXTS", "ImageTextMatcher", "ImageTower", "TextTower"]

IMAGES, TEXTS = "image_embeds", "text_embeds"
"""Outputs beside the logits: embeddings of length 1, in one space."""
_TEXTS_AT_ONCE = 64
"""Texts that run together; bounds the memory of a batch with many labels."""


class ImageTextMatcher(Network):
    """A transformers network for images and texts. It has no features for a head.

    Rows of a batch mostly have the same labels, so that each text of a batch runs once, however many rows have it. The number of
    different texts is known only then, which no compiler takes.
    """

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(
        self, pixel_values: Tensor, input_ids: Tensor, attention_mask: Tensor | None = None
    ) -> dict[str, Tensor]:
        """``pixel_values`` (B, 3, H, W) and ``input_ids`` (B, L, T), perhaps with ``attention_mask`` (B, L, T), 1 for tokens and
        0 for padding → ``logits`` (B, L) of each image for its texts, and the embeddings (B, D) and (B, L, D)."""
        backbone: Any = self.backbone
        images = functional.normalize(_pooled(backbone.get_image_features(pixel_values)).float(), dim=-1)
        texts = functional.normalize(self._text_features(input_ids, attention_mask).float(), dim=-1)
        logits = torch.einsum("bd,bld->bl", images, texts) * backbone.logit_scale.float().exp()
        bias = getattr(backbone, "logit_bias", None)
        return {"logits": logits if bias is None else logits + bias.float(), IMAGES: images, TEXTS: texts}

    def _text_features(self, input_ids: Tensor, attention_mask: Tensor | None) -> Tensor:
        """(B, L, D), by one run of each different text."""
        backbone: Any = self.backbone
        rows, labels, tokens = input_ids.shape
        ids = input_ids.flatten(0, 1)
        given = ids if attention_mask is None else torch.cat([ids, attention_mask.flatten(0, 1)], dim=1)
        different, places = torch.unique(given, dim=0, return_inverse=True)
        found = [
            _pooled(backbone.get_text_features(part[:, :tokens], part[:, tokens:] if part.shape[1] > tokens else None))
            for part in different.split(_TEXTS_AT_ONCE)
        ]
        return torch.cat(found)[places].view(rows, labels, -1)


class ImageTower(Network):
    """The encoder of images of such a network, for embeddings in its space."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone

    def features(self, **inputs: Tensor) -> Tensor:
        """``pixel_values`` (B, 3, H, W) → features of length 1 (B, D)."""
        backbone: Any = self.backbone
        return functional.normalize(_pooled(backbone.get_image_features(inputs["pixel_values"])), dim=-1)

    def drop_own_head(self) -> None:
        """Remove the encoder of texts."""
        _drop(self.backbone, "text_model", "text_projection", "logit_scale", "logit_bias")

    def forward(self, pixel_values: Tensor) -> dict[str, Tensor]:
        """``pixel_values`` (B, 3, H, W) → ``embedding`` (B, D)."""
        return {"embedding": self.features(pixel_values=pixel_values)}


class TextTower(Network):
    """The encoder of texts of such a network, for embeddings in its space."""

    def __init__(self, backbone: nn.Module, pad_id: int, tokens: int | None, masked: bool) -> None:
        """
        Args:
            pad_id: the token that fills a text.
            tokens: the length to which every text is filled, for a network that takes the features of the last place; else None.
            masked: whether the network is told what is padding.
        """
        super().__init__()
        self.backbone = backbone
        self.pad_id, self.tokens, self.masked = pad_id, tokens, masked

    def features(self, **inputs: Tensor) -> Tensor:
        """``input_ids``, ``attention_mask`` (B, T) → features of length 1 (B, D)."""
        backbone: Any = self.backbone
        mask = inputs["attention_mask"]
        ids = inputs["input_ids"].masked_fill(mask == 0, self.pad_id)
        if self.tokens is not None:
            missing = (0, self.tokens - ids.shape[1])
            ids, mask = functional.pad(ids, missing, value=self.pad_id), functional.pad(mask, missing)
        return functional.normalize(_pooled(backbone.get_text_features(ids, mask if self.masked else None)), dim=-1)

    def drop_own_head(self) -> None:
        """Remove the encoder of images."""
        _drop(self.backbone, "vision_model", "visual_projection", "logit_scale", "logit_bias")

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> dict[str, Tensor]:
        """``input_ids``, ``attention_mask`` (B, T), mask 1 for tokens and 0 for padding → ``embedding`` (B, D)."""
        return {"embedding": self.features(input_ids=input_ids, attention_mask=attention_mask)}


def _drop(backbone: nn.Module, *names: str) -> None:
    for name in names:
        if hasattr(backbone, name):
            delattr(backbone, name)


def _pooled(found: Any) -> Tensor:
    """The features. Releases of the library before 5 give them alone."""
    pooled: Tensor = found if isinstance(found, Tensor) else found.pooler_output
    return pooled
