"""Chords of plucked tones, made from their pitches: golden inputs of networks that hear music."""

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from model_zoo.cards.part import CardPart

__all__ = ["Tones", "plucked"]

LOUDNESS = 0.3
"""Of the first harmonics of a chord together, before they decay; full scale is 1."""
RISE_SECONDS = 0.005
"""In which a tone begins, so that it makes no click."""


class Tones(CardPart):
    """Chords one after another."""

    chords: tuple[tuple[int, ...], ...] = Field(min_length=1)
    """Pitches of each chord as MIDI numbers: 69 is A4, 440 Hz. An empty one is a rest."""
    seconds: float = Field(gt=0, le=10)
    """Of each chord."""
    decay: float = Field(default=2.0, ge=0, le=100)
    """By how much the natural logarithm of the loudness falls in a second."""
    harmonics: int = Field(default=4, ge=1, le=20)
    """Of each tone; the n-th is 1/n as loud as the first."""

    @property
    def in_words(self) -> str:
        """How many chords there are and how long, as ``7 plucked notes of 0.5 s each`` or ``a plucked chord of 1 s``."""
        kind = "chord" if any(len(chord) > 1 for chord in self.chords) else "note"
        count = len(self.chords)
        return f"{f'{count} plucked {kind}s' if count > 1 else f'a plucked {kind}'} of {self.seconds:g} s{' each' * (count > 1)}"


def plucked(tones: Tones, sample_rate: int) -> NDArray[np.float32]:
    """The samples at `sample_rate` hertz, `[n]` in -1..1."""
    seconds = np.arange(int(tones.seconds * sample_rate)) / sample_rate
    envelope = LOUDNESS * np.exp(-tones.decay * seconds) * np.minimum(1.0, seconds / RISE_SECONDS)
    chords = []
    for pitches in tones.chords:
        waves = [
            np.sin(2 * np.pi * n * 440.0 * 2 ** ((pitch - 69) / 12) * seconds) / n
            for pitch in pitches
            for n in range(1, tones.harmonics + 1)
        ]
        chords.append(envelope * np.sum(waves, axis=0) / max(1, len(pitches)) if waves else 0.0 * seconds)
    return np.concatenate(chords).astype(np.float32)
