"""Whether a picture or sound can be used: decoded whole, at little memory, so that a job meets no surprise."""

from __future__ import annotations

import warnings
from pathlib import Path

import soundfile
from PIL import Image, UnidentifiedImageError

from service.datasets.limits import MIB, Limits

FORMATS = ("JPEG", "PNG", "WEBP")
"""As callers of a served model may send them."""
FRAMES = 1 << 16

Image.MAX_IMAGE_PIXELS = None  # the limit below is checked before anything is decoded
warnings.filterwarnings("ignore", module=r"PIL\.")


def check_picture(path: Path, limits: Limits) -> str:
    """What is wrong with a picture; empty where nothing is."""
    if problem := _check_size(path, limits):
        return problem
    try:
        with Image.open(path, formats=FORMATS) as image:
            width, height = image.size
            if width * height > limits.pixels:
                return f"is {width} × {height} pixels; at most {limits.pixels} are taken"
            image.draft("RGB", (width // 8 or 1, height // 8 or 1))  # a JPEG is decoded smaller: as strict, much faster
            image.load()
    except UnidentifiedImageError:
        return "is no JPEG, PNG or WebP picture"
    except Exception:  # Pillow's readers raise whatever comes up on broken files
        return "is a broken or cut off picture"
    return ""


def check_sound(path: Path, limits: Limits) -> str:
    """What is wrong with a sound; empty where nothing is."""
    if problem := _check_size(path, limits):
        return problem
    try:
        with soundfile.SoundFile(path) as sound:
            if sound.frames > limits.audio_seconds * sound.samplerate:
                return f"is longer than {limits.audio_seconds:g} seconds"
            if sound.channels > 16:
                return f"has {sound.channels} channels; at most 16 are taken"
            frames = sum(len(block) for block in sound.blocks(FRAMES, dtype="float32"))
    except (soundfile.SoundFileError, RuntimeError, ValueError, OSError):
        return "is no WAV, FLAC or OGG sound, or it is broken"
    return "" if frames else "holds no sound"


def _check_size(path: Path, limits: Limits) -> str:
    size = path.stat().st_size
    if not size:
        return "is empty"
    return f"is larger than {limits.file_bytes // MIB} MiB" if size > limits.file_bytes else ""
