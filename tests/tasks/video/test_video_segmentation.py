"""Probabilities of cuts become shots, and a video is read window by window, as its makers' own code does it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from model_zoo.cards.recipes import VideoRecipe
from model_zoo.catalog import Catalog
from model_zoo.golden.golden_case import ShotsExpectation, golden_path
from service.errors import InvalidInput
from service.tasks.video.video_segmentation import VideoItem, VideoSegmentation, find_shots
from service.types import Options, Shots, TextInstance, VideoInstance
from tests.support.tasks.videos import video

CARD = Catalog.from_package().get("transnetv2")
RECIPE = CARD.recipe
assert isinstance(RECIPE, VideoRecipe)
TASK = VideoSegmentation(CARD)
EXPECTED = CARD.golden[0].expect
assert isinstance(EXPECTED, ShotsExpectation)


def item(data: bytes, task: VideoSegmentation = TASK) -> VideoItem:
    [found] = task.preprocess([VideoInstance(data)], ["instances[0]"])
    assert isinstance(found, VideoItem), found
    return found


def by_change(frames: np.ndarray) -> dict[str, Any]:
    """A network that sees a cut where all pixels change."""
    change = np.abs(np.diff(frames.astype(np.float32), axis=0)).mean((1, 2, 3)) / 60
    return {"cuts": np.clip(change[25:75], 0, 1).astype(np.float32), "transitions": np.zeros(50, np.float32)}


def answer(first: VideoItem, **options: Any) -> tuple[Shots, list[np.ndarray]]:
    windows, now, row = [], first, {}
    following: Any = first
    while following is not None:
        now = following
        windows.append(now.tensors["frames"])
        row = by_change(np.asarray(windows[-1]))
        following = TASK.next_item(now, row, Options())
    np.testing.assert_array_equal(TASK.shown(row, now)["cuts"].shape, [len(first.state.frames)])
    return TASK.postprocess(row, now, Options(**options)), windows


@pytest.mark.parametrize(
    ("probabilities", "shots"),
    [
        ([0.1, 0.9, 0.2, 0.1], [(0, 1, 0.9), (2, 3, None)]),
        ([0.1, 0.6, 0.9, 0.1], [(0, 1, 0.9), (3, 3, None)]),
        ([0.9, 0.8, 0.1], [(2, 2, None)]),
        ([0.1, 0.9], [(0, 1, 0.9)]),
        ([0.9, 0.9], [(0, 1, None)]),
        ([0.5], [(0, 0, None)]),
        ([0.1, float("nan"), 0.1], [(0, 2, None)]),
    ],
)
def test_shots_end_where_the_probability_exceeds_the_threshold(probabilities: list[float], shots: list[Any]) -> None:
    found = find_shots(np.array(probabilities, np.float32), 0.5)
    assert [(start, end) for start, end, _ in found] == [(start, end) for start, end, _ in shots]
    assert [score for *_, score in found] == [None if s is None else pytest.approx(s) for *_, s in shots]


def test_golden_video_is_read_in_windows_that_overlap_and_repeat_its_ends() -> None:
    first = item(golden_path("shots.mp4").read_bytes())
    found, windows = answer(first)
    frames = first.state.frames
    padded = np.concatenate([frames[:1].repeat(25, 0), frames, frames[-1:].repeat(25 + 20, 0)])  # to whole windows
    assert len(windows) == 4
    for i, window in enumerate(windows):
        np.testing.assert_array_equal(window, padded[50 * i : 50 * i + 100])
    assert [shot.end_frame for shot in found.shots] == [44, 104, 142, 179]
    assert found.shots[1].start_s == pytest.approx(1.8)
    assert found.shots[-1].end_s == found.duration_s == pytest.approx(7.2)
    assert TASK.golden_problem(EXPECTED, found, {}) is None


def test_check_of_the_first_window_alone_gets_the_shots_of_its_frames() -> None:
    first = item(golden_path("shots.mp4").read_bytes())
    found = TASK.postprocess(by_change(np.asarray(first.tensors["frames"])), first, Options())
    assert (found.frame_count, [shot.end_frame for shot in found.shots]) == (50, [44, 49])
    assert TASK.golden_problem(EXPECTED, found, {}) is None
    other = EXPECTED.model_copy(update={"cuts": (43,)})
    assert TASK.golden_problem(other, found, {}) == "expected cuts after the frames [43], got [44]"


def test_video_of_one_frame_is_one_shot() -> None:
    found, _ = answer(item(video(1)))
    assert [(shot.start_frame, shot.end_frame, shot.cut_score) for shot in found.shots] == [(0, 0, None)]
    assert found.duration_s == pytest.approx(0.04)


@pytest.mark.parametrize("form", ["mp4", "mpegts"])  # with and without the number of frames in the header
def test_video_of_more_frames_than_the_limit_is_refused_and_one_of_as_many_is_read(form: str) -> None:
    limits = RECIPE.model_copy(update={"max_frames": 10})
    task = VideoSegmentation(CARD.model_copy(update={"recipe": limits}))
    codec = "mpeg2video" if form == "mpegts" else "mpeg4"
    assert len(item(video(10, form=form, codec=codec), task).state.frames) == 10
    [refusal] = task.preprocess([VideoInstance(video(11, form=form, codec=codec))], ["instances[0]"])
    assert isinstance(refusal, InvalidInput)
    assert refusal.problem.startswith("expected at most 10 frames, got")


def test_decoding_ends_when_its_time_is_over() -> None:
    limits = RECIPE.model_copy(update={"max_decode_seconds": 1e-9})
    task = VideoSegmentation(CARD.model_copy(update={"recipe": limits}))
    [refusal] = task.preprocess([VideoInstance(video(3))], ["instances[0]"])
    assert isinstance(refusal, InvalidInput)
    assert "s to decode" in refusal.problem


def test_text_is_refused_by_its_kind() -> None:
    [refusal] = TASK.preprocess([TextInstance(b"film.mp4")], ["instances[0]"])
    assert isinstance(refusal, InvalidInput)
    assert refusal.problem == "expected video or tensors for model 'transnetv2', got text"
