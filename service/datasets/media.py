"""Whether a picture or sound can be used: decoded whole, at little memory, so that a job meets no surprise."""

from __future__ import annotations

import warnings
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from service.datasets.limits import MIB, Limits

FORMATS = ("JPEG", "PNG", "WEBP")
"""As callers of a served model may send them."""
SOUND_FORMATS = ("WAV", "WAVEX", "RF64", "FLAC", "OGG")
MOST_HERTZ = 192_000
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
    except MemoryError:
        raise
    except UnidentifiedImageError:
        return "is no JPEG, PNG or WebP picture"
    except Exception:  # Pillow's readers raise whatever comes up on broken files
        return "is a broken or cut off picture"
    return ""


def check_sound(path: Path, limits: Limits) -> str:
    """What is wrong with a sound; empty where nothing is."""
    import soundfile  # only where there are sounds

    if problem := _check_size(path, limits):
        return problem
    try:
        with soundfile.SoundFile(path) as sound:
            if sound.format not in SOUND_FORMATS:
                return f"is no WAV, FLAC or OGG sound, but {sound.format}"
            if sound.samplerate > MOST_HERTZ:
                return f"has {sound.samplerate} samples a second; at most {MOST_HERTZ} are taken"
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
