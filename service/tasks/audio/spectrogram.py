"""Sounds → windows of a mel spectrogram, by the SpectrogramRecipe of the card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from model_zoo.cards.card import Card
from model_zoo.cards.recipes import SpectrogramRecipe
from model_zoo.golden.golden_case import GoldenInput
from service.errors import ZooError
from service.tasks.audio.audio_input import mono_samples
from service.tasks.base import NO_FILES
from service.tasks.instances import golden_recording, read_each
from service.tasks.masked_sequence import MaskedSequence
from service.types import AudioInstance, Instance, Item, SamplesInstance

MIN_COVERAGE = 0.75
"""Share of the last window that sound must fill, unless it is the only window; the rest is silence (Resemblyzer's value)."""

LINEAR_MEL = 200.0 / 3.0
"""Hertz of one mel up to 1 kHz; above it, 27 mels are a factor of 6.4 (Slaney, Auditory Toolbox, 1998)."""
BREAK_HZ, BREAK_MEL = 1000.0, 15.0
LOG_MEL = np.log(6.4) / 27.0


class SpectrogramInput:
    """Accepts sounds of any length up to the card's limit, at any rate, with any number of channels (`SequenceCodec`)."""

    raw_types: ClassVar[tuple[type, ...]] = (AudioInstance, SamplesInstance)
    chunk: ClassVar[int] = 1

    def __init__(self, card: Card, files: Mapping[str, Path] = NO_FILES) -> None:
        if not isinstance(card.recipe, SpectrogramRecipe):
            raise TypeError(f"card {card.name} has no spectrogram recipe")
        self.sequence = MaskedSequence(card)
        self._card, self._recipe = card, card.recipe
        self._spectrogram = MelSpectrogram(card.recipe)

    def preprocess(self, instances: Sequence[Instance], paths: Sequence[str]) -> list[Item | ZooError]:
        """Sounds → `[windows, frames, mels]` float32 and their mask."""
        return read_each(self._read, instances, paths)

    def _read(self, instance: Instance, path: str) -> Item:
        samples = mono_samples(self._card, instance, path, self._recipe.sample_rate, self._recipe.max_seconds)
        return self.sequence.item(self._spectrogram.windows(samples))

    def golden_instance(self, given: GoldenInput) -> Instance:
        """The recording of a golden case, or its noise."""
        return golden_recording(given, self._recipe.sample_rate)


class MelSpectrogram:
    """Mono samples at the recipe's rate → power in mel bands, cut into overlapping windows."""

    def __init__(self, recipe: SpectrogramRecipe) -> None:
        self._recipe = recipe
        self._size = round(recipe.window_seconds * recipe.sample_rate)  # samples of one transform
        self._hop = round(recipe.hop_seconds * recipe.sample_rate)
        self._step = max(1, round(recipe.frames * (1.0 - recipe.overlap)))  # frames from one window to the next
        self._taper = np.hanning(self._size + 1)[:-1].astype(np.float32)
        self._filters = mel_filters(recipe.sample_rate, self._size, recipe.mels)

    def windows(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """`[n]` → `[windows, frames, mels]`, at least one window."""
        frames = self._recipe.frames
        samples = self._normalise_loudness(samples)
        starts = self._starts(len(samples))
        needed = (starts[-1] + frames) * self._hop
        padded = np.pad(samples, (0, max(0, needed - len(samples))))
        mel = self.mel(padded)
        return np.stack([mel[start : start + frames] for start in starts])

    def mel(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """`[n]` → `[1 + n // hop, mels]`: frame i is centred at sample i × hop, with silence around the samples."""
        around = self._size // 2
        pieces = sliding_window_view(np.pad(samples, around), self._size)[:: self._hop]
        power = np.abs(np.fft.rfft(pieces * self._taper)) ** 2  # (frames, bins)
        return np.asarray(power @ self._filters.T, np.float32)

    def _normalise_loudness(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Raises samples below the recipe's loudness to it; silence stays silence."""
        target = self._recipe.target_dbfs
        loudness = float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))
        if target is None or not 0.0 < loudness < 10 ** (target / 20):
            return samples
        return (samples * (10 ** (target / 20) / loudness)).astype(np.float32)

    def _starts(self, count: int) -> list[int]:
        """The first frame of each window of `count` samples."""
        frames = self._recipe.frames
        whole = -(-(count + 1) // self._hop)
        starts = list(range(0, max(1, whole - frames + self._step + 1), self._step))
        coverage = (count - starts[-1] * self._hop) / (frames * self._hop)
        return starts[:-1] if coverage < MIN_COVERAGE and len(starts) > 1 else starts


def mel_filters(sample_rate: int, size: int, mels: int) -> NDArray[np.float32]:
    """Triangular filters of equal area, `[mels, size // 2 + 1]`, for a transform of `size` samples (librosa's default)."""
    edges = _hertz(np.linspace(0.0, _mel(sample_rate / 2), mels + 2))
    bins = np.fft.rfftfreq(size, 1.0 / sample_rate)
    rise = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    fall = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
    area = 2.0 / (edges[2:] - edges[:-2])
    return np.asarray(np.maximum(0.0, np.minimum(rise, fall)) * area[:, None], np.float32)


def _mel(hertz: float) -> float:
    if hertz < BREAK_HZ:
        return hertz / LINEAR_MEL
    return float(BREAK_MEL + np.log(hertz / BREAK_HZ) / LOG_MEL)


def _hertz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(mel < BREAK_MEL, mel * LINEAR_MEL, BREAK_HZ * np.exp(LOG_MEL * (mel - BREAK_MEL)))
