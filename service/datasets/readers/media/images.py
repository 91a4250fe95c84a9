"""One judgement on pictures: what upload accepts, a job learns from and a served model answers.

The decoder never sees what a JPEG tells beside its pixels: a broken EXIF entry must not cost whole pixels, and entries that
repeat can make a reader of them take gigabytes. PNG and WebP come as they are, and without such notes where that fails.
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
"""A JPEG that holds it has marks behind which it can be read on."""
NOISE: Final = bytes((5 * i * i + 77 * i + 31) % 251 for i in range(1 << 12))
"""No end of a picture: bits that are missing would be read from it."""

# The callers' own bound is checked on the header, before any pixel is decoded; Pillow's global one would only warn first.
Image.MAX_IMAGE_PIXELS = None
# Pillow remarks on odd metadata; nobody has a use for it. Once and for all, since `catch_warnings` is not safe between threads.
warnings.filterwarnings("ignore", module=r"PIL\.")


class UnsupportedImage(Exception):
    """Neither JPEG nor PNG nor WebP."""

    def __init__(self, form: str) -> None:
        super().__init__(form)
        self.form = form
        """What it is instead, such as `GIF`; empty where that is not known."""


class DamagedImage(Exception):
    """Pixels are missing."""


class ImageTooLarge(Exception):
    """More pixels than are taken."""

    def __init__(self, width: int, height: int) -> None:
        super().__init__(width, height)
        self.width, self.height = width, height


@dataclass(frozen=True, slots=True)
class LoadedImage:
    """A decoded picture as it is stored: not turned upright, in the mode of the file."""

    image: Image.Image
    size: tuple[int, int]
    """Width and height in full; those of `image` are smaller where it was decoded at a smaller scale."""
    orientation: int
    """As EXIF numbers it, 1 to 8; 1 where nothing is said that can be read."""


def load_image(data: bytes, max_pixels: int, shorter: int = 0) -> LoadedImage:
    """Decode a picture; the first one where it is a film. Raises NotAPicture, DamagedPicture, LargePicture.

    With `shorter`, a JPEG may come at a half, a quarter or an eighth of its size, as long as its shorter side keeps so many
    pixels: libjpeg then decodes its blocks at that scale, which averages pixels and saves most of the time. Whether a picture
    is whole does not depend on it.
    """
    form = image_format(data)
    if form not in FORMATS:
        raise UnsupportedImage(form)
    try:
        try:
            image, size = _decoded(strip_metadata(data) if form == "JPEG" else data, max_pixels, shorter)
        except (ImageTooLarge, MemoryError):
            raise
        except Exception:  # decoders raise whatever they like on damaged files: OSError, SyntaxError, struct.error …
            image, size = _decoded(_mended(data, form, max_pixels), max_pixels, shorter)
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


def _mended(data: bytes, form: str, max_pixels: int) -> bytes:
    """The same pixels without what keeps the decoder from them. Raises DamagedPicture where it is the pixels that are missing."""
    if form != "JPEG":
        return strip_metadata(data)
    data = strip_metadata(data)
    ended = data + END_OF_JPEG
    # libjpeg makes up what is missing and does not tell. So the end is moved: where bits are missing, other pixels come out.
    seal = _seal(ended, max_pixels)
    joint = b"\x00" if data.endswith(b"\xff") else b""
    tails = [joint + NOISE, joint + NOISE[::-1]]
    if RESTARTS in data[: data.find(b"\xff\xda")]:
        tails.append(_next_restart(data) + NOISE)
    if any(_seal(data + tail + END_OF_JPEG, max_pixels) != seal for tail in tails):
        raise DamagedImage
    return ended


def _next_restart(jpeg: bytes) -> bytes:
    """The mark behind which the decoder would go on, where a picture breaks off just before it."""
    last = max((jpeg.rfind(bytes((0xFF, 0xD0 + i))), i) for i in range(8))
    return bytes((0xFF, 0xD0 + (last[1] + 1) % 8 if last[0] >= 0 else 0xD0))


def _seal(data: bytes, max_pixels: int) -> int:
    image, _ = _decoded(data, max_pixels)
    return zlib.crc32(image.tobytes())


def upright_transpose(orientation: int) -> Image.Transpose | None:
    """How a picture of that orientation is turned upright; None where it is."""
    return UPRIGHT.get(orientation)


def to_rgb(image: Image.Image) -> Image.Image:
    """8 bits a channel, on white where it is transparent."""
    if image.mode.startswith("I") or image.mode == "F":  # 16 bits a pixel and more: Pillow would clip, not scale
        return Image.fromarray((np.asarray(image).astype(np.uint32) >> 8).clip(0, 255).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        return _on_white(image.convert("RGBA"))
    return image if image.mode == "RGB" else image.convert("RGB")


def _on_white(image: Image.Image) -> Image.Image:
    """What is transparent shows white, as a browser shows it: the colours stored there are nobody's, and often rubbish."""
    white = Image.new("RGB", image.size, "white")
    white.paste(image, mask=image.getchannel("A"))
    return white
