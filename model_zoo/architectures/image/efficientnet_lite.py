"""EfficientNet-Lite: EfficientNet (Tan and Le, arXiv:1905.11946) without squeeze-and-excitation, with ReLU6, and with padding as
TensorFlow has it, as Google published it for small devices.

Names, their order and the answers are those of ``tf_efficientnet_lite*`` of timm, whose import takes seconds with torchvision:
states of the one load into the other. A card has this network as ``timm`` with the name there.
"""

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from model_zoo.architectures.image.same_padding import convolution

__all__ = ["EfficientNetLite", "is_efficientnet_lite"]

_SCALES = {"tf_efficientnet_lite0": (1.0, 1.0), "tf_efficientnet_lite2": (1.1, 1.2)}
"""Factors of the channels and of the blocks of a stage, by timm's name."""
_STAGES: tuple[tuple[int, int, int, int, int], ...] = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
"""Blocks, size of the kernel, stride of the first block, expansion of channels, channels."""
_STEM, _FEATURES, _EPS = 32, 1280, 1e-3


def is_efficientnet_lite(arguments: Mapping[str, Any]) -> bool:
    """Whether `EfficientNetLite` is the network of these arguments; timm builds the others."""
    if arguments.keys() != {"model_name", "num_classes"} or arguments["model_name"] not in _SCALES:
        return False
    return isinstance(arguments["num_classes"], int) and arguments["num_classes"] > 0


class EfficientNetLite(nn.Module):
    """A convolutional classifier of images, with the methods of timm's networks that Zoo calls."""

    def __init__(self, model_name: str, num_classes: int) -> None:
        super().__init__()
        width, depth = _SCALES[model_name]
        self.conv_stem = convolution(3, _STEM, 3, stride=2)
        self.bn1 = _NormRelu6(_STEM)
        channels, stages = _STEM, []
        for number, (repeats, kernel, stride, expansion, wanted) in enumerate(_STAGES):
            last = number in (0, len(_STAGES) - 1)
            outputs, blocks = _rounded(wanted * width), []
            for block in range(repeats if last else math.ceil(repeats * depth)):
                blocks.append(_block(channels, outputs, kernel, 1 if block else stride, expansion))
                channels = outputs
            stages.append(nn.Sequential(*blocks))
        self.blocks = nn.Sequential(*stages)
        self.conv_head = convolution(channels, _FEATURES, 1)
        self.bn2 = _NormRelu6(_FEATURES)
        self.classifier: nn.Module = nn.Linear(_FEATURES, num_classes)

    def forward_features(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) → (B, 1280, H / 32, W / 32), rounded up."""
        out: Tensor = self.bn2(self.conv_head(self.blocks(self.bn1(self.conv_stem(x)))))
        return out

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """(B, 1280, h, w) → their mean over the places (B, 1280), or the logits (B, classes)."""
        pooled = functional.adaptive_avg_pool2d(x, 1).flatten(1)
        out: Tensor = pooled if pre_logits else self.classifier(pooled)
        return out

    def get_classifier(self) -> nn.Module:
        """The last layer."""
        return self.classifier

    def reset_classifier(self, num_classes: int) -> None:
        """Replace the last layer by a new one; 0 classes: remove it."""
        self.classifier = nn.Linear(_FEATURES, num_classes) if num_classes else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) → logits (B, classes)."""
        return self.forward_head(self.forward_features(x))


class _NormRelu6(nn.BatchNorm2d):
    """A batch norm and an activation; the state is that of the norm."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=_EPS)
        self.act = nn.ReLU6(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.act(super().forward(x))
        return out


class _Separable(nn.Module):
    """A convolution of each channel alone, and one that mixes channels."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int) -> None:
        super().__init__()
        self._adds = stride == 1 and inputs == outputs
        self.conv_dw = convolution(inputs, inputs, kernel, stride, groups=inputs)
        self.bn1 = _NormRelu6(inputs)
        self.conv_pw = convolution(inputs, outputs, 1)
        self.bn2 = nn.BatchNorm2d(outputs, eps=_EPS)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.bn2(self.conv_pw(self.bn1(self.conv_dw(x))))
        return out + x if self._adds else out


class _Inverted(nn.Module):
    """The same between more channels (MobileNetV2, arXiv:1801.04381)."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        self._adds = stride == 1 and inputs == outputs
        inner = _rounded(inputs * expansion)
        self.conv_pw = convolution(inputs, inner, 1)
        self.bn1 = _NormRelu6(inner)
        self.conv_dw = convolution(inner, inner, kernel, stride, groups=inner)
        self.bn2 = _NormRelu6(inner)
        self.conv_pwl = convolution(inner, outputs, 1)
        self.bn3 = nn.BatchNorm2d(outputs, eps=_EPS)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.bn2(self.conv_dw(self.bn1(self.conv_pw(x))))
        out = self.bn3(self.conv_pwl(out))
        return out + x if self._adds else out


def _block(inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> nn.Module:
    if expansion == 1:
        return _Separable(inputs, outputs, kernel, stride)
    return _Inverted(inputs, outputs, kernel, stride, expansion)


def _rounded(channels: float) -> int:
    """The nearest multiple of 8, and none that is smaller by more than a tenth."""
    nearest = max(8, int(channels + 4) // 8 * 8)
    return nearest + 8 if nearest < 0.9 * channels else nearest
