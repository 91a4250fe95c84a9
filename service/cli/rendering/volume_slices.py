"""Three slices of a volume side by side, with the outline of a mask: from the right, from the front and from above."""

from __future__ import annotations

import gzip
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL import Image

SIDE = 320
"""Pixels of the longest edge of the volume."""
OUTLINE = (255, 64, 64)
GAP = 8
DARKEST, BRIGHTEST = 0.5, 99.5
"""Percentiles that become black and white."""
MOST_BYTES = 1 << 31
"""Of an unpacked file."""


def sliced(volume: Path | bytes, mask: bytes) -> Image.Image:
    """The slices through the middle of the mask, or of the volume where the mask is empty.

    May raise nearly any exception for a file that cannot be read; raises ValueError for a mask of another shape.
    """
    from PIL import Image

    values, sizes = _upright(volume if isinstance(volume, bytes) else volume.read_bytes())
    inside, _ = _upright(mask)
    if inside.shape != values.shape:
        raise ValueError("the mask has another shape than the volume")
    low, high = np.percentile(values, [DARKEST, BRIGHTEST])
    grey = (np.clip((values - low) / max(high - low, 1e-9), 0.0, 1.0) * 255).astype(np.uint8)
    scale = SIDE / max(length * size for length, size in zip(values.shape, sizes, strict=True))
    pictures = [_slice(grey, inside > 0, axis, sizes, scale) for axis in range(3)]
    height = max(picture.height for picture in pictures)
    canvas = Image.new("RGB", (sum(picture.width for picture in pictures) + 2 * GAP, height))
    left = 0
    for picture in pictures:
        canvas.paste(picture, (left, (height - picture.height) // 2))
        left += picture.width + GAP
    return canvas


def _upright(file: bytes) -> tuple[NDArray[np.float32], tuple[float, ...]]:
    """Voxels with axes to the right, to the front and upwards, and their edges in the unit of the file."""
    nibabel = _library()

    if file.startswith(b"\x1f\x8b"):
        with gzip.open(io.BytesIO(file)) as packed:
            file = packed.read(MOST_BYTES)
    loaded: Any = nibabel.Nifti1Image.from_bytes(file)
    image: Any = nibabel.as_closest_canonical(loaded)
    values = np.nan_to_num(image.get_fdata(dtype=np.float32), posinf=0.0, neginf=0.0)
    return values.reshape(values.shape[:3]), tuple(float(size) for size in image.header.get_zooms()[:3])


def _slice(
    grey: NDArray[np.uint8], mask: NDArray[np.bool_], axis: int, sizes: tuple[float, ...], scale: float
) -> Image.Image:
    from PIL import Image

    places = np.flatnonzero(mask.any(axis=tuple(other for other in range(3) if other != axis)))
    middle = int((places[0] + places[-1]) // 2) if places.size else grey.shape[axis] // 2
    across, up = (other for other in range(3) if other != axis)
    width = max(1, round(grey.shape[across] * sizes[across] * scale))
    height = max(1, round(grey.shape[up] * sizes[up] * scale))
    # (across, up) with the origin below → rows from the top.
    cut: tuple[Any, ...] = tuple(middle if other == axis else slice(None) for other in range(3))
    plane = Image.fromarray(np.ascontiguousarray(grey[cut].T[::-1]))
    inside = Image.fromarray(np.ascontiguousarray(mask[cut].T[::-1]))
    picture = np.asarray(plane.resize((width, height), Image.Resampling.BILINEAR).convert("RGB")).copy()
    picture[_outline(np.asarray(inside.resize((width, height), Image.Resampling.NEAREST)))] = OUTLINE
    return Image.fromarray(picture)


def _outline(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels of the mask beside one that is not in it."""
    padded = np.pad(mask, 1)
    inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return np.asarray(mask & ~inner)


def _library() -> Any:
    """nibabel, whose functions are untyped. Imported late: a client may be installed without it."""
    import nibabel

    return nibabel
