"""A convolutional encoder of images with a small head that gives the class of each place: a feature pyramid.

The head is that of Panoptic FPN (Kirillov et al., CVPR 2019, arXiv:1901.02446), with one convolution for each map: the maps of
the encoder are joined from the coarsest to the finest, and their sum tells the classes at a quarter of the image's sides.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["FINEST", "Segmenter"]

FINEST = 4
"""Pixels for a place of the logits."""
_GROUPS = 8
_TRIED = 64
"""Side of the image by which the sizes of the encoder's maps are found out, pixels."""


class Segmenter(nn.Module):
    """Images → logits of the classes at a quarter of their sides."""

    def __init__(self, encoder: nn.Module, classes: int, width: int = 64) -> None:
        """
        Args:
            encoder: a network with ``conv_stem``, ``bn1`` and ``blocks``, as EfficientNet and MobileNet have them in timm; only
                these are used.
            width: channels of the head, a multiple of 8.
        """
        super().__init__()
        stem, norm, blocks = (getattr(encoder, name, None) for name in ("conv_stem", "bn1", "blocks"))
        if not (isinstance(stem, nn.Module) and isinstance(norm, nn.Module) and isinstance(blocks, nn.Sequential)):
            raise ValueError("the encoder has no conv_stem, bn1 and blocks")
        self.conv_stem, self.bn1, self.blocks = stem, norm, blocks
        channels = self._channels()
        self.mask_head = _PyramidHead(channels, classes, width)

    @torch.no_grad()
    def _channels(self) -> list[int]:
        """Channels of the maps, the finest first."""
        self.eval()
        found = [m.shape[1] for m in self.maps(torch.zeros(1, 3, _TRIED, _TRIED))]
        self.train()
        return found

    def forward(self, pixel_values: Tensor) -> Tensor:
        """(B, 3, H, W), both sides multiples of 32 → logits (B, classes, H / 4, W / 4)."""
        out: Tensor = self.mask_head(self.maps(pixel_values))
        return out

    def maps(self, pixel_values: Tensor) -> list[Tensor]:
        """(B, 3, H, W) → the last map of each size from a quarter of the sides on, the finest first."""
        passed: Tensor = self.bn1(self.conv_stem(pixel_values))
        found: list[Tensor] = []
        for stage in self.blocks:
            passed = stage(passed)
            if found and found[-1].shape[-1] == passed.shape[-1]:
                found[-1] = passed
            else:
                found.append(passed)
        return [m for m in found if m.shape[-1] * FINEST <= pixel_values.shape[-1]]


class _PyramidHead(nn.Module):
    """Maps of an encoder → logits at the places of the finest one."""

    def __init__(self, channels: list[int], classes: int, width: int) -> None:
        super().__init__()
        self.laterals = nn.ModuleList(nn.Conv2d(size, width, 1) for size in channels)
        self.smooth = nn.ModuleList(
            nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.GroupNorm(_GROUPS, width), nn.ReLU())
            for _ in channels
        )
        self.classes = nn.Conv2d(width, classes, 1)

    def forward(self, maps: list[Tensor]) -> Tensor:
        """(B, C, H / s, W / s) for each stride s → (B, classes, H / 4, W / 4)."""
        size = maps[0].shape[-2:]
        above: Tensor | None = None
        total: Tensor | None = None
        for m, lateral, smooth in zip(reversed(maps), reversed(self.laterals), reversed(self.smooth), strict=True):
            joined = lateral(m)
            if above is not None:
                joined = joined + _resized(above, m.shape[-2:])
            above = joined
            part = _resized(smooth(joined), size)
            total = part if total is None else total + part
        logits: Tensor = self.classes(total)
        return logits


def _resized(m: Tensor, size: torch.Size) -> Tensor:
    if m.shape[-2:] == size:
        return m
    return functional.interpolate(m, size=(size[0], size[1]), mode="bilinear", align_corners=False)
