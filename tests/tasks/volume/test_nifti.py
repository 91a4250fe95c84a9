"""Files of volumes: read in any orientation and number format, written back in their own; damaged ones are refused by name."""

from __future__ import annotations

import gzip
import struct
from typing import Any

import nibabel
import numpy as np
import pytest

from model_zoo.golden.golden_case import golden_path
from service.errors import InvalidInput
from service.tasks.volume.nifti import read_nifti, to_file_axes, write_nifti

PACKED = golden_path("head.nii.gz").read_bytes()
PLAIN = gzip.decompress(PACKED)
NUMBERS = np.random.default_rng(0).integers(0, 1000, (20, 24, 22)).astype(np.int16)
MOST = 50_000


def made(voxels: Any, affine: Any = None) -> bytes:
    image: Any = nibabel.Nifti1Image(voxels, np.eye(4) if affine is None else affine)
    return bytes(image.to_bytes())


def changed(place: int, form: str, *values: float) -> bytes:
    """The head with other values in its header."""
    data = struct.pack(form, *values)
    return PLAIN[:place] + data + PLAIN[place + len(data) :]


def read(data: bytes) -> Any:
    return read_nifti(data, 16, MOST * 2, "instances[0]")


def test_axes_turn_upright_and_back() -> None:
    # Voxels of the file go downwards, to the left and to the back.
    affine = np.array([[0.0, -2, 0, 9], [0, 0, -3, 8], [-1, 0, 0, 7], [0, 0, 0, 1]])
    volume = read(made(NUMBERS, affine))
    np.testing.assert_array_equal(volume.voxels, NUMBERS.transpose(1, 2, 0)[::-1, ::-1, ::-1])
    mask = (volume.voxels > 500).astype(np.uint8)
    written = write_nifti(np.ascontiguousarray(to_file_axes(mask, volume.space)), volume.space)
    back: Any = nibabel.Nifti1Image.from_bytes(gzip.decompress(written))
    np.testing.assert_array_equal(back.affine, affine)
    np.testing.assert_array_equal(np.asarray(back.dataobj), NUMBERS > 500)
    assert back.get_data_dtype() == np.uint8


def test_numbers_are_those_of_nibabel_in_any_format() -> None:
    scaled = bytearray(made(NUMBERS))
    scaled[112:120] = struct.pack("<2f", 0.5, -3.0)  # slope and intercept
    swapped: Any = nibabel.Nifti1Image(NUMBERS, np.eye(4), nibabel.Nifti1Header(endianness=">"))  # type: ignore[no-untyped-call]
    for data in (bytes(scaled), swapped.to_bytes(), made(NUMBERS[..., None]), made(NUMBERS.astype(np.float64)), PLAIN):
        image: Any = nibabel.as_closest_canonical(nibabel.Nifti1Image.from_bytes(data))
        expected = image.get_fdata(dtype=np.float32)
        np.testing.assert_array_equal(read(data).voxels, expected.reshape(expected.shape[:3]))
    np.testing.assert_array_equal(read(PACKED).voxels, read(PLAIN).voxels)


def test_voxels_that_are_no_numbers_become_zero_and_are_counted() -> None:
    voxels = NUMBERS.astype(np.float32)
    voxels[0, 0, :3] = np.nan, np.inf, -np.inf
    volume = read(made(voxels))
    assert volume.not_finite == 3
    assert volume.voxels[0, 0, :3].tolist() == [0, 0, 0]


BAD = {
    "empty": (b"", "is empty"),
    "text": (b"no volume at all " * 30, "expected a NIfTI-1 file"),
    "four dimensions": (made(np.zeros((20, 20, 20, 3), np.int16)), "three dimensions, got 20 × 20 × 20 × 3"),
    "two dimensions": (made(np.zeros((20, 20), np.int16)), "three dimensions, got 20 × 20"),
    "no dimensions": (changed(40, "<h", 99), "got 99 in its header"),
    "few voxels": (made(np.zeros((20, 20, 3), np.int16)), "at least 16 voxels on each axis, got 20 × 20 × 3"),
    "negative dimensions": (changed(40, "<4h", 3, -40, 48, 44), "at least 16 voxels on each axis, got -40 × 48 × 44"),
    "huge dimensions": (
        changed(40, "<4h", 3, 32767, 32767, 32767),
        "at most 100,000 voxels, got 32,767 × 32,767 × 32,767",
    ),
    "affine with NaN": (changed(280, "<f", float("nan")), "its affine has numbers that are not finite"),
    "singular affine": (changed(280, "<12f", 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0), "its affine is singular"),
    "quaternion": (changed(252, "<5h", 1, 0, 0, 0, 0)[:256] + struct.pack("<3f", 5, 5, 5) + PLAIN[268:], "quaternion"),
    "cut off": (PLAIN[:-1000], "is cut off: expected 84,480 further bytes by its header, got 83,480"),
    "gzip cut off": (PACKED[:-300], "gzip stream is damaged or cut off"),
    "gzip bomb": (gzip.compress(changed(40, "<4h", 3, 1000, 1000, 1000) + bytes(1 << 24)), "at most 100,000 voxels"),
    "one value": (made(np.full((20, 20, 20), 7, np.int16)), "every voxel is 7"),
    "no numbers": (made(np.full((20, 20, 20), np.nan, np.float32)), "every voxel is 0"),
    "RGB": (made(np.zeros((20, 20, 20), [("R", "u1"), ("G", "u1"), ("B", "u1")])), "got RGB"),
    "complex": (made(np.zeros((20, 20, 20), np.complex64)), "got complex"),
    "unknown datatype": (changed(70, "<h", 12345), "unknown datatype 12345"),
    "infinite scaling": (changed(112, "<f", float("inf")), "a finite scaling"),
    "voxels far away": (changed(108, "<f", 1e9), "expected voxels from byte 352"),
    "voxels nowhere": (changed(108, "<f", float("nan")), "expected voxels from byte 352"),
}


@pytest.mark.parametrize("kind", BAD)
def test_file_that_holds_no_volume_is_refused(kind: str) -> None:
    data, problem = BAD[kind]
    with pytest.raises(InvalidInput) as refusal:
        read(data)
    assert refusal.value.field == "instances[0]"
    assert problem in str(refusal.value)
