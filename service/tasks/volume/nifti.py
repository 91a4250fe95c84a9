"""NIfTI-1 files (https://nifti.nimh.nih.gov/nifti-1) of one volume, read from bytes and written to bytes.

Every size is known from the header before the voxels are unpacked, so that a small file cannot become a large array.
"""

from __future__ import annotations

import gzip
import io
import math
import zlib
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from service.errors import InvalidInput
from service.types import VolumeSpace

HEADER_BYTES, FIRST_VOXEL = 348, 352
MOST_EXTENSION_BYTES = 1 << 20
"""Between the header and the voxels."""
OTHER_BYTES = "expected a NIfTI-1 file (.nii, .nii.gz), got other bytes"
GZIP_MAGIC = b"\x1f\x8b"
SINGLE_FILE, FILE_PAIR = b"n+1", b"ni1"
LEAST_DETERMINANT = 1e-6
"""Of the axes of an affine, each of length 1: below it they lie in one plane."""
COMPRESSION = 4
"""Of gzip. A mask is written in a third of the time that the default takes, and is hardly larger."""
_TO_MILLIMETRES = {"meter": 1000.0, "micron": 0.001}


ORDERS: tuple[Literal["little", "big"], ...] = ("little", "big")


@dataclass(frozen=True, slots=True)
class Volume:
    """Voxels with their axes to the right, to the front and upwards: float32 `[x, y, z]`, and their place in space."""

    voxels: NDArray[np.float32]
    space: VolumeSpace
    not_finite: int
    """Voxels that were infinite or no number; they are 0."""


def read_nifti(data: bytes, least_side: int, most_voxels: int, path: str) -> Volume:
    """The volume of a `.nii` or `.nii.gz`. Raises InvalidInput."""
    nibabel = _library()

    if not data:
        raise InvalidInput(path, "is empty; expected a NIfTI-1 file")
    file: io.BufferedIOBase = io.BytesIO(data)
    if data.startswith(GZIP_MAGIC):
        file = gzip.GzipFile(fileobj=file)
    header = _header(_read(file, FIRST_VOXEL, path, OTHER_BYTES), path)
    shape = _shape(header, least_side, most_voxels, path)
    dtype = _dtype(header, path)
    offset = float(header["vox_offset"])
    if not FIRST_VOXEL <= offset <= FIRST_VOXEL + MOST_EXTENSION_BYTES or offset != int(offset):
        most = FIRST_VOXEL + MOST_EXTENSION_BYTES
        raise InvalidInput(
            path, f"expected voxels from byte {FIRST_VOXEL} to {most:,} on, got {offset:g} in its header"
        )
    affine = _affine(header, path)
    count = math.prod(shape)
    _read(file, int(offset) - FIRST_VOXEL, path)
    raw = _read(file, count * dtype.itemsize, path)
    array = np.frombuffer(raw, dtype).reshape(shape, order="F")
    with np.errstate(over="ignore", invalid="ignore"):
        voxels = array.astype(np.float32)
        if (scaling := _scaling(header, path)) is not None:
            voxels = voxels * np.float32(scaling[0]) + np.float32(scaling[1])
    finite = np.isfinite(voxels)
    broken = count - int(np.count_nonzero(finite))
    if broken:
        voxels[~finite] = 0.0
    if voxels.min() == voxels.max():
        raise InvalidInput(path, f"expected an image, and every voxel is {voxels.flat[0]:g}")
    orientation = nibabel.orientations.io_orientation(affine)
    turned = nibabel.orientations.apply_orientation(voxels, orientation)
    unit = _TO_MILLIMETRES.get(header.get_xyzt_units()[0], 1.0)
    return Volume(np.ascontiguousarray(turned), VolumeSpace(affine, orientation, unit), broken)


def write_nifti(mask: NDArray[np.uint8], space: VolumeSpace) -> bytes:
    """A `.nii.gz` of numbers in the file's own axes, in the same place."""
    nibabel = _library()

    image = nibabel.Nifti1Image(mask, space.affine)
    image.header.set_xyzt_units({1000.0: "meter", 0.001: "micron"}.get(space.millimetres, "mm"))
    image.set_qform(space.affine, code="aligned")
    return gzip.compress(image.to_bytes(), COMPRESSION, mtime=0)


