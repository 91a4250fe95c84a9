"""One judgement on sounds: what upload accepts, a job learns from and a served model answers.

A sound is the samples that are there: headers that were written into a pipe, before anybody knew a length, are not believed.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from typing import Final

import numpy as np
import soundfile
from numpy.typing import NDArray

from service.datasets.wav import honest

FORMATS: Final = frozenset({"WAV", "WAVEX", "RF64", "FLAC", "OGG"})
MOST_HERTZ: Final = 192_000

LOUDEST: Final = 2.0**32
"""Of samples in floating point, of which 1 is full scale: whole numbers of 32 bits are taken, and no power of them overflows."""
BLOCK: Final = 1 << 16
"""Numbers, of all channels together."""
NO_LENGTH: Final = 1 << 62
"""Frames that libsndfile says there are where a file does not tell."""
FLOATS: Final = ("FLOAT", "DOUBLE")


class NotASound(Exception):
    """No file that is taken."""

    def __init__(self, form: str) -> None:
        super().__init__(form)
        self.form = form
        """What libsndfile takes it for; empty where it is nothing that it knows."""


class DamagedSound(Exception):
    """Breaks off before the end that it tells of, or cannot be decoded at all."""


class BadSamples(Exception):
    """NaN, infinity, or numbers that are no sound."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem


class LongSound(Exception):
    """Longer than is taken."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds


class _Forward(soundfile.SoundFile):  # type: ignore[misc]
    """Read from its beginning to its end: libsndfile cannot seek in all that it can read."""

    def seekable(self) -> bool:
        """Never: soundfile would seek after each block."""
        return False


class Sound:
    """An encoded sound, opened."""

    def __init__(self, data: bytes) -> None:
        """Raises NotASound."""
        try:
            self._file = _Forward(io.BytesIO(honest(data)))
        except Exception:  # libsndfile's errors are many; none of their texts is for a caller
            raise NotASound("") from None
        if self._file.format not in FORMATS:
            form = self._file.format
            self._file.close()
            raise NotASound(form)
        self.rate = int(self._file.samplerate)
        """Hertz."""
        self.channels = int(self._file.channels)

    def __enter__(self) -> Sound:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def mono(self, max_seconds: float) -> Iterator[NDArray[np.float32]]:
        """Blocks of samples `[n]`, the mean of all channels; no more than one sample beyond the limit.

        Raises LongSound, DamagedSound, BadSamples.
        """
        most = int(max_seconds * self.rate)
        told = self._file.frames if 0 < self._file.frames < NO_LENGTH else 0
        block = np.empty((max(1, BLOCK // self.channels), self.channels), np.float32)
        wide = self._file.subtype in FLOATS
        done = 0
        while done <= most:
            try:
                came = self._file.read(out=block[: most + 1 - done])
            except Exception:
                raise DamagedSound from None
            if not len(came):
                break
            if wide:
                check_samples(came, self.rate, done)
            done += len(came)
            yield came.mean(axis=1, dtype=np.float32) if self.channels > 1 else came[:, 0].copy()
        if done > most:
            raise LongSound(max(done, told) / self.rate)
        if done < told and self._file.format == "FLAC":  # the others' headers tell what a file holds, or nothing at all
            raise DamagedSound


def check_samples(samples: NDArray[np.float32], rate: int, before: int = 0) -> None:
    """Raises BadSamples where there is one, `[n]` or `[n, channels]`, that no sound has. `before`: frames that came earlier."""
    if not samples.size:
        return
    least, most = float(samples.min()), float(samples.max())  # NaN if any is
    if least >= -LOUDEST and most <= LOUDEST:
        return
    bad = ~(np.abs(samples) <= LOUDEST)
    at = int(np.flatnonzero(bad.any(axis=1) if bad.ndim > 1 else bad)[0])
    value = samples[at][bad[at]][0] if bad.ndim > 1 else samples[at]
    where = f"at {(before + at) / rate:.3f} seconds"
    if math.isfinite(value):
        raise BadSamples(f"expected samples between -1 and 1, got {value:.3g} {where}")
    raise BadSamples(f"expected finite samples, got {'NaN' if math.isnan(value) else 'infinity'} {where}")
