"""Networks with an encoder of images and one of texts, whose embeddings are compared (CLIP, arXiv:2103.00020; SigLIP,
arXiv:2303.15343)."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from model_zoo.architectures.wrappers import Network

__all__ = ["IMAGES", "TEXTS", "ImageTextMatcher"]

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


def _pooled(found: Any) -> Tensor:
    """The features. Releases of the library before 5 give them alone."""
    pooled: Tensor = found if isinstance(found, Tensor) else found.pooler_output
    return pooled
