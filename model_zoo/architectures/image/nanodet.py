"""NanoDet-g: a small detector of objects, with its BatchNorm folded into the convolutions.

After NanoDet by RangiLyu (Apache-2.0; code and weights, no paper). The backbone is a CSPNet (Wang et al., CVPR Workshops 2020,
arXiv:1911.11929). Its last three maps are joined from the coarsest to the finest and back (path aggregation, Liu et al., CVPR
2018, arXiv:1803.01534). The head is that of Generalized Focal Loss (Li et al., NeurIPS 2020, arXiv:2006.04388): at each place of
each map the logits of all classes, and for each edge of a box a distribution over its distance.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["NanoDet"]

_SLOPE = 0.1
"""Of the leaky ReLU."""
_EDGES = 4
_NEW_SPREAD, _NEW_SCORE = 0.01, 0.01
"""Spread of the weights of a new class, and its score at each place at first."""
_FIRST_STRIDE = 4
"""Pixels for a place of the map behind the stem."""


class NanoDet(nn.Module):
    """Images → for each place of three maps the logits of the classes, and a box."""

    def __init__(
        self,
        classes: int = 80,
        bins: int = 11,
        channels: int = 32,
        blocks: Sequence[int] = (1, 2, 2, 3),
        width: int = 128,
    ) -> None:
        """
        Args:
            bins: of the distribution over the distance of an edge; distances are 0 to bins - 1 steps of the map.
            channels: of the stem. Each stage doubles them, and each but the first halves both sides of its map.
            blocks: of each stage. The last three stages give the maps.
            width: channels of the maps in neck and head.
        """
        super().__init__()
        self.classes, self.bins = classes, bins
        self.stem = Convolution(3, channels, stride=2)
        self.pool = nn.MaxPool2d(3, 2, padding=1)
        each = [channels << i for i in range(len(blocks))]
        self.stages = nn.ModuleList(
            CspStage(size, count, stride=2 if i else 1)
            for i, (size, count) in enumerate(zip(each, blocks, strict=True))
        )
        self.strides = [_FIRST_STRIDE << i for i in range(len(blocks))][-3:]
        self.laterals = nn.ModuleList(nn.Conv2d(2 * size, width, 1) for size in each[-3:])
        self.towers = nn.ModuleList(Convolution(width, width) for _ in self.strides)
        self.outputs = nn.ModuleList(nn.Conv2d(width, classes + _EDGES * bins, 1) for _ in self.strides)

    def forward(self, pixel_values: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, H, W), RGB, both sides multiples of 32 → logits (B, P, classes), and boxes (B, P, 4) in float32: centre x,
        centre y, width and height as shares of the image. The places are those of the finest map first, row by row."""
        maps = self.joined(self.maps(pixel_values.flip(1)))  # the network has learned from BGR
        found = [output(tower(m)) for m, tower, output in zip(maps, self.towers, self.outputs, strict=True)]
        logits = torch.cat([m[:, : self.classes].flatten(2) for m in found], dim=2).transpose(1, 2)
        return logits, torch.cat([self._boxes(m[:, self.classes :]) for m in found], dim=1)

    def state_for_classes(self, rows: Sequence[int | None]) -> dict[str, Tensor]:
        """The state of a network that differs in its classes: each is the one with that number here, or a new one, which is found
        nowhere at first (focal loss, Lin et al., arXiv:1708.02002)."""
        state = dict(self.state_dict())
        for level, output in enumerate(self.outputs):
            assert isinstance(output, nn.Conv2d)
            weight, bias = output.weight.detach(), output.bias
            assert bias is not None
            new = torch.randn(len(rows), *weight.shape[1:]) * _NEW_SPREAD
            biases = torch.full((len(rows),), -math.log(1 / _NEW_SCORE - 1))
            for row, known in enumerate(rows):
                if known is not None:
                    new[row], biases[row] = weight[known], bias.detach()[known]
            state[f"outputs.{level}.weight"] = torch.cat([new, weight[self.classes :]])
            state[f"outputs.{level}.bias"] = torch.cat([biases, bias.detach()[self.classes :]])
        return state

    @torch.no_grad()
    def shift_logits(self, by: float) -> None:
        """Adds a number to the logits of all classes, at all places."""
        for output in self.outputs:
            assert isinstance(output, nn.Conv2d)
            assert output.bias is not None
            output.bias[: self.classes] += by

    def maps(self, image: Tensor) -> list[Tensor]:
        """(B, 3, H, W), BGR → the maps of the last three stages, (B, C, H / s, W / s) for the strides s."""
        passed = self.pool(self.stem(image))
        found = []
        for stage in self.stages:
            passed = stage(passed)
            found.append(passed)
        return found[-3:]

    def joined(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Maps of a backbone → the same maps with ``width`` channels, to each of which the others were added."""
        fine, middle, coarse = (lateral(m) for lateral, m in zip(self.laterals, maps, strict=True))
        middle = middle + _resized(coarse, 2.0)
        fine = fine + _resized(middle, 2.0)
        middle = middle + _resized(fine, 0.5)
        return [fine, middle, coarse + _resized(middle, 0.5)]

    def _boxes(self, distribution: Tensor) -> Tensor:
        """(B, 4 bins, h, w) logits of the distances of the edges → (B, h w, 4).

        In float32 also where the network runs in fewer bits: 52 places in a row cannot be told apart in bf16.
        """
        rows, _, height, width = distribution.shape
        shares = distribution.float().reshape(rows, _EDGES, self.bins, height * width).softmax(dim=2)
        steps = torch.arange(self.bins, device=shares.device, dtype=shares.dtype)
        left, top, right, bottom = torch.einsum("rebp,b->erp", shares, steps).unbind()  # (B, h w), in steps of the map
        places = torch.arange(height * width, device=shares.device)
        x, y = places % width + 0.5, torch.div(places, width, rounding_mode="floor") + 0.5
        centres = x + (right - left) / 2, y + (bottom - top) / 2
        sides = left + right, top + bottom
        return torch.stack([centres[0] / width, centres[1] / height, sides[0] / width, sides[1] / height], dim=2)


class Convolution(nn.Conv2d):
    """A convolution of 3 × 3 with a leaky ReLU."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__(inputs, outputs, 3, stride=stride, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) → (B, outputs, H / stride, W / stride)."""
        return functional.leaky_relu(super().forward(x), _SLOPE)


class CspStage(nn.Module):
    """(B, C, H, W) → (B, 2 C, H / stride, W / stride): the half of the channels goes around the blocks."""

    def __init__(self, channels: int, blocks: int, stride: int) -> None:
        super().__init__()
        self.entry = Convolution(channels, channels, stride=stride)
        self.blocks = nn.Sequential(*(SplitBlock(channels) for _ in range(blocks)))
        self.exit = Convolution(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        entered = self.entry(x)
        return torch.cat([self.exit(self.blocks(entered)), entered], dim=1)


class SplitBlock(nn.Module):
    """(B, C, H, W) → the same shape: two convolutions to a half of the channels, one behind the other, and both outputs."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = Convolution(channels, channels // 2)
        self.second = Convolution(channels // 2, channels // 2)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        first = self.first(x)
        return torch.cat([self.second(first), first], dim=1)


def _resized(m: Tensor, scale: float) -> Tensor:
    """A map with sides of ``scale`` times the length."""
    return functional.interpolate(m, scale_factor=scale, mode="bilinear", align_corners=False)
