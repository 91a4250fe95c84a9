"""Sounds → the inputs of a network, by the feature extractor that its makers publish."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from model_zoo.cards.card import Card
from model_zoo.cards.recipes import SoundRecipe
from model_zoo.golden.golden_case import GoldenInput
from service.errors import InvalidInput, ZooError
from service.tasks.audio.audio_input import mono_samples
from service.tasks.base import NO_FILES, Task
from service.tasks.codecs import AnswerCodec
from service.tasks.composed import ComposedTask, SequenceTask
from service.tasks.instances import golden_recording, read_each
from service.tasks.masked_sequence import MaskedSequence
from service.types import AudioInstance, Instance, Item, SamplesInstance, TensorInstance


class SoundInput:
    """Accepts sounds up to the card's limit, at any rate, with any number of channels. A network without the input
    ``attention_mask`` reads rows of one size (`InputCodec`); for others this is a `SequenceCodec`."""

    raw_types: ClassVar[tuple[type, ...]] = (AudioInstance, SamplesInstance)
    chunk: ClassVar[int] = 1
    sequence: MaskedSequence
    """Only of a network with the input ``attention_mask``."""

    def __init__(self, card: Card, files: Mapping[str, Path] = NO_FILES) -> None:
        if not isinstance(card.recipe, SoundRecipe):
            raise TypeError(f"card {card.name} has no sound recipe")
        self._card, self._recipe = card, card.recipe
        self._name = card.signature.inputs[0].name
        self._varies = len(card.signature.inputs) > 1
        if self._varies:
            self.sequence = MaskedSamples(card)
        self.extract = extractor(card.recipe)

    def preprocess(self, instances: Sequence[Instance], paths: Sequence[str]) -> list[Item | ZooError]:
        """Sounds → float32 `[samples]` and a mask, or a spectrogram of the signature's size."""
        return read_each(self._read, instances, paths)

    def _read(self, instance: Instance, path: str) -> Item:
        samples = self.samples(instance, path)
        window = self._recipe.window_seconds
        seconds = len(samples) / self._recipe.sample_rate
        notes = {"truncated": True, "seconds": round(seconds, 3)} if window is not None and seconds > window else {}
        features = self.features(samples)
        return self.sequence.item(features, notes) if self._varies else Item({self._name: features}, notes=notes)

    def samples(self, instance: Instance, path: str) -> NDArray[np.float32]:
        """Mono samples at the extractor's rate. Raises InvalidInput."""
        recipe = self._recipe
        samples = mono_samples(self._card, instance, path, recipe.sample_rate, recipe.max_seconds)
        if len(samples) < recipe.least_samples:
            least, got = recipe.least_samples / recipe.sample_rate, len(samples) / recipe.sample_rate
            raise InvalidInput(path, f"expected at least {least:.4g} seconds of sound, got {got:.4g}")
        return samples

    def features(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """As the extractor gives them for one sound."""
        found = self.extract(samples, sampling_rate=self._recipe.sample_rate, return_tensors="np")
        return np.ascontiguousarray(found[self._name][0], np.float32)

    def golden_instance(self, given: GoldenInput) -> Instance:
        """The recording of a golden case, or its noise."""
        return golden_recording(given, self._recipe.sample_rate)


class MaskedSamples(MaskedSequence):
    """Samples of sounds of different lengths, and their mask."""

    def __init__(self, card: Card) -> None:
        super().__init__(card)
        self._least = card.batching.min_length

    def check(self, instance: TensorInstance, path: str) -> None:
        """Also refuses NaN and infinity as in recordings, and a mask that is not ones, then zeros."""
        super().check(instance, path)
        if not np.isfinite(np.asarray(instance.tensors[self.name], np.float32)).all():
            raise InvalidInput(f"{path}.{self.name}", "expected finite numbers, got NaN or infinity")
        mask = np.asarray(instance.tensors[self.mask], np.int64)
        kept = int(mask.sum())
        if not mask[:kept].all() or kept < self._least:
            raise InvalidInput(f"{path}.{self.mask}", f"expected ones, at least {self._least}, and then zeros")


def sound_task(
    answers: type[AnswerCodec], card: Card, labels: Sequence[str] = (), files: Mapping[str, Path] = NO_FILES
) -> Task:
    """The task of a card, by its inputs: sequences under a mask, or rows of one size."""
    if len(card.signature.inputs) > 1:
        return SequenceTask(SoundInput, answers, card, labels, files)
    return ComposedTask(SoundInput, answers, card, labels, files)


def extractor(recipe: SoundRecipe) -> Any:
    """The library's feature extractor: called with samples, it gives arrays by name. It holds no state of a call."""
    import transformers

    kind: Any = getattr(transformers, recipe.extractor)  # untyped upstream
    return kind(**recipe.settings)
