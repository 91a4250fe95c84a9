"""Task `video-segmentation`: a video → its shots, by the VideoRecipe of the card.

Each window of a video is a row in the model's queue like any other, one after another: a long video takes no more of a batch than
a short one, and rows of other callers run between its windows.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model_zoo.cards.card import Card
from model_zoo.cards.recipes import VideoRecipe
from model_zoo.golden.golden_case import Expectation, GoldenInput, ShotsExpectation, golden_path
from service.errors import InvalidInput, ZooError
from service.tasks.base import NO_FILES, Task
from service.tasks.instances import read_each, reject_kind
from service.tasks.video.video_frames import OpenVideo, UnreadableVideo, scaled, too_large
from service.types import Answer, Instance, Item, Options, Shot, Shots, Tensors, VideoInstance


@dataclass(slots=True)
class VideoState:
    """A video, and what was read of it. It belongs to one call alone."""

    frames: NDArray[np.uint8]
    """All of them, `[frames, height, width, 3]`."""
    starts_s: NDArray[np.float64]
    """When each begins, `[frames]`, from the first one."""
    duration_s: float
    at: int = 0
    """The first frame with an answer of the present window."""
    rows: list[Tensors] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class VideoItem(Item):
    """The next window of a video."""

    state: VideoState = field(
        default_factory=lambda: VideoState(np.zeros((0, 0, 0, 3), np.uint8), np.zeros(0, np.float64), 0.0)
    )


class VideoSegmentation(Task):
    """Finds the shots of videos of any size and rate, up to the card's limits."""

    options = frozenset({"threshold"})
    raw_types = (VideoInstance,)
    whole_tensors = True

    def __init__(self, card: Card, labels: Sequence[str] = (), files: Mapping[str, Path] = NO_FILES) -> None:
        super().__init__(card, labels, files)
        if not isinstance(card.recipe, VideoRecipe):
            raise TypeError(f"card {card.name} has no recipe for videos")
        self._recipe = card.recipe
        self._frames, self._cuts = card.signature.inputs[0].name, card.signature.outputs[0].name

    # ── inputs ───────────────────────────────────────────────────────────────────────────────────────────────────

    def preprocess(self, instances: Sequence[Instance], paths: Sequence[str]) -> list[Item | ZooError]:
        """Videos → the first window of each."""
        return read_each(self._read, instances, paths)

    def _read(self, instance: Instance, path: str) -> Item:
        if not isinstance(instance, VideoInstance):
            raise reject_kind(self.card, instance, path)
        try:
            return self._item(decoded(instance.data, self._recipe))
        except UnreadableVideo as problem:
            raise InvalidInput(path, str(problem)) from None

    def _item(self, state: VideoState) -> Item:
        """The window at the present place. The first and the last frame stand for those beyond the ends."""
        recipe = self._recipe
        first = state.at - (recipe.window - recipe.stride) // 2
        places = np.clip(np.arange(first, first + recipe.window), 0, len(state.frames) - 1)
        return VideoItem({self._frames: state.frames[places]}, state=state)

    def next_item(self, item: Item, row: Tensors, options: Options) -> Item | None:
        """Keeps the answer of a window; gives the next window of the video."""
        if not isinstance(item, VideoItem):
            return None
        state = item.state
        state.rows.append(self._own(row, state))
        state.at += self._recipe.stride
        return self._item(state) if state.at < len(state.frames) else None

    def warmup_item(self) -> Item:
        """A window of black frames."""
        recipe = self._recipe
        return Item({self._frames: np.zeros((recipe.window, recipe.height, recipe.width, 3), np.uint8)})

    # ── answers ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _own(self, row: Tensors, state: VideoState) -> Tensors:
        """A window's outputs without those of the frames that stand for none."""
        count = min(self._recipe.stride, len(state.frames) - state.at)
        return {name: array[:count] for name, array in row.items()}

    def shown(self, row: Tensors, item: Item | None = None) -> Tensors:
        """The outputs of all windows, one after another: one number for each frame."""
        if not isinstance(item, VideoItem):
            return row
        rows = item.state.rows or [self._own(row, item.state)]
        return {name: np.concatenate([one[name] for one in rows]) for name in row}

    def postprocess(self, row: Tensors, item: Item, options: Options) -> Shots:
        """Probabilities of cuts `[frames]` → shots. A check runs the first window alone, and gets the shots of its frames."""
        assert isinstance(item, VideoItem)
        probabilities = np.asarray(self.shown(row, item)[self._cuts], np.float32)
        threshold = self._recipe.threshold if options.threshold is None else options.threshold
        state = item.state
        ends_s = np.append(state.starts_s[1:], state.duration_s)
        shots = tuple(
            Shot(start, end, float(state.starts_s[start]), float(ends_s[end]), score)
            for start, end, score in find_shots(probabilities, threshold)
        )
        count = len(probabilities)
        return Shots(shots, count, float(ends_s[count - 1]), probabilities)

    # ── golden cases ─────────────────────────────────────────────────────────────────────────────────────────────

    def golden_instance(self, given: GoldenInput) -> Instance:
        """The video of a golden case."""
        assert given.file is not None
        return VideoInstance(golden_path(given.file).read_bytes())

    def golden_problem(self, expect: Expectation, answer: Answer, answer_of: Mapping[str, Answer]) -> str | None:
        """Other cuts than the expected ones, or less certain ones."""
        assert isinstance(expect, ShotsExpectation)
        assert isinstance(answer, Shots)
        if answer.frame_count not in (expect.frames, self._recipe.stride):
            return f"expected {expect.frames} frames, got {answer.frame_count}"
        expected = [cut for cut in expect.cuts if cut < answer.frame_count]
        cuts = [(shot.end_frame, shot.cut_score) for shot in answer.shots if shot.cut_score is not None]
        if [frame for frame, _ in cuts] != expected:
            return f"expected cuts after the frames {expected}, got {[frame for frame, _ in cuts]}"
        worst = min((score for _, score in cuts), default=1.0)
        return None if worst >= expect.min_score else f"expected cuts of at least {expect.min_score:g}, got {worst:.3f}"


