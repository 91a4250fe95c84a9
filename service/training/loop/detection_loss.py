"""The loss of a detector that gives a box at each place of several maps, as NanoDet does.

Places are assigned to boxes by ATSS (Zhang et al., arXiv:1912.02424). Classes learn by the quality focal loss (Li et al.,
arXiv:2006.04388), whose target is how well the box at the place fits; boxes by the generalized intersection over union
(Rezatofighi et al., arXiv:1902.09630). The distribution focal loss of NanoDet's own training is left out: the
network gives boxes, not the distributions behind them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from service.training.data.regions.boxes import NO_BOX

CANDIDATES = 9
"""Places of each map that are compared with a box, as in the paper."""
ANCHOR_STRIDES = 5
"""Side of the square that stands for a place, in strides of its map, as NanoDet has it."""
FOCUS = 2.0
"""The exponent by which the loss of easy decisions shrinks."""
BOX_WEIGHT = 2.0
"""Of the loss of the boxes beside that of the classes, as NanoDet has it."""


@dataclass(frozen=True)
class MapGrid:
    """The places of a detector's maps, in the order of its outputs."""

    centres: Tensor
    """(P, 2): x and y, as shares of the picture."""
    anchors: Tensor
    """(P, 4): xmin, ymin, xmax, ymax of the squares that stand for the places, as shares of the picture."""
    counts: tuple[int, ...]
    """Places of each map; they add up to P."""


def places_of(strides: Sequence[int], height: int, width: int, device: str = "cpu") -> MapGrid:
    """The places of maps with these strides for pictures of this size, in pixels: row by row, map by map."""
    centres, anchors, counts = [], [], []
    size = torch.tensor([width, height], dtype=torch.float32)
    for stride in strides:
        rows, columns = height // stride, width // stride
        y, x = torch.meshgrid(torch.arange(rows) + 0.5, torch.arange(columns) + 0.5, indexing="ij")
        centre = torch.stack([x.flatten(), y.flatten()], dim=1) * stride
        half = ANCHOR_STRIDES * stride / 2
        centres.append(centre / size)
        anchors.append(torch.cat([(centre - half) / size, (centre + half) / size], dim=1))
        counts.append(rows * columns)
    return MapGrid(torch.cat(centres).to(device), torch.cat(anchors).to(device), tuple(counts))


def assigned(places: MapGrid, boxes: Tensor) -> Tensor:
    """The number of the box that each place learns, (P,); -1 for none.

    Args:
        boxes: (M, 4) of xmin, ymin, xmax, ymax.
    """
    best = torch.full((len(places.centres),), -1, dtype=torch.long, device=boxes.device)
    if not len(boxes):
        return best
    overlap = overlaps(places.anchors[:, None], boxes[None])  # (P, M)
    middles = (boxes[:, :2] + boxes[:, 2:]) / 2
    distance = (places.centres[:, None] - middles[None]).square().sum(dim=2)
    candidate = torch.zeros_like(overlap, dtype=torch.bool)
    start = 0
    for count in places.counts:
        nearest = distance[start : start + count].topk(min(CANDIDATES, count), dim=0, largest=False).indices
        candidate[start : start + count].scatter_(0, nearest, True)
        start += count
    chosen = torch.where(candidate, overlap, torch.nan)
    mean = chosen.nanmean(dim=0)
    bound = mean + (chosen - mean).square().nanmean(dim=0).sqrt()
    x, y = places.centres[:, :1], places.centres[:, 1:]
    inside = (x > boxes[:, 0]) & (x < boxes[:, 2]) & (y > boxes[:, 1]) & (y < boxes[:, 3])
    fits = torch.where(candidate & inside & (overlap >= bound), overlap, -1.0)
    value, number = fits.max(dim=1)
    return torch.where(value >= 0, number, best)


def detection_loss(places: MapGrid, outputs: Tensor, targets: Tensor) -> Tensor:
    """The loss of a batch.

    Args:
        outputs: (B, P, classes + 4): logits, then centre x, centre y, width and height as shares of the picture.
        targets: (B, M, 5), as `box_targets` makes them.
    """
    logits, boxes = outputs[..., :-4], corners(outputs[..., -4:])
    numbers = torch.stack(
        [assigned(places, rows[rows[:, 0] != NO_BOX][:, 1:]) for rows in targets]
    )  # (B, P); rows of no box come last
    row, place = torch.nonzero(numbers >= 0, as_tuple=True)
    wanted = targets[row, numbers[row, place]]
    quality = torch.zeros_like(logits)
    if len(row):
        fit = overlaps(boxes[row, place].detach(), wanted[:, 1:])
        quality[row, place, wanted[:, 0].long()] = fit
    scores = logits.sigmoid()
    entropy = functional.binary_cross_entropy_with_logits(logits, quality, reduction="none")
    classes = (entropy * (quality - scores).abs() ** FOCUS).sum() / max(len(row), 1)
    if not len(row):
        return classes + 0.0 * boxes.sum()
    weights = scores.detach()[row, place].amax(dim=1)
    off = 1.0 - generalized_overlaps(boxes[row, place], wanted[:, 1:])
    return classes + BOX_WEIGHT * (off * weights).sum() / weights.sum().clamp(min=1e-6)


def corners(boxes: Tensor) -> Tensor:
    """(…, 4) of centre x, centre y, width, height → xmin, ymin, xmax, ymax."""
    centres, halves = boxes[..., :2], boxes[..., 2:] / 2
    return torch.cat([centres - halves, centres + halves], dim=-1)


def overlaps(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over union of boxes (…, 4) of corners, which are broadcast."""
    return _shared(a, b)[0]


def generalized_overlaps(a: Tensor, b: Tensor) -> Tensor:
    """Generalized intersection over union, -1..1: less the empty share of the smallest box around both."""
    overlap, union = _shared(a, b)
    around = torch.maximum(a[..., 2:], b[..., 2:]) - torch.minimum(a[..., :2], b[..., :2])
    whole = around.clamp(min=0).prod(dim=-1).clamp(min=1e-9)
    return overlap - (whole - union) / whole


def _shared(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Intersection over union, and union."""
    sides = torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])
    shared = sides.clamp(min=0).prod(dim=-1)
    union = (a[..., 2:] - a[..., :2]).prod(dim=-1) + (b[..., 2:] - b[..., :2]).prod(dim=-1) - shared
    return shared / union.clamp(min=1e-9), union
