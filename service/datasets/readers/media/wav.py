"""Corrects the lengths in WAV headers: programs that write into a pipe do not know the length, and write 0 or the maximum."""

from __future__ import annotations

from typing import Final

FORMS: Final = (b"RIFF", b"RF64")
ENDLESS: Final = 0xFFFFFFFF
LARGEST: Final = 0xFFFF0000


def with_actual_sizes(data: bytes) -> bytes:
    """A WAV whose header gives the actual number of bytes; any other data unchanged."""
    if data[:4] not in FORMS or data[8:12] != b"WAVE":
        return data
    at, sizes = 12, 0
    while at + 8 <= len(data):
        name, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        if name == b"data":
            return _with_size(data, at, size, sizes)
        if name == b"ds64":
            sizes = at
        at += 8 + size + size % 2
    return data


def _with_size(data: bytes, at: int, size: int, sizes: int) -> bytes:
    """`at`: position of the chunk of samples; `sizes`: of the chunk with 64-bit sizes, 0 if there is none."""
    here = len(data) - at - 8
    if data[:4] == b"RF64" and size == ENDLESS and sizes and len(data) >= sizes + 24:
        size = int.from_bytes(data[sizes + 16 : sizes + 24], "little")
    if 0 < size <= here or (size == 0 and _only_chunks(data, at + 8)):
        return data
    fixed = bytearray(data)
    fixed[:4] = b"RIFF"  # the actual size fits into 32 bits
    fixed[4:8] = min(len(data) - 8, LARGEST).to_bytes(4, "little")
    fixed[at + 4 : at + 8] = min(here, LARGEST).to_bytes(4, "little")
    if sizes:
        fixed[sizes : sizes + 4] = b"JUNK"
    return bytes(fixed)


def _only_chunks(data: bytes, at: int) -> bool:
    """Whether only complete chunks follow, so that there are really no samples."""
    while at + 8 <= len(data):
        if not data[at : at + 4].isalnum() and not data[at : at + 4].strip().isalnum():
            return False
        at += 8 + int.from_bytes(data[at + 4 : at + 8], "little")
        at += at % 2
    return at >= len(data) and at <= len(data) + 1
