"""Brain extraction in two stages, as deepbet does it (Fisch et al., arXiv:2308.07003): a first network finds the brain in the
whole volume, reduced to 128 voxels a side; a second one draws it in the box around that, at 256 voxels a side."""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor, nn
from torch.nn import functional

from model_zoo.architectures.volume.linknet import LinkNet3d

__all__ = ["BrainExtractor", "box_around", "largest_component"]

DARKEST, BRIGHTEST = 0.005, 0.995
"""Quantiles of the reduced volume between which brightness is stretched."""
MEAN, DEVIATION = 0.449, 0.226
"""Of the normalised voxels."""
LEAST_SHARE = 0.02
"""Of a slice: one with less of the object is not inside its box."""
MARGIN = 0.1
"""On each side of the box, as a share of its length."""

Box = tuple[slice, slice, slice]


class BrainExtractor(nn.Module):
    """Both networks. Their parameters are `locator.*` and `segmenter.*`."""

    def __init__(
        self, widths: tuple[int, int, int, int] = (16, 32, 64, 128), locator_side: int = 128, segmenter_side: int = 256
    ) -> None:
        """Args:
        widths: channels of the stages of both networks.
        locator_side, segmenter_side: length of each axis of what they read, multiples of 32.
        """
        super().__init__()
        self.locator, self.segmenter = LinkNet3d(widths), LinkNet3d(widths)
        self.locator_shape, self.segmenter_shape = (locator_side,) * 3, (segmenter_side,) * 3

    def forward(self, volume: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 1, X, Y, Z), axes to the right, to the front and upwards → the probability of the brain of each voxel (B, X, Y, Z),
        0 outside the box, and the box (B, 6): the first voxel and the one after the last of each axis, x first. Where no brain is
        found, both are zeros."""
        found = [self._one(row[0]) for row in volume]
        return torch.stack([mask for mask, _ in found]), torch.stack([box for _, box in found])

    def _one(self, volume: Tensor) -> tuple[Tensor, Tensor]:
        mask = torch.zeros(volume.shape, dtype=torch.float32, device=volume.device)
        box = torch.zeros(6, dtype=torch.int64, device=volume.device)
        small = _resized(volume, self.locator_shape).float()
        low, high = small.quantile(DARKEST), small.quantile(BRIGHTEST)
        if not high > low:  # nearly all voxels are equal
            return mask, box
        rough = self._run(self.locator, small, low, high) > 0.5
        place = box_around(largest_component(rough.cpu().numpy()), tuple(volume.shape))
        if place is None:
            return mask, box
        part = volume[place]
        fine = self._run(self.segmenter, _resized(part, self.segmenter_shape).float(), low, high)
        mask[place] = _resized(fine, tuple(part.shape))
        edges = [edge for axis in place for edge in (axis.start, axis.stop)]
        return mask, torch.tensor(edges, dtype=torch.int64, device=volume.device)

    def _run(self, network: LinkNet3d, volume: Tensor, low: Tensor, high: Tensor) -> Tensor:
        stretched = ((volume - low) / (high - low)).clamp(0.0, 1.0)
        normal = DEVIATION * (stretched - stretched.mean()) / stretched.std().clamp(min=1e-6) + MEAN
        dtype = next(network.parameters()).dtype
        probability: Tensor = network(normal.to(dtype)[None, None])[0].float()
        return probability


def _resized(volume: Tensor, shape: tuple[int, ...]) -> Tensor:
    return functional.interpolate(volume[None, None], shape, mode="nearest-exact")[0, 0]


def largest_component(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The largest set of connected voxels; voxels that share a corner are connected. Empty where nothing is set."""
    labels, count = ndimage.label(mask, structure=np.ones((3, 3, 3), bool))
    if count <= 1:
        return mask
    return np.asarray(labels == 1 + np.bincount(labels.ravel())[1:].argmax())


def box_around(mask: NDArray[np.bool_], shape: tuple[int, ...]) -> Box | None:
    """The box of a reduced mask in a volume of `shape`, with a margin; None where the mask covers too little of every slice."""
    box = []
    for axis, length in enumerate(shape):
        shares = mask.mean(axis=tuple(other for other in range(3) if other != axis))
        filled = np.flatnonzero(shares > LEAST_SHARE)
        if not filled.size:
            return None
        first, after = int(filled[0]), int(filled[-1]) + 1
        scale = length / mask.shape[axis]
        centre = round(scale * (first + after) / 2)
        size = round((1 + 2 * MARGIN) * scale * (after - first))
        start, stop = max(0, int(centre - size / 2)), min(length, int(centre + size / 2))
        if stop <= start:
            return None
        box.append(slice(start, stop))
    return box[0], box[1], box[2]
