"""MoveNet: the joints of one person in an image, with BatchNorm folded into the convolutions.

After MoveNet by Google (2021; a model card and weights, no paper). The backbone is a MobileNetV2 (Sandler et al., CVPR 2018,
arXiv:1801.04381) with a feature pyramid (Lin et al., CVPR 2017, arXiv:1612.03144). The heads are those of CenterNet (Zhou et al.,
arXiv:1904.07850): where the middle of a person is, how far each point is from it, a heat map for each point, and the rest below a
step of the map.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from model_zoo.architectures.image.same_padding import convolution

__all__ = ["MoveNet"]

_STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
"""Expansion of channels, channels, blocks, stride of the first block."""
_STEM, _LAST, _COARSE = 32, 1280, 64
_PASSED_ON = {24: 2, 32: 5, 64: 9}
"""The block whose map joins the pyramid, by its channels."""
_INNER = 96
"""Channels inside a head."""
_NEARNESS = 1.8
"""Steps of the map that are added to a distance, so that scores of places are divided by no less."""


class MoveNet(nn.Module):
    """Images → points of the person nearest to the middle."""

    def __init__(self, points: int = 17) -> None:
        super().__init__()
        self.points = points
        self.stem = convolution(3, _STEM, 3, stride=2, bias=True)
        self.blocks = nn.ModuleList()
        channels = _STEM
        for expansion, outputs, repeats, stride in _STAGES:
            for i in range(repeats):
                self.blocks.append(_Block(channels, outputs, expansion, 1 if i else stride))
                channels = outputs
        self.last = nn.Conv2d(channels, _LAST, 1)
        self.coarse = nn.Conv2d(_LAST, _COARSE, 1)
        fine, middle, large = _PASSED_ON
        self.laterals = nn.ModuleList(nn.Conv2d(size, size, 1) for size in (large, middle, fine))
        self.merges = nn.ModuleList(
            _Separable(size, out) for size, out in ((large, middle), (middle, fine), (fine, fine))
        )
        self.centre, self.heat = _Head(fine, 1), _Head(fine, points)
        self.reach, self.rest = _Head(fine, 2 * points), _Head(fine, 2 * points)

    def forward(self, pixel_values: Tensor) -> Tensor:
        """(B, 3, H, W), RGB in -1..1, both sides multiples of 32 → (B, points, 3) in float32: x and y as shares of the image,
        and a score in 0..1."""
        found = self.map(pixel_values)
        maps = self.centre(found), self.heat(found), self.reach(found), self.rest(found)
        return self._read(*(one.float() for one in maps))

    def map(self, image: Tensor) -> Tensor:
        """(B, 3, H, W) → the finest map of the pyramid, (B, 24, H / 4, W / 4)."""
        passed, kept = functional.relu6(self.stem(image)), []
        for number, block in enumerate(self.blocks):
            passed = block(passed)
            if number in _PASSED_ON.values():
                kept.append(passed)
        merged: Tensor = self.coarse(functional.relu6(self.last(passed)))
        for lateral, merge, finer in zip(self.laterals, self.merges, reversed(kept), strict=True):
            raised = functional.interpolate(merged, scale_factor=2.0, mode="bilinear", align_corners=False)
            merged = merge(raised + lateral(finer))
        return merged

    def _read(self, centre: Tensor, heat: Tensor, reach: Tensor, rest: Tensor) -> Tensor:
        """Maps of the heads, (B, C, h, w) → (B, points, 3).

        In float32 also where the network runs in fewer bits: 48 places in a row, and shares of their steps, cannot be told apart
        in bf16.
        """
        rows, _, height, width = heat.shape
        places = torch.arange(height * width, device=heat.device)
        grid = torch.stack([torch.div(places, width, rounding_mode="floor"), places % width]).to(
            heat.dtype
        )  # (2, P): y, x
        off_middle = grid - grid.new_tensor([height // 2, width // 2])[:, None]
        near = 1.0 / (off_middle.square().sum(dim=0).sqrt() + _NEARNESS)
        middle = (centre.flatten(1).sigmoid() * near).argmax(dim=1)  # (B,)
        reached = _at(reach, middle[:, None].expand(rows, self.points)) + grid[:, middle].T[:, None]  # (B, points, 2)
        scores = heat.flatten(2).sigmoid()
        distance = (reached[..., None] - grid).square().sum(dim=2).sqrt()  # (B, points, P)
        best = (scores / (distance + _NEARNESS)).argmax(dim=2)  # (B, points)
        y, x = ((_at(rest, best) + grid.T[best]) / grid.new_tensor([height, width])).unbind(dim=2)
        return torch.stack([x, y, scores.gather(2, best[..., None])[..., 0]], dim=2)


def _at(maps: Tensor, places: Tensor) -> Tensor:
    """The two values of each point at its place: (B, 2 points, h, w) and (B, points) → (B, points, 2)."""
    rows, points = places.shape
    values = maps.reshape(rows, points, 2, -1)
    return values.gather(3, places[..., None, None].expand(rows, points, 2, 1))[..., 0]


class _Block(nn.Module):
    """The inverted residual block of MobileNetV2."""

    def __init__(self, inputs: int, outputs: int, expansion: int, stride: int) -> None:
        super().__init__()
        self._adds = stride == 1 and inputs == outputs
        inner = inputs * expansion
        self.expand = nn.Conv2d(inputs, inner, 1) if expansion > 1 else None
        self.depthwise = convolution(inner, inner, 3, stride, groups=inner, bias=True)
        self.project = nn.Conv2d(inner, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        inner = x if self.expand is None else functional.relu6(self.expand(x))
        out: Tensor = self.project(functional.relu6(self.depthwise(inner)))
        return out + x if self._adds else out


class _Separable(nn.Module):
    """A convolution of each channel by itself, one that mixes channels, and a ReLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.depthwise = convolution(inputs, inputs, 3, groups=inputs)
        self.pointwise = nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.pointwise(self.depthwise(x)).relu()
        return out


class _Head(nn.Sequential):
    """(B, inputs, h, w) → (B, outputs, h, w)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(_Separable(inputs, _INNER), nn.Conv2d(_INNER, outputs, 1))
