"""Generated inputs: unusual images, sounds and hostile files.

As a command, `python samples.py FOLDER`, it writes all of them: the environment of the stock clients has no Pillow.
"""

from __future__ import annotations

import io
import struct
import sys
import wave
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from model_zoo.golden.golden_case import golden_path

RATE = 16_000


def cat() -> Image.Image:
    """The cat photo, decoded."""
    return Image.open(golden_path("cat.jpg")).convert("RGB")


def cat_as_cmyk() -> bytes:
    """A CMYK JPEG, as printers use it."""
    return _encoded(cat().convert("CMYK"), "JPEG", quality=95)


def cat_as_16_bit() -> bytes:
    """A grey PNG of 16 bits a pixel."""
    grey = np.asarray(cat().convert("L"), np.uint16) * 257
    return _encoded(Image.fromarray(grey), "PNG")


def cat_as_palette() -> bytes:
    """A PNG of 256 colours."""
    return _encoded(cat().quantize(256), "PNG")


def cat_lying() -> bytes:
    """A photo of a phone that was held sideways: the pixels are rotated, and EXIF gives the orientation."""
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate clockwise by 90° for display
    return _encoded(cat().transpose(Image.Transpose.ROTATE_90), "JPEG", quality=95, exif=exif)


def cat_lying_untold() -> bytes:
    """The same rotated pixels without the EXIF entry."""
    return _encoded(cat().transpose(Image.Transpose.ROTATE_90), "JPEG", quality=95)


def cat_as_webp() -> bytes:
    """A WebP image."""
    return _encoded(cat(), "WEBP", quality=95)


def cat_as_mpo() -> bytes:
    """A JPEG with a second picture behind it, as many phones write it."""
    return _encoded(cat(), "MPO", save_all=True, append_images=[cat()])


def truncated_jpeg() -> bytes:
    """The first half of the cat photo's file."""
    data = golden_path("cat.jpg").read_bytes()
    return data[: len(data) // 2]


def bomb() -> bytes:
    """A PNG of a few bytes whose header claims 60,000 × 60,000 pixels."""
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(b"\0")) + _chunk(b"IEND", b"")


def noise_samples(seconds: float = 2.0, seed: int = 0) -> np.ndarray:
    """Seeded noise, float32."""
    return (np.random.default_rng(seed).standard_normal(int(seconds * RATE)) * 0.05).astype(np.float32)


def wav(samples: np.ndarray, rate: int = RATE) -> bytes:
    """Float samples as a WAV file of 16 bits."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(rate)
        sound.writeframes((samples.clip(-1, 1) * 32767).astype("<i2").tobytes())
    return buffer.getvalue()


def aiff() -> bytes:
    """A sound in a format that is not supported."""
    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, noise_samples(0.1), RATE, format="AIFF")
    return buffer.getvalue()


def _encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def files() -> dict[str, bytes]:
    """Every sample by file name."""
    return {
        "cmyk.jpg": cat_as_cmyk(),
        "16-bit.png": cat_as_16_bit(),
        "palette.png": cat_as_palette(),
        "lying.jpg": cat_lying(),
        "lying-untold.jpg": cat_lying_untold(),
        "truncated.jpg": truncated_jpeg(),
        "bomb.png": bomb(),
        "noise.wav": wav(noise_samples()),
        "silent.wav": wav(np.zeros(0, np.float32)),
        "sound.aiff": aiff(),
    }


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files().items():
        (folder / name).write_bytes(data)
