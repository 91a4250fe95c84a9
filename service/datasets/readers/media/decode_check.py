"""Checks that an image or sound can be used: decodes all of it, with little memory, as training and serving do."""

from __future__ import annotations

from pathlib import Path

from service.datasets.dataset_limits import MIB, DatasetLimits
from service.datasets.readers.media.images import (
    DamagedImage,
    ImageTooLarge,
    UnsupportedImage,
    load_image,
    to_rgb,
)
from service.datasets.readers.tables.sniffing import LFS_POINTER, LFS_POINTER_PROBLEM

FINEST = 1
"""Pixels of the shorter side: a JPEG is decoded at its smallest scale, which is as strict and much faster."""


def check_image(path: Path, limits: DatasetLimits) -> tuple[bytes, str]:
    """(content, "") of an image, or (b"", what is wrong with it)."""
    if problem := _check_size(path, limits):
        return b"", problem
    data = path.read_bytes()
    try:
        picture = load_image(data, limits.pixels, FINEST)
        to_rgb(picture.image.crop((0, 0, 1, 1)))
    except ImageTooLarge as large:
        return b"", f"is {large.width} × {large.height} pixels; at most {limits.pixels} are taken"
    except UnsupportedImage as other:
        if other.form:
            return b"", f"is a picture of format {other.form}; convert it to JPEG, PNG or WebP"
        return b"", _pointer(data) or "is no JPEG, PNG or WebP picture"
    except DamagedImage:
        return b"", "is a broken or cut off picture"
    return data, ""


def check_audio(path: Path, limits: DatasetLimits) -> tuple[bytes, str]:
    """(content, "") of a sound, or (b"", what is wrong with it)."""
    from service.datasets.readers.media import audio  # loads libsndfile only for sounds

    if problem := _check_size(path, limits):
        return b"", problem
    data = path.read_bytes()
    try:
        with audio.AudioDecoder(data) as sound:
            if not 1 <= sound.rate <= audio.MAX_SAMPLE_RATE:
                return b"", f"has {sound.rate} samples a second; at most {audio.MAX_SAMPLE_RATE} are taken"
            frames = sum(map(len, sound.mono(limits.audio_seconds)))
    except audio.UnsupportedAudio as other:
        if form := other.form or audio.audio_format(data):
            return b"", f"is a sound of format {form}; convert it to WAV, FLAC or OGG"
        return b"", _pointer(data) or "is no WAV, FLAC or OGG sound, or it is broken"
    except audio.DamagedAudio:
        return b"", "is a broken or cut off sound"
    except audio.AudioTooLong:
        return b"", f"is longer than {limits.audio_seconds:g} seconds"
    except audio.InvalidSamples as bad:
        return b"", bad.problem
    if frames:
        return data, ""
    return b"", "is a cut off sound" if audio.is_cut_off(data) else "holds no sound"


def _pointer(data: bytes) -> str:
    return f"is {LFS_POINTER_PROBLEM}" if data.startswith(LFS_POINTER) else ""


def _check_size(path: Path, limits: DatasetLimits) -> str:
    size = path.stat().st_size
    if not size:
        return "is empty"
    if size > limits.file_bytes:
        most = limits.file_bytes / MIB
        return f"is larger than {most:g} MiB"
    return ""
