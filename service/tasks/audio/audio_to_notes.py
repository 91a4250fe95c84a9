"""Task `audio-to-notes`: a recording of music → its notes, by the NotesRecipe of the card.

The network reads windows that overlap. Each is a row in the model's queue like any other; half of what overlaps is dropped on
either side, and the notes are found in all frames together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model_zoo.cards.card import Card
from model_zoo.cards.recipes import NotesRecipe
from model_zoo.golden.golden_case import Expectation, GoldenInput, NotesExpectation
from service.errors import InvalidInput, ZooError
from service.tasks.audio.audio_input import mono_samples, refuse_bad_samples
from service.tasks.audio.note_events import find_notes
from service.tasks.base import NO_FILES, Task
from service.tasks.instances import golden_recording, read_each
from service.types import (
    Answer,
    AudioInstance,
    Instance,
    Item,
    NoteEvent,
    NoteEvents,
    Options,
    SamplesInstance,
    TensorInstance,
    Tensors,
)

LEAST_THRESHOLD = 0.1
"""Of notes: below it, silence would be full of them."""
LOUDEST = 127
"""Greatest velocity in MIDI."""
_NAMES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")


@dataclass(slots=True)
class SongState:
    """A recording, and the outputs for its windows so far. It belongs to one call alone."""

    samples: NDArray[np.float32]
    """Mono, at the rate of the model."""
    at: int = 0
    """Number of the present window."""
    rows: list[Tensors] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class SongItem(Item):
    """The next window of a recording."""

    state: SongState = field(default_factory=lambda: SongState(np.zeros(1, np.float32)))


class AudioToNotes(Task):
    """Accepts recordings up to the card's limit, at any rate, with any number of channels. Outputs are frames of 88 pitches, the
    lowest first, and begin with those of beginnings and of notes, in the order of the recipe."""

    whole_tensors = True
    raw_types = (AudioInstance, SamplesInstance)
    options = frozenset({"threshold"})

    def __init__(self, card: Card, labels: Sequence[str] = (), files: Mapping[str, Path] = NO_FILES) -> None:
        super().__init__(card, labels, files)
        if not isinstance(card.recipe, NotesRecipe):
            raise TypeError(f"card {card.name} has no recipe of notes")
        self._recipe = recipe = card.recipe
        self._name, (self._size, _) = card.signature.inputs[0].name, card.signature.inputs[0].shape[1:]
        self._dropped = recipe.overlap_frames // 2  # at either end of a window
        self._step = self._size - recipe.overlap_frames * recipe.frame_samples
        """Samples from one window to the next."""

    def preprocess(self, instances: Sequence[Instance], paths: Sequence[str]) -> list[Item | ZooError]:
        """Sounds → the first window of each."""
        return read_each(self._read, instances, paths)

    def _read(self, instance: Instance, path: str) -> Item:
        recipe = self._recipe
        samples = mono_samples(self.card, instance, path, recipe.sample_rate, recipe.max_seconds)
        return self._item(SongState(samples))

    def _item(self, state: SongState) -> Item:
        """The window begins before its step by what is dropped; there is silence before and after the recording."""
        begin = state.at * self._step - self._dropped * self._recipe.frame_samples
        part = state.samples[max(0, begin) : begin + self._size]
        window = np.zeros((self._size, 1), np.float32)
        window[max(0, -begin) :][: len(part), 0] = part
        return SongItem({self._name: window}, state=state)

    def row(self, instance: TensorInstance, path: str) -> Item:
        """One window as a tensor → item, after the checks of every task; refuses NaN and infinity as in recordings."""
        item = super().row(instance, path)
        samples = np.asarray(item.tensors[self._name], np.float32)
        refuse_bad_samples(samples[:, 0], self._recipe.sample_rate, f"{path}.{self._name}")
        return item

    def next_item(self, item: Item, row: Tensors, options: Options) -> Item | None:
        """Keeps the outputs for a window; gives the next window of the recording."""
        if not isinstance(item, SongItem):
            return None
        state = item.state
        state.rows.append(row)
        state.at += 1
        return self._item(state) if state.at * self._step < len(state.samples) else None

    def check(self, options: Options) -> None:
        """Refuses a threshold below which silence would be full of notes."""
        super().check(options)
        if options.threshold is not None and options.threshold < LEAST_THRESHOLD:
            raise InvalidInput("options.threshold", f"expected {LEAST_THRESHOLD:g}..1, got {options.threshold:g}")

    def shown(self, row: Tensors, item: Item | None = None) -> Tensors:
        """The frames of a whole recording; all frames of a window that came as a tensor."""
        if not isinstance(item, SongItem):
            return row
        rows = item.state.rows or [row]  # a check runs a single pass
        _, kept = self._frames(item.state)
        last = len(next(iter(row.values()))) - self._dropped
        return {
            name: np.concatenate([one[name][self._dropped : last] for one in rows])[: len(kept)][kept] for name in row
        }

    def _frames(self, state: SongState) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """The times of the frames of all windows, in seconds, and which of them to keep: a window has a little more frames than
        its step is long, and the last ones lie beyond the end of the recording."""
        recipe = self._recipe
        count = -(-self._step // recipe.frame_samples)
        windows = max(1, len(state.rows))
        starts = np.arange(windows)[:, None] * self._step + np.arange(count) * recipe.frame_samples
        return starts.ravel() / recipe.sample_rate, starts.ravel() < len(state.samples)

    def postprocess(self, row: Tensors, item: Item, options: Options) -> NoteEvents:
        """Probabilities `[frames, 88]` → notes in order of their beginning."""
        assert isinstance(item, SongItem)
        recipe, state = self._recipe, item.state
        frames = self.shown(row, item)
        times, kept = self._frames(state)
        duration_s = len(state.samples) / recipe.sample_rate
        bounds = [*times[kept].tolist(), duration_s]
        threshold = recipe.note_threshold if options.threshold is None else options.threshold
        notes, onsets = (np.asarray(frames[name], np.float32) for name in (recipe.notes, recipe.onsets))
        found = find_notes(notes, onsets, recipe.onset_threshold, threshold, recipe.least_frames)
        events = [
            NoteEvent(
                bounds[one.start], bounds[one.end], pitch, note_name(pitch), one.amplitude, _velocity(one.amplitude)
            )
            for one in found
            for pitch in [recipe.lowest_pitch + one.pitch]
        ]
        return NoteEvents(tuple(events), duration_s)

    def golden_instance(self, given: GoldenInput) -> Instance:
        """The recording of a golden case, its tones or its noise."""
        return golden_recording(given, self._recipe.sample_rate)

    def golden_problem(self, expect: Expectation, answer: Answer, answer_of: Mapping[str, Answer]) -> str | None:
        """Other pitches than the expected ones, or one that begins elsewhere."""
        assert isinstance(expect, NotesExpectation)
        assert isinstance(answer, NoteEvents)
        found = sorted((one.pitch, one.start_s) for one in answer.events)
        wanted = sorted((note_number(name), start) for name, start in expect.notes)
        if [pitch for pitch, _ in found] == [pitch for pitch, _ in wanted] and all(
            abs(ours[1] - theirs[1]) <= expect.tolerance_seconds for ours, theirs in zip(found, wanted, strict=True)
        ):
            return None
        expected = ", ".join(f"{name} at {start:g} s" for name, start in expect.notes) or "no notes"
        heard = ", ".join(f"{one.name} at {one.start_s:.2f} s" for one in answer.events[:12]) or "none"
        return f"expected {expected}; got {heard}"


def note_name(pitch: int) -> str:
    """The name of a MIDI pitch: 69 is A4, and semitones between letters are sharp."""
    return f"{_NAMES[pitch % 12]}{pitch // 12 - 1}"


def note_number(name: str) -> int:
    """The MIDI pitch of such a name."""
    letter = name.rstrip("-0123456789")
    return _NAMES.index(letter) + 12 * (int(name[len(letter) :]) + 1)


def _velocity(amplitude: float) -> int:
    """A probability as a velocity of MIDI: 1 to 127, since 0 would end the note."""
    return min(LOUDEST, max(1, round(LOUDEST * amplitude)))
