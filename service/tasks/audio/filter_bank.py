"""Sounds → energies in mel bands, frame by frame, by the FilterBankRecipe of the card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from model_zoo.cards.card import Card
from model_zoo.cards.recipes import FilterBankRecipe
from model_zoo.golden.golden_case import GoldenInput
from service.errors import InvalidInput, ZooError
from service.tasks.audio.audio_input import mono_samples
from service.tasks.base import NO_FILES
from service.tasks.instances import golden_recording, read_each
from service.tasks.masked_sequence import MaskedSequence
from service.types import AudioInstance, Instance, Item, SamplesInstance, TensorInstance

FULL_SCALE = 32_768.0
"""Kaldi reads samples as whole numbers of 16 bits."""
LOWEST_HZ = 20.0
PREEMPHASIS = 0.97
TAPER_POWER = 0.85
"""Of a Hann window: the window that Kaldi calls povey."""
LEAST_POWER = float(np.finfo(np.float32).eps)


class FilterBankInput:
    """Accepts sounds up to the card's limit, at any rate, with any number of channels (`SequenceCodec`)."""

    raw_types: ClassVar[tuple[type, ...]] = (AudioInstance, SamplesInstance)
    chunk: ClassVar[int] = 1

    def __init__(self, card: Card, files: Mapping[str, Path] = NO_FILES) -> None:
        if not isinstance(card.recipe, FilterBankRecipe):
            raise TypeError(f"card {card.name} has no recipe of a filter bank")
        self.sequence: MaskedSequence = MaskedFrames(card)
        self._card, self._recipe = card, card.recipe
        self._bank = FilterBank(card.recipe)

    def preprocess(self, instances: Sequence[Instance], paths: Sequence[str]) -> list[Item | ZooError]:
        """Sounds → `[frames, mels]` float32 and their mask."""
        return read_each(self._read, instances, paths)

    def _read(self, instance: Instance, path: str) -> Item:
        rate = self._recipe.sample_rate
        samples = mono_samples(self._card, instance, path, rate, self._recipe.max_seconds)
        if len(samples) < self._bank.size:
            least, got = self._recipe.window_seconds, len(samples) / rate
            raise InvalidInput(path, f"expected at least {least:g} seconds of sound, got {got:.4g}")
        return self.sequence.item(self._bank.features(samples))

    def golden_instance(self, given: GoldenInput) -> Instance:
        """The recording of a golden case, or its noise."""
        return golden_recording(given, self._recipe.sample_rate)


class MaskedFrames(MaskedSequence):
    """Frames of sounds of different lengths, and their mask."""

    def check(self, instance: TensorInstance, path: str) -> None:
        """Also refuses NaN and infinity, as in recordings."""
        super().check(instance, path)
        if not np.isfinite(np.asarray(instance.tensors[self.name], np.float32)).all():
            raise InvalidInput(f"{path}.{self.name}", "expected finite numbers, got NaN or infinity")


class FilterBank:
    """Mono samples at the recipe's rate → logarithms of power in mel bands, as Kaldi's ``compute-fbank-feats`` without dither."""

    def __init__(self, recipe: FilterBankRecipe) -> None:
        self.size = round(recipe.window_seconds * recipe.sample_rate)
        """Samples of one frame."""
        self._hop = round(recipe.hop_seconds * recipe.sample_rate)
        self._fft = 1 << (self.size - 1).bit_length()
        self._taper = np.hanning(self.size) ** TAPER_POWER
        self._filters = filters(recipe.sample_rate, self._fft, recipe.mels)

    def features(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """`[n]` in -1..1, at least one frame → `[1 + (n - size) // hop, mels]`."""
        frames = sliding_window_view(samples * np.float32(FULL_SCALE), self.size)[:: self._hop]
        frames = frames - frames.mean(axis=1, keepdims=True)
        before = np.concatenate([frames[:, :1], frames[:, :-1]], axis=1)
        power = np.abs(np.fft.rfft((frames - PREEMPHASIS * before) * self._taper, self._fft)) ** 2
        return np.log(np.maximum(power @ self._filters.T, LEAST_POWER)).astype(np.float32)


def filters(sample_rate: int, size: int, mels: int) -> NDArray[np.float64]:
    """Triangles of equal height over equal widths in mel, `[mels, size // 2 + 1]`, from 20 Hz to half the rate."""
    edges = np.linspace(_mel(np.float64(LOWEST_HZ)), _mel(np.float64(sample_rate / 2)), mels + 2)
    bins = _mel(np.arange(size // 2 + 1, dtype=np.float64) * (sample_rate / size))
    rise = (bins - edges[:-2, None]) / np.diff(edges)[:-1, None]
    fall = (edges[2:, None] - bins) / np.diff(edges)[1:, None]
    return np.maximum(0.0, np.minimum(rise, fall))


def _mel(hertz: NDArray[np.float64] | np.float64) -> NDArray[np.float64]:
    return np.asarray(1127.0 * np.log1p(hertz / 700.0), np.float64)
