"""Task `voice-activity-detection`: a recording → segments of speech, by the AudioRecipe of the card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model_zoo.cards.card import Card
from model_zoo.cards.recipes import AudioRecipe
from model_zoo.golden.golden_case import Expectation, GoldenInput, SpeechExpectation
from service.errors import ZooError
from service.tasks.audio.audio_input import mono_samples, refuse_bad_samples
from service.tasks.base import NO_FILES, Task
from service.tasks.instances import golden_recording, read_each
from service.tasks.masked_sequence import pad_stack
from service.types import (
    Answer,
    Array,
    AudioInstance,
    Instance,
    Item,
    Options,
    SamplesInstance,
    Segment,
    Segments,
    TensorInstance,
    Tensors,
)

HYSTERESIS = 0.15
"""A segment of speech ends once the probability is this far below the threshold at which the segment began (Silero's value)."""
MIN_THRESHOLD = 0.01
"""Lower bound of the probability that ends a segment; without it a low threshold would never end one (Silero's value)."""


class VoiceActivityDetection(Task):
    """Finds speech in recordings of any length up to the card's limit, at any rate, with any number of channels."""

    options = frozenset({"threshold"})
    raw_types = (AudioInstance, SamplesInstance)

    def __init__(self, card: Card, labels: Sequence[str] = (), files: Mapping[str, Path] = NO_FILES) -> None:
        super().__init__(card, labels, files)
        if not isinstance(card.recipe, AudioRecipe):
            raise TypeError(f"card {card.name} has no audio recipe")
        self._recipe = card.recipe
        self._samples = card.signature.inputs[0].name
        self._probabilities, self._frames = (spec.name for spec in card.signature.outputs)

    def preprocess(self, instances: Sequence[Instance], paths: Sequence[str]) -> list[Item | ZooError]:
        """Sounds → mono float32 `[samples]` at the recipe's rate."""
        return read_each(self._read, instances, paths)

    def _read(self, instance: Instance, path: str) -> Item:
        samples = mono_samples(self.card, instance, path, self._recipe.sample_rate, self._recipe.max_seconds)
        return Item({self._samples: samples}, len(samples))

    def row(self, instance: TensorInstance, path: str) -> Item:
        """Tensors → item, after the checks of every task; refuses NaN and infinity as in recordings."""
        item = super().row(instance, path)
        refuse_bad_samples(
            np.asarray(item.tensors[self._samples], np.float32), self._recipe.sample_rate, f"{path}.{self._samples}"
        )
        return item

    def collate(self, items: Sequence[Item], least_length: int = 0) -> tuple[dict[str, Array], float]:
        """Rows of samples → `[rows, whole frames of the longest]`, padded with silence at the end. The network is causal.

        It computes the frames one after another, so that padding beyond the longest row gains nothing: `least_length` is ignored.
        """
        size = self._recipe.frame_samples
        longest = max(self._frame_count(item) for item in items) * size
        batch = pad_stack([item.tensors[self._samples] for item in items], longest, 0.0)
        return {self._samples: batch}, 1.0 - sum(self._frame_count(i) for i in items) * size / (longest * len(items))

    def _frame_count(self, item: Item) -> int:
        return -(-item.length // self._recipe.frame_samples)

    def split(self, outputs: Tensors, items: Sequence[Item]) -> list[Tensors]:
        """Cuts each row to its own frames; `frames` `[1]` is their number."""
        rows = super().split(outputs, items)
        counts = [self._frame_count(item) for item in items]
        return [
            {self._probabilities: row[self._probabilities][:count], self._frames: np.array([count], np.int64)}
            for row, count in zip(rows, counts, strict=True)
        ]

    def postprocess(self, row: Tensors, item: Item, options: Options) -> Segments:
        """Probabilities `[frames]` → segments of speech in seconds."""
        probabilities = np.asarray(row[self._probabilities], np.float32)
        frame_s = self._recipe.frame_samples / self._recipe.sample_rate
        duration_s = item.length / self._recipe.sample_rate
        threshold = self._recipe.threshold if options.threshold is None else options.threshold
        segments = find_speech(probabilities, frame_s, duration_s, threshold, self._recipe)
        return Segments(segments, frame_s, probabilities, duration_s)

    def golden_instance(self, given: GoldenInput) -> Instance:
        """The recording of a golden case, or its noise."""
        return golden_recording(given, self._recipe.sample_rate)

    def golden_problem(self, expect: Expectation, answer: Answer, answer_of: Mapping[str, Answer]) -> str | None:
        """Speech instead of none, none instead of speech, or segments that begin or end elsewhere."""
        assert isinstance(expect, SpeechExpectation)
        assert isinstance(answer, Segments)
        found = [(round(s.start_s, 3), round(s.end_s, 3)) for s in answer.segments]
        if bool(found) != expect.speech:
            return f"expected {'speech' if expect.speech else 'no speech'}, got {found}"
        if not expect.segments:
            return None
        off = [abs(a - b) for pair in zip(found, expect.segments, strict=False) for a, b in zip(*pair, strict=True)]
        if len(found) == len(expect.segments) and max(off) <= expect.tolerance_seconds:
            return None
        return f"expected speech at {[tuple(s) for s in expect.segments]}, got {found}"


def find_speech(
    probabilities: NDArray[np.float32], frame_s: float, duration_s: float, threshold: float, recipe: AudioRecipe
) -> tuple[Segment, ...]:
    """Frame probabilities `[frames]` → segments of speech, by the rule that AudioRecipe documents. Times are in seconds.

    NaN counts as silence.
    """
    low = max(threshold - HYSTERESIS, min(threshold, MIN_THRESHOLD))
    segments: list[tuple[float, float]] = []
    begin: float | None = None
    silence: float | None = None
    for i, probability in enumerate(probabilities.tolist()):
        now = i * frame_s
        if probability >= threshold:
            silence = None
            if begin is None:
                begin = now
        elif begin is not None and not probability >= low:
            silence = now if silence is None else silence
            if now + frame_s - silence >= recipe.min_silence_seconds:
                segments.append((begin, silence))
                begin = silence = None
    if begin is not None:
        segments.append((begin, duration_s))
    found = [(a, b) for a, b in segments if b - a >= recipe.min_speech_seconds]
    return tuple(_widen(found, i, probabilities, frame_s, duration_s, recipe.pad_seconds) for i in range(len(found)))


def _widen(
    found: Sequence[tuple[float, float]],
    i: int,
    probabilities: NDArray[np.float32],
    frame_s: float,
    duration_s: float,
    pad_s: float,
) -> Segment:
    """Segment `i` with padding on both sides; neighbours that would overlap share the gap between them."""
    begin, end = found[i]
    before = (begin - found[i - 1][1]) / 2 if i else begin
    after = (found[i + 1][0] - end) / 2 if i + 1 < len(found) else duration_s - end
    score = float(probabilities[round(begin / frame_s) : max(round(end / frame_s), round(begin / frame_s) + 1)].mean())
    return Segment(begin - min(pad_s, before), end + max(0.0, min(pad_s, after)), score)
