"""Convolutions with padding as TensorFlow has it: with a stride, more of it below and to the right than above and to the left."""

from torch import Tensor, nn
from torch.nn import functional

__all__ = ["SamePadded", "convolution"]


class SamePadded(nn.Conv2d):
    """A convolution with a stride, whose output has a place for each step that begins inside the image."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) → (B, outputs, H / stride, W / stride), rounded up."""
        height, width = (
            max((-(-size // stride) - 1) * stride + kernel - size, 0)
            for size, stride, kernel in zip(x.shape[-2:], self.stride, self.kernel_size, strict=True)
        )
        x = functional.pad(x, (width // 2, width - width // 2, height // 2, height - height // 2))
        return functional.conv2d(x, self.weight, self.bias, self.stride, groups=self.groups)


def convolution(
    inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1, bias: bool = False
) -> nn.Conv2d:
    """A convolution with an odd `kernel`, whose output is as large as its input, divided by the stride."""
    if stride == 1:
        return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, groups=groups, bias=bias)
    return SamePadded(inputs, outputs, kernel, stride, groups=groups, bias=bias)
