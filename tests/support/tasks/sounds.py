"""Sounds in many encodings."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr

Samples = np.ndarray[Any, np.dtype[np.float32]]


def encoded(samples: Any, rate: int, kind: str, subtype: str | None = None) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=kind, subtype=subtype)
    return buffer.getvalue()


def speech(path: Path, name: str = "speech.flac") -> Samples:
    """Real speech, 16 kHz mono."""
    samples, rate = soundfile.read(path / name, dtype="float32")
    assert rate == 16_000
    return samples  # type: ignore[no-any-return]


def at_rate(samples: Samples, rate: int) -> Samples:
    return soxr.resample(samples, 16_000, rate).astype(np.float32)  # type: ignore[no-any-return]
