"""Non-maximum suppression: of boxes that overlap, the one with the best score."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def unsuppressed(
    corners: NDArray[np.float64], classes: NDArray[np.intp], max_overlap: float, most: int
) -> NDArray[np.intp]:
    """Which boxes remain, in their order, at most `most` of them.

    A box is dropped if it overlaps a better one of its class by more than `max_overlap`, as intersection over union. Takes
    `most` × n steps.

    Args:
        corners: `[n, 4]` of (xmin, ymin, xmax, ymax), best first.
        classes: `[n]`.
    """
    areas = area(corners)
    remaining = np.arange(len(corners))
    kept: list[int] = []
    while len(remaining) and len(kept) < most:
        best, others = int(remaining[0]), remaining[1:]
        kept.append(best)
        shared = area(
            np.concatenate(
                [
                    np.maximum(corners[others, :2], corners[best, :2]),
                    np.minimum(corners[others, 2:], corners[best, 2:]),
                ],
                axis=1,
            )
        )
        union = areas[others] + areas[best] - shared
        # Not a quotient: boxes without an area overlap nothing.
        remaining = others[(classes[others] != classes[best]) | ~(shared > max_overlap * union)]
    return np.array(kept, np.intp)


def area(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """`[n, 4]` → `[n]`; 0 where an edge lies beyond its opposite one."""
    sides = np.maximum(corners[:, 2:] - corners[:, :2], 0.0)
    return np.asarray(sides[:, 0] * sides[:, 1])
