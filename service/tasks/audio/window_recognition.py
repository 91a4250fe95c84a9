"""Task `automatic-speech-recognition` by windows: a recording → its text, with the times of its parts.

Each window is a row in the model's queue like any other. The next one begins where the network has said that the last complete
part of this one ended (section 3.8 of arXiv:2212.04356, without its heuristics for failed windows).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from model_zoo.cards.card import Card
from model_zoo.cards.recipes import SoundRecipe, WindowDecoding
from model_zoo.cards.signature import NO_TOKEN
from model_zoo.golden.golden_case import Expectation, GoldenInput, WrittenExpectation
from service.errors import InvalidInput, ZooError
from service.tasks.audio.sound_input import SoundInput
from service.tasks.base import NO_FILES, Task
from service.tasks.instances import read_each
from service.tasks.text.prompted_generation import CHECKED_TOKENS, LIMIT
from service.types import Answer, Instance, Item, Options, TensorInstance, Tensors, Transcript, TranscriptChunk


@dataclass(frozen=True, slots=True)
class Part:
    """A part of what was said: token ids without timestamps, and its times in seconds from the beginning of the recording."""

    ids: tuple[int, ...]
    start_s: float
    end_s: float


@dataclass(slots=True)
class WindowState:
    """A recording, and what was read of it. It belongs to one call alone."""

    features: NDArray[np.float32]
    """Spectrogram of all of it, `[mels, frames]`."""
    at: int = 0
    """The frame at which the present window begins."""
    parts: list[Part] = field(default_factory=list)
    rows: list[Tensors] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class WindowItem(Item):
    """The next window of a recording."""

    state: WindowState = field(default_factory=lambda: WindowState(np.zeros((0, 0), np.float32)))


class WindowRecognition(Task):
    """Transcribes recordings up to the card's limit, at any rate, with any number of channels."""

    whole_tensors = True
    raw_types = SoundInput.raw_types

    def __init__(self, card: Card, labels: Sequence[str] = (), files: Mapping[str, Path] = NO_FILES) -> None:
        super().__init__(card, labels, files)
        if not isinstance(card.recipe, SoundRecipe) or card.recipe.windows is None:
            raise TypeError(f"card {card.name} has no recipe for transcripts by windows")
        self._recipe, self._windows = card.recipe, card.recipe.windows
        self._inputs = SoundInput(card, files)
        self._name, (_, self._frames) = card.signature.inputs[0].name, card.signature.inputs[0].shape[1:]
        self._tokenizer = Tokenizer.from_file(str(files[card.recipe.windows.tokenizer]))
        self._checked = min(CHECKED_TOKENS, card.recipe.windows.most_new_tokens)

    def preprocess(self, instances: Sequence[Instance], paths: Sequence[str]) -> list[Item | ZooError]:
        """Sounds → the spectrogram of the first window, and a limit as for checks; `with_options` sets that of a call."""
        return read_each(self._read, instances, paths)

    def _read(self, instance: Instance, path: str) -> Item:
        samples = self._inputs.samples(instance, path)
        rate = self._recipe.sample_rate
        if len(samples) <= self._frames * round(self._windows.frame_seconds * rate):
            return self._item(WindowState(self._inputs.features(samples)), self._checked)
        found = self._inputs.extract(
            samples,
            sampling_rate=rate,
            truncation=False,
            padding="longest",
            return_attention_mask=True,
            return_tensors="np",
        )
        features = np.asarray(found[self._name][0, :, : int(found["attention_mask"][0].sum())], np.float32)
        return self._item(WindowState(features), self._checked)

    def _item(self, state: WindowState, limit: int) -> Item:
        window = state.features[:, state.at : state.at + self._frames]
        window = np.pad(window, ((0, 0), (0, self._frames - window.shape[1])))
        return WindowItem({self._name: window, LIMIT: np.array([limit], np.int64)}, state=state)

    def with_options(self, item: Item, options: Options) -> Item:
        """The item with as many tokens as a window may have."""
        assert isinstance(item, WindowItem)
        return self._item(item.state, self._windows.most_new_tokens)

    def row(self, instance: TensorInstance, path: str) -> Item:
        """One window as tensors → item, after the checks of every task."""
        item = super().row(instance, path)
        limit, most = int(item.tensors[LIMIT][0]), self._windows.most_new_tokens
        if not 1 <= limit <= most:
            raise InvalidInput(f"{path}.{LIMIT}", f"expected 1..{most:,}, got {limit:,}")
        if not np.isfinite(np.asarray(item.tensors[self._name], np.float32)).all():
            raise InvalidInput(f"{path}.{self._name}", "expected finite numbers, got NaN or infinity")
        return item

    def warmup_item(self) -> Item:
        """A window of silence, and an answer as long as those of checks."""
        return self._item(WindowState(np.zeros(self._specs[self._name][2], np.float32)), self._checked)

    def split(self, outputs: Tensors, items: Sequence[Item]) -> list[Tensors]:
        """Cuts each row to the tokens of its own answer."""
        rows = super().split(outputs, items)
        counts = [int((row["output_ids"] != NO_TOKEN).sum()) for row in rows]
        return [{name: array[:n] for name, array in row.items()} for row, n in zip(rows, counts, strict=True)]

    def next_item(self, item: Item, row: Tensors, options: Options) -> Item | None:
        """Keeps the parts of a window; gives the next window of the recording."""
        if not isinstance(item, WindowItem):
            return None
        state = item.state
        parts, frames = self._parts(row, state)
        state.parts += parts
        state.rows.append(row)
        state.at += frames
        if state.at >= state.features.shape[1]:
            return None
        return self._item(state, self._windows.most_new_tokens)

    def _parts(self, row: Tensors, state: WindowState) -> tuple[list[Part], int]:
        frames = min(self._frames, state.features.shape[1] - state.at)
        return parts_of(np.asarray(row["output_ids"]).tolist(), self._windows, state.at, frames)

    def shown(self, row: Tensors, item: Item | None = None) -> Tensors:
        """The tokens of all windows, one after another."""
        if not isinstance(item, WindowItem) or len(item.state.rows) < 2:
            return row
        return {name: np.concatenate([one[name] for one in item.state.rows]) for name in row}

    def postprocess(self, row: Tensors, item: Item, options: Options) -> Answer:
        """Token ids `[n]` → text and its parts."""
        assert isinstance(item, WindowItem)
        state = item.state
        parts = state.parts if state.rows else self._parts(row, state)[0]  # a check runs a single pass
        chunks = [TranscriptChunk(self.text(part.ids), part.start_s, part.end_s) for part in parts]
        written = [chunk for chunk in chunks if chunk.text]
        return Transcript("".join(chunk.text for chunk in written), tuple(written))

    def text(self, ids: Sequence[int]) -> str:
        """The text of token ids, without timestamps."""
        return str(self._tokenizer.decode([one for one in ids if one < self._windows.first_timestamp]))

    def golden_instance(self, given: GoldenInput) -> Instance:
        """The recording of a golden case, or its noise."""
        return self._inputs.golden_instance(given)

    def golden_problem(self, expect: Expectation, answer: Answer, answer_of: Mapping[str, Answer]) -> str | None:
        """Another text than the expected one."""
        assert isinstance(expect, WrittenExpectation)
        assert isinstance(answer, Transcript)
        return None if answer.text == expect.written else f"expected {expect.written!r}, got {answer.text!r}"


