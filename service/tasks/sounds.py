"""Encoded sounds → mono samples at the rate of a model."""

from __future__ import annotations

import io

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from service.errors import InvalidInput
from service.tasks.base import Task, reject_kind
from service.types import AudioInstance, Instance, SamplesInstance

FORMATS = frozenset({"WAV", "WAVEX", "RF64", "FLAC", "OGG"})
MAX_RATE = 192_000
BLOCK = 1 << 16


def mono_samples(task: Task, instance: Instance, path: str, wanted: int, max_seconds: float) -> NDArray[np.float32]:
    """A sound instance → mono float32 `[n]` in -1..1 at `wanted` hertz. Raises InvalidInput."""
    if isinstance(instance, AudioInstance):
        samples, rate = decode_audio(instance.data, max_seconds, path)
    elif isinstance(instance, SamplesInstance):
        samples, rate = instance.samples, instance.sample_rate
    else:
        raise reject_kind(task, instance, path)
    if not 1 <= rate <= MAX_RATE:
        raise InvalidInput(f"{path}.sample_rate_hertz", f"expected 1 to {MAX_RATE:,}, got {rate:,}")
    if not len(samples):
        raise InvalidInput(path, "has no samples; expected at least one")
    if len(samples) / rate > max_seconds:
        took = f"{len(samples) / rate:.0f} seconds"
        raise InvalidInput(path, f"expected at most {max_seconds:g} seconds of sound, got {took}")
    if rate != wanted:
        samples = soxr.resample(samples, rate, wanted).astype(np.float32, copy=False)
    if not len(samples):
        raise InvalidInput(path, "is too short to hold a sample at the model's rate")
    return samples


def decode_audio(data: bytes, max_seconds: float, path: str) -> tuple[NDArray[np.float32], int]:
    """Encoded bytes → mono float32 samples `[n]` in -1..1 and their rate in hertz. Raises InvalidInput."""
    if not data:
        raise InvalidInput(path, "is empty; expected a WAV, FLAC or OGG file")
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as sound:
            if sound.format not in FORMATS:
                raise InvalidInput(path, f"expected a WAV, FLAC or OGG file, got {sound.format}")
            if not sound.samplerate <= MAX_RATE:
                raise InvalidInput(path, f"expected at most {MAX_RATE:,} samples a second, got {sound.samplerate:,}")
            # A small file of silence can unpack to gigabytes: block by block to mono, and no more than one over the limit
            # (the header is not trusted; the length is checked on what came).
            most = int(max_seconds * sound.samplerate) + 1
            blocks = sound.blocks(blocksize=BLOCK, frames=most, dtype="float32", always_2d=True)
            mono = [block.mean(axis=1, dtype=np.float32) for block in blocks]
            return np.concatenate(mono) if mono else np.zeros(0, np.float32), int(sound.samplerate)
    except InvalidInput:
        raise
    except Exception:  # libsndfile's errors are many; none of their texts is for the caller
        raise InvalidInput(path, "expected a WAV, FLAC or OGG file, got something else or a damaged one") from None
