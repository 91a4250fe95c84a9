"""Decodes images in the same way for uploads, training and serving.

The decoder never sees the metadata of a JPEG: a broken EXIF entry must not make intact pixels unreadable, and repeated entries
can make a metadata reader take gigabytes. PNG and WebP are decoded as they are, and without metadata if that fails.
"""

from __future__ import annotations

import io
import warnings
import zlib
from dataclasses import dataclass
from typing import Final

import numpy as np
from PIL import Image

from service.datasets.readers.media.image_metadata import (
    UPRIGHT,
    image_format,
    metadata_of,
    orientation_of,
    strip_metadata,
)

FORMATS: Final = ("JPEG", "PNG", "WEBP")
END_OF_JPEG: Final = b"\xff\xd9"
RESTARTS: Final = b"\xff\xdd\x00\x04"
"""A JPEG with these bytes has restart markers, after which a decoder can continue."""
NOISE: Final = bytes((5 * i * i + 77 * i + 31) % 251 for i in range(1 << 12))
"""Appended instead of the end of an image: the decoder would read missing bits from it."""

SIDEWAYS: Final = (5, 6, 7, 8)
"""EXIF orientations that swap width and height."""

# Callers have limits of their own, checked on the header before any pixel is decoded; Pillow's global limit would only warn.
Image.MAX_IMAGE_PIXELS = None
# Pillow warns about odd metadata. The filter is set once, since `catch_warnings` is not thread-safe.
warnings.filterwarnings("ignore", module=r"PIL\.")


class UnsupportedImage(Exception):
    """The file is neither JPEG nor PNG nor WebP."""

    def __init__(self, form: str) -> None:
        super().__init__(form)
        self.form = form
        """Its actual format, such as `GIF`; empty if unknown."""


class DamagedImage(Exception):
    """Pixels are missing."""


class ImageTooLarge(Exception):
    """The image has more pixels than the limit."""

    def __init__(self, width: int, height: int) -> None:
        super().__init__(width, height)
        self.width, self.height = width, height


@dataclass(frozen=True, slots=True)
class LoadedImage:
    """A decoded image as it is stored: not rotated, in the mode of the file."""

    image: Image.Image
    size: tuple[int, int]
    """Full width and height; those of `image` are smaller if it was decoded at a smaller scale."""
    orientation: int
    """The EXIF orientation, 1 to 8; 1 if none can be read."""


def load_image(data: bytes, max_pixels: int, shorter: int = 0) -> LoadedImage:
    """Decode an image, or the first frame of an animation. Raises UnsupportedImage, DamagedImage, ImageTooLarge.

    With `shorter`, a JPEG may be decoded at a half, a quarter or an eighth of its size, as long as its shorter side keeps that
    many
    pixels: libjpeg then decodes its blocks at that scale, which averages pixels and saves most of the time. The scale does not
    affect whether an image counts as intact.
    """
    form = image_format(data)
    if form not in FORMATS:
        raise UnsupportedImage(form)
    try:
        try:
            image, size = _decoded(strip_metadata(data) if form == "JPEG" else data, max_pixels, shorter)
        except (ImageTooLarge, MemoryError):
            raise
        except Exception:  # decoders raise anything for damaged files: OSError, SyntaxError, struct.error …
            image, size = _decoded(_repaired(data, form, max_pixels), max_pixels, shorter)
    except (ImageTooLarge, MemoryError):
        raise
    except Exception:
        raise DamagedImage from None
    return LoadedImage(image, size, orientation_of(metadata_of(data, image.info)))


def _decoded(data: bytes, max_pixels: int, shorter: int = 0) -> tuple[Image.Image, tuple[int, int]]:
    image = Image.open(io.BytesIO(data), formats=FORMATS)
    width, height = image.size
    if width * height > max_pixels:
        raise ImageTooLarge(width, height)
    if shorter:
        image.draft(None, (width * shorter // min(width, height), height * shorter // min(width, height)))
    image.load()
    return image, (width, height)


def _repaired(data: bytes, form: str, max_pixels: int) -> bytes:
    """The same pixels without the data on which the decoder failed. Raises DamagedImage if pixels are missing."""
    if form != "JPEG":
        return strip_metadata(data)
    data = strip_metadata(data)
    ended = data + END_OF_JPEG
    # libjpeg invents missing pixels silently. So the end is replaced: if bits are missing, other pixels come out.
    checksum = _pixel_checksum(ended, max_pixels)
    joint = b"\x00" if data.endswith(b"\xff") else b""
    tails = [joint + NOISE, joint + NOISE[::-1]]
    if RESTARTS in data[: data.find(b"\xff\xda")]:
        tails.append(_next_restart(data) + NOISE)
    if any(_pixel_checksum(data + tail + END_OF_JPEG, max_pixels) != checksum for tail in tails):
        raise DamagedImage
    return ended


def _next_restart(jpeg: bytes) -> bytes:
    """The marker after which the decoder would continue, if an image ends just before it."""
    last = max((jpeg.rfind(bytes((0xFF, 0xD0 + i))), i) for i in range(8))
    return bytes((0xFF, 0xD0 + (last[1] + 1) % 8 if last[0] >= 0 else 0xD0))


def _pixel_checksum(data: bytes, max_pixels: int) -> int:
    image, _ = _decoded(data, max_pixels)
    return zlib.crc32(image.tobytes())


def upright_transpose(orientation: int) -> Image.Transpose | None:
    """The operation that turns an image of this orientation upright; None for an upright one."""
    return UPRIGHT.get(orientation)


def upright_size(data: bytes, max_pixels: int) -> tuple[int, int]:
    """Width and height of an intact image, turned upright."""
    loaded = load_image(data, max_pixels, 1)
    return loaded.size[::-1] if loaded.orientation in SIDEWAYS else loaded.size


def to_rgb(image: Image.Image) -> Image.Image:
    """8 bits per channel; transparent pixels become white."""
    if image.mode.startswith("I") or image.mode == "F":  # 16 bits per pixel and more: Pillow would clip, not scale
        return Image.fromarray((np.asarray(image).astype(np.uint32) >> 8).clip(0, 255).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        return _on_white(image.convert("RGBA"))
    return image if image.mode == "RGB" else image.convert("RGB")


def _on_white(image: Image.Image) -> Image.Image:
    """Transparent pixels become white, as in a browser; their stored colours are arbitrary."""
    white = Image.new("RGB", image.size, "white")
    white.paste(image, mask=image.getchannel("A"))
    return white
