"""A small segmenter of persons: the network of MediaPipe's selfie segmentation, with its BatchNorm folded into the convolutions.

The encoder is a MobileNetV3 (Howard et al., ICCV 2019, arXiv:1905.02244), in whose blocks squeeze-and-excitation stands after the
activation. The decoder follows LR-ASPP of the same paper: a gate of the whole image weights the coarse map and, on the way up,
each finer map of the encoder.
"""

from torch import Tensor, nn
from torch.nn import functional

from model_zoo.architectures.image.same_padding import convolution

__all__ = ["PersonSegmenter"]

_STEM, _SKIP, _HEAD = 16, 16, 128
_FIRST = ((72, 24, 2), (88, 24, 1))
"""Blocks without a gate: channels inside, channels, stride; kernels of 3 × 3 and ReLU."""
_LATER = ((96, 24, 2), (128, 32, 1), (128, 32, 1), (96, 24, 1), (96, 24, 1))
"""Blocks with a gate: channels inside, channels inside the gate, stride; kernels of 5 × 5 and hard swish."""
_WIDTH = 32


class PersonSegmenter(nn.Module):
    """Images → for each pixel the logits of background and person."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = convolution(3, _STEM, 3, stride=2, bias=True)
        self.entry = _Block(_STEM, _STEM, _SKIP, 3, 2, gate=8)
        self.first = nn.ModuleList()
        channels = _SKIP
        for inner, outputs, stride in _FIRST:
            self.first.append(_Block(channels, inner, outputs, 3, stride))
            channels = outputs
        self.later = nn.ModuleList()
        for inner, gate, stride in _LATER:
            self.later.append(_Block(channels, inner, _WIDTH, 5, stride, gate, swish=True))
            channels = _WIDTH
        self.head = nn.Conv2d(_WIDTH, _HEAD, 1)
        self.head_gate = nn.Conv2d(_WIDTH, _HEAD, 1)
        self.decoders = nn.ModuleList((_Decoder(_HEAD, 24), _Decoder(24, _SKIP), _Decoder(_SKIP, _STEM)))
        self.output = nn.ConvTranspose2d(_STEM, 1, 2, stride=2)

    def forward(self, pixel_values: Tensor) -> Tensor:
        """(B, 3, H, W), RGB in 0..1, both sides multiples of 16 → (B, 2, H, W) logits."""
        half = functional.hardswish(self.stem(pixel_values))
        quarter = self.entry(half)
        eighth = quarter
        for block in self.first:
            eighth = block(eighth)
        coarse = eighth
        for block in self.later:
            coarse = block(coarse)
        merged = self.head(coarse).relu() * self.head_gate(_mean(coarse)).sigmoid()
        for decoder, skipped in zip(self.decoders, (eighth, quarter, half), strict=True):
            merged = decoder(merged, skipped)
        person = self.output(merged)
        return functional.pad(person, (0, 0, 0, 0, 1, 0))  # sigmoid(x) is the second share of softmax((0, x))


class _Gate(nn.Module):
    """Weights of channels by the whole image (squeeze-and-excitation, Hu et al., CVPR 2018, arXiv:1709.01507)."""

    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, inner, 1)
        self.excite = nn.Conv2d(inner, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) → (B, C, 1, 1) in 0..1."""
        out: Tensor = self.excite(self.squeeze(_mean(x)).relu()).sigmoid()
        return out


class _Block(nn.Module):
    """An inverted residual block: more channels, a convolution of each by itself, perhaps a gate, and fewer channels."""

    def __init__(
        self, inputs: int, inner: int, outputs: int, kernel: int, stride: int, gate: int = 0, swish: bool = False
    ) -> None:
        super().__init__()
        self._adds = stride == 1 and inputs == outputs
        self.expand = nn.Conv2d(inputs, inner, 1)
        self.depthwise = convolution(inner, inner, kernel, stride, groups=inner, bias=True)
        self.gate = _Gate(inner, gate) if gate else None
        self.project = nn.Conv2d(inner, outputs, 1)
        self._activation = functional.hardswish if swish else functional.relu

    def forward(self, x: Tensor) -> Tensor:
        inner = self._activation(self.depthwise(self._activation(self.expand(x))))
        if self.gate is not None:
            inner = inner * self.gate(inner)
        out: Tensor = self.project(inner)
        return out + x if self._adds else out


class _Decoder(nn.Module):
    """A coarse map and the map of the encoder that is twice as large → a map of that size and of its channels."""

    def __init__(self, inputs: int, channels: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(inputs, channels, 1)
        self.gate = _Gate(channels, channels)
        self.mix = nn.Conv2d(channels, channels, 1)
        self.depthwise = convolution(channels, channels, 3, groups=channels, bias=True)

    def forward(self, coarse: Tensor, skipped: Tensor) -> Tensor:
        raised = self.reduce(functional.interpolate(coarse, scale_factor=2.0, mode="bilinear", align_corners=False))
        mixed: Tensor = self.mix(skipped * self.gate(skipped + raised) + raised).relu()
        out: Tensor = mixed + self.depthwise(mixed).relu()
        return out


def _mean(x: Tensor) -> Tensor:
    """(B, C, H, W) → (B, C, 1, 1)."""
    return x.mean(dim=(2, 3), keepdim=True)
