"""A LinkNet (Chaurasia and Culurciello, VCIP 2017, arXiv:1707.03718) of three dimensions, as deepbet builds it (Fisch et al.,
deepbet: Fast brain extraction of T1-weighted MRI using Convolutional Neural Networks, arXiv:2308.07003).

Modules have the names of the published archive, so that its weights are read by name. The instance norms have no parameters.
"""

from collections.abc import Sequence

from torch import Tensor, nn

__all__ = ["LinkNet3d"]


def _norm(channels: int) -> nn.Module:
    return nn.InstanceNorm3d(channels)


def _convolved(inputs: int, outputs: int, side: int = 3, stride: int = 1) -> list[nn.Module]:
    convolution = nn.Conv3d(inputs, outputs, side, stride, padding=side // 2, bias=False)
    return [convolution, _norm(outputs)]


def _doubled(inputs: int, outputs: int, *, bias: bool = False) -> list[nn.Module]:
    """Twice as long on each axis."""
    convolution = nn.ConvTranspose3d(inputs, outputs, 3, stride=2, padding=1, output_padding=1, bias=bias)
    return [convolution, _norm(outputs), nn.ReLU()]


class _Block(nn.Module):
    """A residual block, half as long on each axis where `stride` is 2."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        first, second = _convolved(inputs, outputs, 3, stride), _convolved(outputs, outputs)
        self.double_conv = nn.Sequential(*first, nn.ReLU(), *second)
        self.downsample = nn.Sequential(*_convolved(inputs, outputs, 1, stride)) if stride > 1 else nn.Identity()
        self.act = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.act(self.double_conv(x) + self.downsample(x))
        return out


class _Down(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.block1, self.block2 = _Block(inputs, outputs, stride), _Block(outputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.block2(self.block1(x))
        return out


class _Up(nn.Module):
    """Narrow, enlarge, widen."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        narrow = inputs // 4
        self.conv1 = nn.Sequential(*_convolved(inputs, narrow, 1), nn.ReLU())
        same = nn.ConvTranspose3d(narrow, narrow, 3, padding=1, bias=False)
        self.tp_conv = nn.Sequential(*(_doubled(narrow, narrow) if stride > 1 else [same, _norm(narrow), nn.ReLU()]))
        self.conv2 = nn.Sequential(*_convolved(narrow, outputs, 1), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv2(self.tp_conv(self.conv1(x)))
        return out


class LinkNet3d(nn.Module):
    """Two classes: background and object."""

    def __init__(self, widths: Sequence[int] = (16, 32, 64, 128)) -> None:
        """`widths`: channels of the stages; each but the first has half the length of the one before on each axis."""
        super().__init__()
        first, half = widths[0], widths[0] // 2
        self.init = nn.Sequential(*_convolved(1, first, 7, 2), nn.ReLU(), nn.MaxPool3d(3, stride=2, padding=1))
        self.down0 = _Down(first, widths[0], 1)
        self.down1 = _Down(widths[0], widths[1], 2)
        self.down2 = _Down(widths[1], widths[2], 2)
        self.down3 = _Down(widths[2], widths[3], 2)
        self.up0 = _Up(widths[3], widths[2], 2)
        self.up1 = _Up(widths[2], widths[1], 2)
        self.up2 = _Up(widths[1], widths[0], 2)
        self.up3 = _Up(widths[0], first, 1)
        self.tp_conv1 = nn.Sequential(*_doubled(first, half, bias=True))
        self.conv = nn.Sequential(nn.Conv3d(half, half, 3, padding=1), _norm(half), nn.ReLU())
        self.tp_conv2 = nn.ConvTranspose3d(half, 2, 2, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 1, D, H, W), each side a multiple of 32 → probability of the object (B, D, H, W)."""
        start = self.init(x)
        down0 = self.down0(start)
        down1 = self.down1(down0)
        down2 = self.down2(down1)
        up = self.up0(self.down3(down2)) + down2
        up = self.up1(up) + down1
        up = self.up2(up) + down0
        up = self.up3(up) + start
        classes: Tensor = self.tp_conv2(self.conv(self.tp_conv1(up)))
        return classes.softmax(dim=1)[:, 1]
