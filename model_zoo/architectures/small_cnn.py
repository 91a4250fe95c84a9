"""A small convolutional classifier for pictures of a few dozen pixels: three convolutions, two of them followed by a pooling.

After LeNet (LeCun et al., Gradient-based learning applied to document recognition, Proc. IEEE 1998), with batch normalisation
(Ioffe and Szegedy, arXiv:1502.03167) and the mean over all places in front of the classifier (Lin et al., Network in Network,
arXiv:1312.4400). Its methods are those of a classifier of timm, so that it is served and tuned as one.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["SmallCnn"]


class _Block(nn.Module):
    """3×3 convolution, normalisation, ReLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) → (B, outputs, H, W)."""
        out: Tensor = torch.relu(self.norm(self.conv(x)))
        return out


class SmallCnn(nn.Module):
    """Pictures → logits of classes."""

    def __init__(self, classes: int, channels: Sequence[int] = (16, 32, 64), colours: int = 3) -> None:
        """Build the network with random weights.

        Args:
            classes: with 0 there is no classifier, and the output is the width of the last convolution.
            channels: of each convolution.
            colours: channels of the pictures.
        """
        super().__init__()
        self.blocks = nn.ModuleList(_Block(a, b) for a, b in pairwise((colours, *channels)))
        self.width = channels[-1]
        self.classifier = self._classifier(classes)

    def _classifier(self, classes: int) -> nn.Module:
        return nn.Linear(self.width, classes) if classes else nn.Identity()

    def forward_features(self, pixels: Tensor) -> Tensor:
        """(B, colours, H, W) → (B, width, H ÷ 4, W ÷ 4)."""
        x = pixels
        for number, block in enumerate(self.blocks):
            x = block(x)
            if number < 2:
                x = functional.max_pool2d(x, 2)
        return x

    def forward_head(self, features: Tensor, pre_logits: bool = False) -> Tensor:
        """(B, width, h, w) → (B, classes), or (B, width) in front of the classifier."""
        pooled = features.mean(dim=(2, 3))
        logits: Tensor = pooled if pre_logits else self.classifier(pooled)
        return logits

    def get_classifier(self) -> nn.Module:
        """The last layer."""
        return self.classifier

    def reset_classifier(self, classes: int) -> None:
        """Replaces the last layer; with 0 classes by none."""
        self.classifier = self._classifier(classes)

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, colours, H, W) → (B, classes)."""
        return self.forward_head(self.forward_features(pixels))
