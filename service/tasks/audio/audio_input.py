"""Encoded sounds → mono samples at the rate of the model."""

from __future__ import annotations

import numpy as np
import soxr
from numpy.typing import NDArray

from model_zoo.cards.card import Card
from service.datasets.formatting import rounded_above
from service.datasets.readers.media.audio import (
    MAX_SAMPLE_RATE,
    AudioDecoder,
    AudioTooLong,
    DamagedAudio,
    InvalidSamples,
    UnsupportedAudio,
    check_samples,
)
from service.errors import InvalidInput
from service.tasks.instances import reject_kind
from service.types import AudioInstance, Instance, SamplesInstance


def mono_samples(
    card: Card, instance: Instance, path: str, target_rate: int, max_seconds: float
) -> NDArray[np.float32]:
    """A sound instance → mono float32 `[n]` in -1..1 at `target_rate` hertz. Raises InvalidInput."""
    if isinstance(instance, AudioInstance):
        samples, rate = decode_audio(instance.data, max_seconds, path)
    elif isinstance(instance, SamplesInstance):
        samples, rate = instance.samples, instance.sample_rate
        if rate >= 1:
            refuse_bad_samples(samples, rate, path)
    else:
        raise reject_kind(card, instance, path)
    if not 1 <= rate <= MAX_SAMPLE_RATE:
        raise InvalidInput(f"{path}.sample_rate_hertz", f"expected 1 to {MAX_SAMPLE_RATE:,}, got {rate:,}")
    if not len(samples):
        raise InvalidInput(path, "has no samples; expected at least one")
    if len(samples) / rate > max_seconds:
        raise too_long_error(path, max_seconds, len(samples) / rate)
    if rate != target_rate:
        samples = soxr.resample(samples, rate, target_rate).astype(np.float32, copy=False)
    if not len(samples):
        raise InvalidInput(path, "is too short to hold a sample at the model's rate")
    return samples


def decode_audio(data: bytes, max_seconds: float, path: str) -> tuple[NDArray[np.float32], int]:
    """Encoded bytes → mono float32 samples `[n]` in -1..1 and their rate in hertz. Raises InvalidInput."""
    if not data:
        raise InvalidInput(path, "is empty; expected a WAV, FLAC or OGG file")
    try:
        with AudioDecoder(data) as sound:
            if not 1 <= sound.rate <= MAX_SAMPLE_RATE:
                raise InvalidInput(path, f"expected at most {MAX_SAMPLE_RATE:,} samples a second, got {sound.rate:,}")
            # A small file of silence can unpack to gigabytes, so it is read block by block to mono, up to the limit.
            mono = list(sound.mono(max_seconds))
            return np.concatenate(mono) if mono else np.zeros(0, np.float32), sound.rate
    except UnsupportedAudio as other:
        if other.form:
            raise InvalidInput(path, f"expected a WAV, FLAC or OGG file, got {other.form}") from None
    except DamagedAudio:
        pass
    except AudioTooLong as long:
        raise too_long_error(path, max_seconds, long.seconds) from None
    except InvalidSamples as bad:
        raise InvalidInput(path, bad.problem) from None
    raise InvalidInput(path, "expected a WAV, FLAC or OGG file, got something else or a damaged one")


def too_long_error(path: str, max_seconds: float, seconds: float) -> InvalidInput:
    """The error for a sound that is too long. Its two numbers always differ, even for a small excess."""
    return InvalidInput(
        path, f"expected at most {max_seconds:g} seconds of sound, got {rounded_above(seconds, max_seconds)}"
    )


def refuse_bad_samples(samples: NDArray[np.float32], rate: int, path: str) -> None:
    """Raises InvalidInput for NaN and infinity, which would make every later output of a recurrent network NaN."""
    try:
        check_samples(samples, rate)
    except InvalidSamples as bad:
        raise InvalidInput(path, bad.problem) from None