def decoded(data: bytes, recipe: VideoRecipe) -> VideoState:
    """Encoded bytes → all frames in the size of the network, and their times. Raises UnreadableVideo."""
    until = time.monotonic() + recipe.max_decode_seconds
    frames: list[NDArray[Any]] = []
    starts: list[float] = []
    with OpenVideo(data, recipe.max_pixels) as stream:
        if stream.announced_frames > recipe.max_frames:
            raise UnreadableVideo(_too_long(recipe, f"{stream.announced_frames:,}"))
        step_s = 1.0 / stream.rate
        first_s = None
        for frame in stream.frames():
            if len(frames) == recipe.max_frames:
                raise UnreadableVideo(_too_long(recipe, "more"))
            if frame.width * frame.height > recipe.max_pixels:
                raise UnreadableVideo(too_large(frame.width, frame.height, recipe.max_pixels))
            if time.monotonic() > until:
                raise UnreadableVideo(
                    f"takes more than {recipe.max_decode_seconds:g} s to decode; send it with fewer pixels or in parts"
                )
            following = starts[-1] + step_s if starts else 0.0
            if frame.time is not None:
                first_s = frame.time if first_s is None else first_s
                shown_s = frame.time - first_s
                # A file may say that a frame begins before the one that is shown before it.
                following = shown_s if not starts or shown_s > starts[-1] else following
            starts.append(following)
            frames.append(scaled(frame, recipe.width, recipe.height))
    return VideoState(np.stack(frames), np.array(starts), starts[-1] + step_s)


def _too_long(recipe: VideoRecipe, came: str) -> str:
    return f"expected at most {recipe.max_frames:,} frames, got {came}"


def find_shots(probabilities: NDArray[np.float32], threshold: float) -> list[tuple[int, int, float | None]]:
    """Probabilities of cuts `[frames]` → first frame, last frame, and score of each shot, by the rule of TransNet V2.

    A shot ends at the first frame whose probability exceeds the threshold; the next begins at the first one after it whose
    probability does not. A video in which every probability exceeds it is one shot. The score is the greatest probability
    of the frames above the threshold that end the shot; None where the video ends it. NaN exceeds nothing.
    """
    shots: list[tuple[int, int, float | None]] = []
    count, start = len(probabilities), 0
    above = (probabilities > threshold).tolist()
    at = 0
    while at < count:
        if not above[at]:
            at += 1
            continue
        after = next((i for i in range(at, count) if not above[i]), count)
        if at:  # frames of a transition at the very beginning belong to no shot
            shots.append((start, at, float(probabilities[at:after].max())))
        start = at = after
    if start < count:
        shots.append((start, count - 1, None))
    return shots or [(0, count - 1, None)]