def parts_of(ids: Sequence[int], windows: WindowDecoding, at: int, frames: int) -> tuple[list[Part], int]:
    """The parts that a window's tokens tell, and how many of its `frames` were read; the window begins at frame `at`.

    Two timestamps in a row end a part and begin the next one. What follows the last such pair is read again in the next window,
    unless a single timestamp ends the tokens.
    """
    first = windows.first_timestamp
    ids = [one for one in ids if one != windows.stop_id]
    stamped = [one >= first for one in ids]
    cuts = [i for i in range(1, len(ids)) if stamped[i - 1] and stamped[i]]
    begin_s, step_s = at * windows.frame_seconds, windows.timestamp_seconds
    per_step = round(windows.timestamp_seconds / windows.frame_seconds)

    def part(tokens: Sequence[int], start: float, end: float) -> Part:
        return Part(tuple(one for one in tokens if one < first), begin_s + start * step_s, begin_s + end * step_s)

    if not cuts:
        last = next((one - first for one in reversed(ids) if one >= first), 0)
        return [part(ids, 0, last or frames / per_step)], frames
    ends_alone = stamped[-2:] == [False, True]
    parts, begin = [], 0
    for cut in [*cuts, len(ids)] if ends_alone else cuts:
        piece = ids[begin:cut]
        parts.append(part(piece, piece[0] - first, piece[-1] - first))
        begin = cut
    read = frames if ends_alone else (ids[cuts[-1] - 1] - first) * per_step
    return parts, min(frames, read) or frames