def to_file_axes(array: NDArray[Any], space: VolumeSpace) -> NDArray[Any]:
    """An array with axes to the right, to the front and upwards → in the axes of the file."""
    nibabel = _library()

    upright = np.array([[0, 1], [1, 1], [2, 1]])
    back = nibabel.orientations.ornt_transform(upright, space.orientation)
    return np.asarray(nibabel.orientations.apply_orientation(array, back))


def _read(file: io.BufferedIOBase, count: int, path: str, short: str = "") -> bytes:
    """The next bytes, unpacked. Raises InvalidInput, by the words of `short`, where the file ends before."""
    try:
        data = file.read(count)
    except (OSError, EOFError, zlib.error):
        raise InvalidInput(path, "its gzip stream is damaged or cut off") from None
    if len(data) < count:
        raise InvalidInput(
            path, short or f"is cut off: expected {count:,} further bytes by its header, got {len(data):,}"
        )
    return data


def _header(block: bytes, path: str) -> Any:
    nibabel = _library()

    sizes = {int.from_bytes(block[:4], order): order for order in ORDERS}
    if 540 in sizes:
        raise InvalidInput(path, "expected a NIfTI-1 file, got NIfTI-2")
    magic = block[344:347]
    if HEADER_BYTES not in sizes or magic not in (SINGLE_FILE, FILE_PAIR):
        raise InvalidInput(path, OTHER_BYTES)
    if magic == FILE_PAIR:
        raise InvalidInput(path, "expected a NIfTI-1 file, got the header of a pair (.hdr and .img)")
    return nibabel.Nifti1Header(block[:HEADER_BYTES], endianness=sizes[HEADER_BYTES], check=False)


def _shape(header: Any, least_side: int, most_voxels: int, path: str) -> tuple[int, int, int]:
    sizes = [int(size) for size in header["dim"]]
    axes = sizes[0]
    if not 1 <= axes <= 7:
        raise InvalidInput(path, f"expected three dimensions, got {axes} in its header")
    shape = sizes[1 : axes + 1]
    if axes < 3 or any(size != 1 for size in shape[3:]):
        raise InvalidInput(path, f"expected a volume of three dimensions, got {' × '.join(map(str, shape))}")
    x, y, z = shape[:3]
    if min(x, y, z) < least_side:
        raise InvalidInput(path, f"expected at least {least_side} voxels on each axis, got {x} × {y} × {z}")
    if x * y * z > most_voxels:
        raise InvalidInput(path, f"expected at most {most_voxels:,} voxels, got {x:,} × {y:,} × {z:,}")
    return x, y, z


def _dtype(header: Any, path: str) -> np.dtype[Any]:
    try:
        dtype: np.dtype[Any] = header.get_data_dtype()
    except Exception:  # a code that the format does not have
        raise InvalidInput(path, f"its header has the unknown datatype {int(header['datatype'])}") from None
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        code = {128: "RGB", 2304: "RGBA", 32: "complex", 1792: "complex", 2048: "complex"}.get(int(header["datatype"]))
        raise InvalidInput(path, f"expected voxels that are numbers of up to 64 bits, got {code or dtype}")
    return dtype


def _affine(header: Any, path: str) -> NDArray[np.float64]:
    """From voxels to millimetres."""
    try:
        with np.errstate(invalid="ignore", over="ignore"):
            affine = np.asarray(header.get_best_affine(), np.float64)
    except Exception:  # of a quaternion that is no rotation
        raise InvalidInput(path, "its affine is no rotation: the quaternion of its header is longer than 1") from None
    if not np.isfinite(affine).all():
        raise InvalidInput(path, "its affine has numbers that are not finite")
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    if not (lengths > 0).all() or abs(np.linalg.det(affine[:3, :3] / lengths)) < LEAST_DETERMINANT:
        raise InvalidInput(path, "its affine is singular: the three axes of its voxels do not span a space")
    return affine


def _scaling(header: Any, path: str) -> tuple[float, float] | None:
    """Slope and intercept of the stored numbers; None where they are the voxels themselves."""
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    if slope == 0 or math.isnan(slope):
        return None
    if not math.isfinite(slope) or not math.isfinite(intercept):
        raise InvalidInput(path, f"expected a finite scaling of its voxels, got {slope:g} and {intercept:g}")
    return slope, intercept


def _library() -> Any:
    """nibabel, whose functions are untyped. Imported late: a server without volumes does not need it."""
    import nibabel

    return nibabel
