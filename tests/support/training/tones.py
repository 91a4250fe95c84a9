"""Seeded sounds as data sets: tones among noise, whose pitch is their class."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence

import numpy as np
import soundfile

RATE = 16_000
PITCHES: Mapping[str, float] = {"low": 220.0, "high": 1760.0}
"""Hertz of each class."""
FORMATS = ("wav", "flac", "ogg")


def tone(hertz: float, seconds: float, seed: int) -> np.ndarray:
    """A tone at a random phase and loudness, with a little noise: float32 `[n]` at `RATE`."""
    random = np.random.default_rng(seed)
    times = np.arange(int(seconds * RATE)) / RATE
    wave = random.uniform(0.2, 0.6) * np.sin(2 * np.pi * (hertz * times + random.random()))
    return (wave + 0.02 * random.standard_normal(len(times))).astype(np.float32)


def encoded(samples: np.ndarray, form: str = "wav") -> bytes:
    """A file of one of `FORMATS`."""
    file = io.BytesIO()
    soundfile.write(file, samples, RATE, format=form.upper())
    return file.getvalue()


def tones_zip(
    count: int, seed: int = 0, classes: Sequence[str] = tuple(PITCHES), more: Mapping[str, bytes] | None = None
) -> bytes:
    """An archive with a folder for each class and `count` sounds of 0.2 to 1 seconds in it, in all formats in turn.

    `more`: further files by path.
    """
    random = np.random.default_rng(seed)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name in classes:
            for i in range(count):
                form = FORMATS[i % len(FORMATS)]
                hertz, number = PITCHES[name] * random.uniform(0.94, 1.06), int(random.integers(2**31))
                archive.writestr(f"{name}/{i:03}.{form}", encoded(tone(hertz, random.uniform(0.2, 1.0), number), form))
        for path, data in (more or {}).items():
            archive.writestr(path, data)
    return packed.getvalue()
