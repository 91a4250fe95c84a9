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

from service.datasets.readers.media.wav import with_actual_sizes

FORMATS: Final = frozenset({"WAV", "WAVEX", "RF64", "FLAC", "OGG"})
MAX_SAMPLE_RATE: Final = 192_000

MAX_AMPLITUDE: Final = 2.0**32
"""Of samples in floating point, of which 1 is full scale: whole numbers of 32 bits are taken, and no power of them overflows."""
BLOCK: Final = 1 << 16
"""Numbers, of all channels together."""
NO_LENGTH: Final = 1 << 62
"""Frames that libsndfile says there are where a file does not tell."""
FLOATS: Final = ("FLOAT", "DOUBLE")


class UnsupportedAudio(Exception):
    """No file that is taken."""

    def __init__(self, form: str) -> None:
        super().__init__(form)
        self.form = form
        """What libsndfile takes it for; empty where it is nothing that it knows."""


class DamagedAudio(Exception):
    """Breaks off before the end that it tells of, or cannot be decoded at all."""


class InvalidSamples(Exception):
    """NaN, infinity, or numbers that are no sound."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem


class AudioTooLong(Exception):
    """Longer than is taken."""

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
    """What format of sound a file is by its first bytes, of those that are not taken; empty where it is none."""
    found = next((form for at, mark, form in _BEGINNINGS if data[at : at + len(mark)] == mark), "")
    if found or len(data) < 2 or data[0] != 0xFF or data[1] & 0xE0 != 0xE0:
        return found
    layer = data[1] & 0x06
    return "AAC" if not layer and data[1] & 0xF0 == 0xF0 else "MP3" if layer else ""


def is_cut_off(data: bytes) -> bool:
    """Whether an OGG ends without the page that is marked as its last."""
    last = data.rfind(b"OggS")
    return data[:4] == b"OggS" and (len(data) < last + 6 or not data[last + 5] & 0x04)


class _Forward(soundfile.SoundFile):  # type: ignore[misc]
    """Read from its beginning to its end: libsndfile cannot seek in all that it can read."""

    def seekable(self) -> bool:
        """Never: soundfile would seek after each block."""
        return False


class AudioDecoder:
    """An encoded sound, opened."""

    def __init__(self, data: bytes) -> None:
        """Raises NotASound."""
        try:
            self._file = _Forward(io.BytesIO(with_actual_sizes(data)))
        except Exception:  # libsndfile's errors are many; none of their texts is for a caller
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
                raise DamagedAudio from None
            if not len(came):
                break
            if wide:
                check_samples(came, self.rate, done)
            done += len(came)
            yield came.mean(axis=1, dtype=np.float32) if self.channels > 1 else came[:, 0].copy()
        if done > most:
            raise AudioTooLong(max(done, told) / self.rate)
        if done < told and self._file.format == "FLAC":  # the others' headers tell what a file holds, or nothing at all
            raise DamagedAudio


def check_samples(samples: NDArray[np.float32], rate: int, before: int = 0) -> None:
    """Raises BadSamples where there is one, `[n]` or `[n, channels]`, that no sound has. `before`: frames that came earlier."""
    if not samples.size:
        return
    least, most = float(samples.min()), float(samples.max())  # NaN if any is
    if least >= -MAX_AMPLITUDE and most <= MAX_AMPLITUDE:
        return
    bad = ~(np.abs(samples) <= MAX_AMPLITUDE)
    at = int(np.flatnonzero(bad.any(axis=1) if bad.ndim > 1 else bad)[0])
    value = samples[at][bad[at]][0] if bad.ndim > 1 else samples[at]
    where = f"at {(before + at) / rate:.3f} seconds"
    if math.isfinite(value):
        raise InvalidSamples(f"expected samples between -1 and 1, got {value:.3g} {where}")
    raise InvalidSamples(f"expected finite samples, got {'NaN' if math.isnan(value) else 'infinity'} {where}")
