"""Whether a picture or sound can be used: decoded whole, at little memory, as a job and a served model decode it."""

from __future__ import annotations

from pathlib import Path

from service.datasets.dataset_limits import MIB, DatasetLimits
from service.datasets.readers.media.images import (
    DamagedPicture,
    LargePicture,
    NotAPicture,
    load_picture,
    to_rgb,
)
from service.datasets.readers.tables.sniffing import A_POINTER, POINTER

FINEST = 1
"""Pixels of the shorter side, at which a JPEG is decoded as small as it can be: as strict, much faster."""


def check_picture(path: Path, limits: DatasetLimits) -> tuple[bytes, str]:
    """(content, "") of a picture, or what is wrong with it."""
    if problem := _check_size(path, limits):
        return b"", problem
    data = path.read_bytes()
    try:
        picture = load_picture(data, limits.pixels, FINEST)
        to_rgb(picture.image.crop((0, 0, 1, 1)))
    except LargePicture as large:
        return b"", f"is {large.width} × {large.height} pixels; at most {limits.pixels} are taken"
    except NotAPicture as other:
        if other.form:
            return b"", f"is a picture of format {other.form}; convert it to JPEG, PNG or WebP"
        return b"", _pointer(data) or "is no JPEG, PNG or WebP picture"
    except DamagedPicture:
        return b"", "is a broken or cut off picture"
    return data, ""


def check_sound(path: Path, limits: DatasetLimits) -> tuple[bytes, str]:
    """(content, "") of a sound, or what is wrong with it."""
    from service.datasets.readers.media import audio  # libsndfile is loaded only where there are sounds

    if problem := _check_size(path, limits):
        return b"", problem
    data = path.read_bytes()
    try:
        with audio.Sound(data) as sound:
            if not 1 <= sound.rate <= audio.MOST_HERTZ:
                return b"", f"has {sound.rate} samples a second; at most {audio.MOST_HERTZ} are taken"
            frames = sum(map(len, sound.mono(limits.audio_seconds)))
    except audio.NotASound as other:
        if form := other.form or audio.form_of(data):
            return b"", f"is a sound of format {form}; convert it to WAV, FLAC or OGG"
        return b"", _pointer(data) or "is no WAV, FLAC or OGG sound, or it is broken"
    except audio.DamagedSound:
        return b"", "is a broken or cut off sound"
    except audio.LongSound:
        return b"", f"is longer than {limits.audio_seconds:g} seconds"
    except audio.BadSamples as bad:
        return b"", bad.problem
    if frames:
        return data, ""
    return b"", "is a cut off sound" if audio.breaks_off(data) else "holds no sound"


def _pointer(data: bytes) -> str:
    return f"is {A_POINTER}" if data.startswith(POINTER) else ""


def _check_size(path: Path, limits: DatasetLimits) -> str:
    size = path.stat().st_size
    if not size:
        return "is empty"
    if size > limits.file_bytes:
        most = limits.file_bytes / MIB
        return f"is larger than {most:g} MiB"
    return ""
