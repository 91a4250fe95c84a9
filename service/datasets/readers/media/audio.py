"""Decodes sounds in the same way for uploads, training and serving.

The length of a sound is that of its samples: a header written into a pipe, before the length was known, is not trusted.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from typing import Final

import numpy as np
import soundfile
from numpy.typing import NDArray

from service.datasets.readers.media.wav import with_actual_sizes

FORMATS: Final = frozenset({"WAV", "WAVEX", "RF64", "FLAC", "OGG"})
MAX_SAMPLE_RATE: Final = 192_000

MAX_AMPLITUDE: Final = 2.0**32
"""Limit of floating-point samples, where 1 is full scale: 32-bit integers are accepted, and no power spectrum overflows."""
BLOCK: Final = 1 << 16
"""Samples in one block, of all channels together."""
NO_LENGTH: Final = 1 << 62
"""The number of frames that libsndfile gives for a file without a length."""
FLOATS: Final = ("FLOAT", "DOUBLE")


class UnsupportedAudio(Exception):
    """The file has no supported format."""

    def __init__(self, form: str) -> None:
        super().__init__(form)
        self.form = form
        """The format that libsndfile detects; empty for an unknown one."""


class DamagedAudio(Exception):
    """The sound ends before its announced end, or cannot be decoded at all."""


class InvalidSamples(Exception):
    """A sample is NaN, infinite, or far too large."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem


class AudioTooLong(Exception):
    """The sound is longer than the limit."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds


_BEGINNINGS: Final = (
    (0, b"ID3", "MP3"),
    (4, b"ftyp", "M4A or MP4"),
    (0, b"#!AMR", "AMR"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "WMA"),
    (0, b"FORM", "AIFF"),
    (0, b"RIFX", "RIFX"),
    (0, b".snd", "AU"),
    (0, b"caff", "CAF"),
    (0, b"\x1a\x45\xdf\xa3", "WebM or Matroska"),
    (0, b"riff\x2e\x91\xcf\x11", "W64"),
    (0, b"MThd", "MIDI"),
    (0, b"ADIF", "AAC"),
)
_CALLED: Final = {"MPEG": "MP3", "MP3": "MP3"}


def audio_format(data: bytes) -> str:
    """The name of an unsupported sound format, by the file's first bytes; empty for anything else."""
    found = next((form for at, mark, form in _BEGINNINGS if data[at : at + len(mark)] == mark), "")
    if found or len(data) < 2 or data[0] != 0xFF or data[1] & 0xE0 != 0xE0:
        return found
    layer = data[1] & 0x06
    return "AAC" if not layer and data[1] & 0xF0 == 0xF0 else "MP3" if layer else ""


def is_cut_off(data: bytes) -> bool:
    """Whether an OGG file ends without the page that is marked as its last."""
    last = data.rfind(b"OggS")
    return data[:4] == b"OggS" and (len(data) < last + 6 or not data[last + 5] & 0x04)


class _Forward(soundfile.SoundFile):  # type: ignore[misc]
    """A file that is read only forwards: libsndfile cannot seek in all formats."""

    def seekable(self) -> bool:
        """Always false; otherwise soundfile would seek after each block."""
        return False


class AudioDecoder:
    """An open encoded sound."""

    def __init__(self, data: bytes) -> None:
        """Raises UnsupportedAudio."""
        try:
            self._file = _Forward(io.BytesIO(with_actual_sizes(data)))
        except Exception:  # libsndfile has many errors, and their texts are not for callers
            raise UnsupportedAudio("") from None
        if self._file.format not in FORMATS:
            form = str(_CALLED.get(self._file.format, self._file.format))
            self._file.close()
            raise UnsupportedAudio(form)
        self.rate = int(self._file.samplerate)
        """Hertz."""
        self.channels = int(self._file.channels)

    def __enter__(self) -> AudioDecoder:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def mono(self, max_seconds: float) -> Iterator[NDArray[np.float32]]:
        """Blocks of samples `[n]`, the mean of all channels, up to one sample beyond the limit.

        Raises AudioTooLong, DamagedAudio, InvalidSamples.
        """
        most = int(max_seconds * self.rate)
        announced = self._file.frames if 0 < self._file.frames < NO_LENGTH else 0
        block = np.empty((max(1, BLOCK // self.channels), self.channels), np.float32)
        wide = self._file.subtype in FLOATS
        done = 0
        while done <= most:
            try:
                samples = self._file.read(out=block[: most + 1 - done])
            except Exception:
                raise DamagedAudio from None
            if not len(samples):
                break
            if wide:
                check_samples(samples, self.rate, done)
            done += len(samples)
            yield samples.mean(axis=1, dtype=np.float32) if self.channels > 1 else samples[:, 0].copy()
        if done > most:
            raise AudioTooLong(max(done, announced) / self.rate)
        if (
            done < announced and self._file.format == "FLAC"
        ):  # headers of other formats give the actual length, or none at all
            raise DamagedAudio


def check_samples(samples: NDArray[np.float32], rate: int, before: int = 0) -> None:
    """Raises InvalidSamples for an invalid sample in `[n]` or `[n, channels]`. `before`: the number of earlier frames."""
    if not samples.size:
        return
    least, most = float(samples.min()), float(samples.max())  # NaN if any sample is
    if least >= -MAX_AMPLITUDE and most <= MAX_AMPLITUDE:
        return
    bad = ~(np.abs(samples) <= MAX_AMPLITUDE)
    at = int(np.flatnonzero(bad.any(axis=1) if bad.ndim > 1 else bad)[0])
    value = samples[at][bad[at]][0] if bad.ndim > 1 else samples[at]
    where = f"at {(before + at) / rate:.3f} seconds"
    if math.isfinite(value):
        raise InvalidSamples(f"expected samples between -1 and 1, got {value:.3g} {where}")
    raise InvalidSamples(f"expected finite samples, got {'NaN' if math.isnan(value) else 'infinity'} {where}")
