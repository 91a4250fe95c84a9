"""Task `automatic-speech-recognition` by frames: a recording → its text, with the times of its words.

A recording is read in overlapping chunks, each a row in the model's queue like any other, so that the scheduler checks deadlines
and cancelled callers between any two chunks. The frames at the ends of chunks are dropped, as the library's pipeline does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model_zoo.cards.card import Card
from model_zoo.cards.recipes import CtcDecoding, SoundRecipe
from model_zoo.golden.golden_case import Expectation, GoldenInput, WrittenExpectation
from service.errors import ZooError
from service.tasks.audio.sound_input import SoundInput
from service.tasks.base import NO_FILES, Task
from service.tasks.instances import read_each
from service.types import (
    Answer,
    Array,
    Instance,
    Item,
    Options,
    TensorInstance,
    Tensors,
    Transcript,
    TranscriptChunk,
)

CLEANED = (" .", " ?", " !", " ,", " n't", " 'm", " 's", " 've", " 're")
"""Pieces of text whose space is dropped where the tokenizer's makers ask for that."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """A part of a recording: its samples, and which of its frames count."""

    samples: NDArray[np.float32]
    first: int = 0
    until: int | None = None


@dataclass(slots=True)
class RecordingState:
    """What is left of one recording, and the logits of what was read. It belongs to one call alone."""

    chunks: list[Chunk]
    read: list[NDArray[np.float32]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class RecordingItem(Item):
    """The next chunk of a recording."""

    state: RecordingState = field(default_factory=lambda: RecordingState([]))


class CtcRecognition(Task):
    """Transcribes recordings up to the card's limit, at any rate, with any number of channels."""

    whole_tensors = True
    raw_types = SoundInput.raw_types

    def __init__(self, card: Card, labels: Sequence[str] = (), files: Mapping[str, Path] = NO_FILES) -> None:
        super().__init__(card, labels, files)
        if not isinstance(card.recipe, SoundRecipe) or card.recipe.ctc is None:
            raise TypeError(f"card {card.name} has no recipe for transcripts by frames")
        self._recipe, self._ctc = card.recipe, card.recipe.ctc
        self._inputs = SoundInput(card, files)

    def preprocess(self, instances: Sequence[Instance], paths: Sequence[str]) -> list[Item | ZooError]:
        """Sounds → the samples of the first chunk, and the other chunks beside it."""
        return read_each(self._read, instances, paths)

    def _read(self, instance: Instance, path: str) -> Item:
        samples = self._inputs.samples(instance, path)
        first, *others = (
            replace(chunk, samples=self._inputs.features(chunk.samples))
            for chunk in chunks_of(samples, self._ctc, self._recipe.sample_rate, self._recipe.least_samples)
        )
        return self._item(RecordingState([first, *others]))

    def _item(self, state: RecordingState) -> RecordingItem:
        item = self._inputs.sequence.item(state.chunks[0].samples)
        return RecordingItem(item.tensors, item.length, state=state)

    def row(self, instance: TensorInstance, path: str) -> Item:
        """Tensors → item, after the checks of every task and those of samples."""
        item = super().row(instance, path)
        self._inputs.sequence.check(instance, path)
        return item

    def collate(self, items: Sequence[Item], least_length: int = 0) -> tuple[dict[str, Array], float]:
        """Rows → `[rows, longest]`, padded under a mask of zeros; at least `least_length` long."""
        return self._inputs.sequence.collate(items, least_length)

    def split(self, outputs: Tensors, items: Sequence[Item]) -> list[Tensors]:
        """Cuts each row to its own frames."""
        rows = super().split(outputs, items)
        return [{**row, "logits": row["logits"][: int(row["frames"][0])]} for row in rows]

    def next_item(self, item: Item, row: Tensors, options: Options) -> Item | None:
        """Keeps the logits of a chunk; gives the next chunk of the recording."""
        if not isinstance(item, RecordingItem):
            return None
        state = item.state
        chunk = state.chunks.pop(0)
        state.read.append(_kept(row, chunk))
        return self._item(state) if state.chunks else None

    def shown(self, row: Tensors, item: Item | None = None) -> Tensors:
        """The logits of the whole recording."""
        if not isinstance(item, RecordingItem):
            return row
        logits = self._logits(row, item)
        return {"logits": logits, "frames": np.array([len(logits)], np.int64)}

    def postprocess(self, row: Tensors, item: Item, options: Options) -> Transcript:
        """Logits `[frames, tokens]` → text and words."""
        logits = self._logits(row, item) if isinstance(item, RecordingItem) else row["logits"]
        ids = np.asarray(logits).argmax(axis=1).tolist() if len(logits) else []
        return transcribed(ids, self.labels, self._ctc, self._ctc.frame_samples / self._recipe.sample_rate)

    @staticmethod
    def _logits(row: Tensors, item: RecordingItem) -> NDArray[np.float32]:
        read = item.state.read or [_kept(row, item.state.chunks[0])]  # a check runs a single pass
        return read[0] if len(read) == 1 else np.concatenate(read)

    def golden_instance(self, given: GoldenInput) -> Instance:
        """The recording of a golden case, or its noise."""
        return self._inputs.golden_instance(given)

    def golden_problem(self, expect: Expectation, answer: Answer, answer_of: Mapping[str, Answer]) -> str | None:
        """Another text than the expected one."""
        assert isinstance(expect, WrittenExpectation)
        assert isinstance(answer, Transcript)
        return None if answer.text == expect.written else f"expected {expect.written!r}, got {answer.text!r}"


def _kept(row: Tensors, chunk: Chunk) -> NDArray[np.float32]:
    return np.asarray(row["logits"], np.float32)[chunk.first : chunk.until]


def chunks_of(samples: NDArray[np.float32], ctc: CtcDecoding, rate: int, least: int) -> list[Chunk]:
    """Overlapping parts of a recording `[n]`, whole frames apart; a rest of less than `least` samples is left out."""
    frame = ctc.frame_samples
    size, overlap = (round(seconds * rate / frame) * frame for seconds in (ctc.chunk_seconds, ctc.overlap_seconds))
    if len(samples) <= size:
        return [Chunk(samples)]
    chunks, dropped = [], overlap // frame
    for start in range(0, len(samples), size - 2 * overlap):
        last = start + size >= len(samples)
        part = samples[start : start + size]
        if len(part) >= least:
            # As a multiple of the frame: convolutions give fewer frames than that, since the last ones would pass the end.
            chunks.append(Chunk(part, dropped if start else 0, None if last else size // frame - dropped))
        if last:
            break
    return chunks


def transcribed(ids: Sequence[int], tokens: Sequence[str], ctc: CtcDecoding, frame_s: float) -> Transcript:
    """The likeliest token of each frame → text, and its words with their times."""
    letters: list[tuple[str, int, int]] = []  # token, first frame, frame after the last
    at = 0
    for number, run in groupby(ids):
        end = at + sum(1 for _ in run)
        if number != ctc.blank:
            letters.append((tokens[number], at, end))
        at = end
    text = "".join(ctc.space if token == ctc.delimiter else token for token, _, _ in letters).strip()
    words = []
    for between, parts in groupby(letters, key=lambda letter: letter[0] == ctc.delimiter):
        if not between:
            found = list(parts)
            word = _finished("".join(token for token, _, _ in found), ctc)
            words.append(TranscriptChunk(word, found[0][1] * frame_s, found[-1][2] * frame_s))
    return Transcript(_finished(text, ctc), tuple(words))


def _finished(text: str, ctc: CtcDecoding) -> str:
    text = text.lower() if ctc.lower else text
    if ctc.clean_up:
        text = text.replace(" ' ", "'")
        for piece in CLEANED:
            text = text.replace(piece, piece[1:])
    return text
