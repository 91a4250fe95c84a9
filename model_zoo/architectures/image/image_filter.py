"""One convolution of 3 × 3, whose kernel comes with each image: blur, sharpen, find edges.

The kernel lies over the image as its numbers are written, as in the convolutions of neural networks, which do not turn it over
(cross-correlation). All channels of a row have the same kernel (a depthwise convolution), and each row has its own, so that rows
with different kernels share a batch (a grouped convolution). The pixels beyond the edge are those of the edge.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["ImageFilter"]

CHANNELS = 3
WHITE = 255.0


class ImageFilter(nn.Module):
    """No weights of its own."""

    def forward(self, pixels: Tensor, kernel: Tensor, offset: Tensor) -> Tensor:
        """Filters images.

        Args:
            pixels: uint8 (B, H, W, 3).
            kernel: (B, 2, 3, 3). Where the second kernel has a number other than 0, the result is the root of the sum of both
                squares.
            offset: (B, 1), added to the result, in grey levels.

        Returns:
            uint8 (B, H, W, 3): rounded half up, and limited to 0..255.
        """
        rows, height, width, _ = pixels.shape
        planes = pixels.permute(0, 3, 1, 2).reshape(1, rows * CHANNELS, height, width).float()
        padded = functional.pad(planes, (1, 1, 1, 1), mode="replicate")
        each = kernel.float()[:, None].expand(rows, CHANNELS, 2, 3, 3).reshape(rows * CHANNELS * 2, 1, 3, 3)
        sums = functional.conv2d(padded, each, groups=rows * CHANNELS)
        first, second = sums.reshape(rows, CHANNELS, 2, height, width).unbind(2)
        has_second = (kernel[:, 1] != 0).any(dim=-1).any(dim=-1)[:, None, None, None]
        result = torch.where(has_second, (first.square() + second.square()).sqrt(), first)
        grey = (result + offset.float()[:, :, None, None] + 0.5).floor().clamp(0.0, WHITE)
        return grey.to(torch.uint8).permute(0, 2, 3, 1)
