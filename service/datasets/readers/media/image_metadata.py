"""Separates the pixels of image files from metadata without a decoder, and reads the orientation from the metadata."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, Final

from PIL.Image import Transpose

ORIENTATION: Final = 0x0112
"""The EXIF tag."""
UPRIGHT: Final = {
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}
EXIF: Final = b"Exif\x00\x00"
XMP: Final = b"http://ns.adobe.com/xap/1.0/\x00"
PNG: Final = b"\x89PNG\r\n\x1a\n"
PNG_NOTES_KEPT: Final = (b"tRNS", b"eXIf")
WEBP_PIXELS: Final = (b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF")
OTHERS: Final = (
    (b"GIF8", "GIF"),
    (b"BM", "BMP"),
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
    (b"II+\x00", "TIFF"),
    (b"MM\x00+", "TIFF"),
    (b"\x00\x00\x01\x00", "ICO"),
    (b"\x00\x00\x00\x0cjP  ", "JPEG 2000"),
    (b"\x00\x00\x00\x0cJXL ", "JPEG XL"),
    (b"\xff\x0a", "JPEG XL"),
    (b"8BPS", "Photoshop"),
    (b"%PDF", "PDF"),
    (b"<svg", "SVG"),
)
BRANDS: Final = {b"avif": "AVIF", b"avis": "AVIF", b"heic": "HEIC", b"heix": "HEIC", b"mif1": "HEIC", b"msf1": "HEIC"}
_ORIENTATION_IN_XMP: Final = re.compile(rb"tiff:Orientation(?:=\"|>)([1-8])")


def image_format(start: bytes) -> str:
    """The format of an image by its first 16 bytes; empty for an unknown one."""
    if start[:3] == b"\xff\xd8\xff":
        return "JPEG"
    if start[:8] == PNG:
        return "PNG"
    if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        return "WEBP"
    if start[4:8] == b"ftyp":
        return BRANDS.get(start[8:12], "")
    return next((form for mark, form in OTHERS if start.startswith(mark)), "")


def strip_metadata(data: bytes) -> bytes:
    """A JPEG, PNG or WebP without metadata; unchanged if its structure is broken."""
    if data[:3] == b"\xff\xd8\xff":
        return _bare_jpeg(data)
    return _bare_png(data) if data[:8] == PNG else _bare_webp(data)


def metadata_of(data: bytes, info: Mapping[Any, Any]) -> tuple[bytes, bytes]:
    """(EXIF, XMP) of an image, each empty if absent; `info` is what Pillow found in a PNG or WebP."""
    if data[:3] == b"\xff\xd8\xff":
        exif = xmp = b""
        for marker, start, stop in _segments(data):
            if marker == 0xE1 and not exif and data[start + 4 : start + 10] == EXIF:
                exif = data[start + 10 : stop]
            elif marker == 0xE1 and not xmp and data[start + 4 : start + 4 + len(XMP)] == XMP:
                xmp = data[start + 4 + len(XMP) : stop]
        return exif, xmp
    found, notes, raw = info.get("exif"), info.get("xmp"), info.get("Raw profile type exif")
    if not found and isinstance(raw, str):  # ImageMagick writes three lines, then hexadecimal digits, into a PNG
        with suppress(ValueError):
            found = bytes.fromhex("".join(raw.split("\n")[3:]))
    exif, xmp = (note if isinstance(note, bytes) else b"" for note in (found, notes))
    return exif.removeprefix(EXIF), xmp


def orientation_of(notes: tuple[bytes, bytes]) -> int:
    """1 to 8, from EXIF or else XMP; 1 if neither can be read. No other entry is read."""
    exif, xmp = notes
    found = _orientation_in(exif)
    if found is None and (match := _ORIENTATION_IN_XMP.search(xmp)):
        found = int(match[1])
    return found if found in UPRIGHT else 1


def _orientation_in(exif: bytes) -> int | None:
    """The orientation in a TIFF header with its first directory: entries of 12 bytes, a short value in the last four."""
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None or len(exif) < 10:
        return None
    (first,) = struct.unpack_from(f"{order}I", exif, 4)
    if first + 2 > len(exif):
        return None
    (count,) = struct.unpack_from(f"{order}H", exif, first)
    for at in range(first + 2, min(first + 2 + 12 * count, len(exif) - 11), 12):
        tag, kind = struct.unpack_from(f"{order}HH", exif, at)
        if tag == ORIENTATION:
            value = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i"}.get(kind)
            return int(struct.unpack_from(f"{order}{value}", exif, at + 8)[0]) if value else None
    return None


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """(marker, start, stop) of the segments of a JPEG before its first scan; the scan itself comes last, up to the end."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # fill bytes
            at += 1
            continue
        stop = at + 2 + int.from_bytes(data[at + 2 : at + 4])
        if marker == 0xDA or stop < at + 4 or stop > len(data):
            break
        yield marker, at, stop
        at = stop
    yield 0, at, len(data)


def _bare_jpeg(data: bytes) -> bytes:
    """Without comments and application segments, except JFIF and Adobe, which describe the colour space."""
    parts = [data[:2]]
    for marker, start, stop in _segments(data):
        if marker in (0xE0, 0xEE) or not (0xE0 <= marker <= 0xEF or marker == 0xFE):
            parts.append(data[start:stop])
    return b"".join(parts)


def _bare_png(data: bytes) -> bytes:
    """Only the chunks needed for the pixels, whether or not their checksums are right."""
    parts, at = [data[:8]], 8
    while at + 12 <= len(data):
        size, name = int.from_bytes(data[at : at + 4]), data[at + 4 : at + 8]
        stop = at + 12 + size
        critical = not name[0] & 0x20
        if critical or (name in PNG_NOTES_KEPT and _crc_holds(data[at + 4 : stop])):
            parts.append(data[at:stop])
        at = stop
    return b"".join(parts)


def _crc_holds(chunk: bytes) -> bool:
    return zlib.crc32(chunk[:-4]) == int.from_bytes(chunk[-4:])


def _bare_webp(data: bytes) -> bytes:
    """Only the chunks with pixels, after a corrected header."""
    parts, at = [], 12
    while at + 8 <= len(data):
        name, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        stop = at + 8 + size + size % 2
        if name == b"VP8X" and size >= 10:
            # Its flags announce metadata; only those of animation and transparency stay.
            parts.append(data[at : at + 8] + bytes([data[at + 8] & 0x12]) + data[at + 9 : stop])
        elif name in WEBP_PIXELS:
            parts.append(data[at:stop].ljust(min(stop, len(data) + size % 2) - at, b"\x00"))
        at = stop
    body = b"".join(parts)
    return b"RIFF" + (4 + len(body)).to_bytes(4, "little") + b"WEBP" + body
