"""A recording is read in windows, whose frames become notes with their times in the recording."""

from typing import Any

import numpy as np
import pytest

from model_zoo.catalog import Catalog
from service.errors import InvalidInput
from service.tasks.audio.audio_to_notes import AudioToNotes, note_name, note_number
from service.types import AudioInstance, Item, NoteEvents, Options, SamplesInstance, TensorInstance, Tensors
from tests.support.tasks.sounds import encoded

CARD = Catalog.from_package().get("basic_pitch")
RATE, HOP, WINDOW, FRAMES = 22_050, 256, 43_844, 172
PATH = "instances[0]"
DEFAULTS = Options()


@pytest.fixture(scope="module")
def task() -> AudioToNotes:
    return AudioToNotes(CARD)


def one(task: AudioToNotes, instance: Any) -> Any:
    (outcome,) = task.preprocess([instance], [PATH])
    return outcome


def loudness(item: Item) -> Tensors:
    """Stands for the network: A4 sounds, and its contour tells the loudest sample of each frame."""
    samples = np.abs(item.tensors["samples"][:, 0])
    frames = np.pad(samples, (0, FRAMES * HOP - WINDOW)).reshape(FRAMES, HOP).max(axis=1)
    outputs = {
        name: np.zeros((FRAMES, size), np.float32) for name, size in (("onsets", 88), ("notes", 88), ("contours", 264))
    }
    outputs["notes"][:, 48] = outputs["contours"][:, 0] = frames
    return outputs


def played(task: AudioToNotes, samples: Any, options: Options = DEFAULTS) -> tuple[NoteEvents, Tensors, int]:
    item = one(task, SamplesInstance(np.asarray(samples, np.float32), RATE))
    for passes in range(1, 1000):
        row = loudness(item)
        following = task.next_item(item, row, options)
        if following is None:
            answer = task.postprocess(row, item, options)
            assert isinstance(answer, NoteEvents)
            return answer, task.shown(row, item), passes
        item = following
    raise AssertionError("the recording has no end")


@pytest.mark.parametrize(("samples", "passes"), [(1, 1), (36_164, 1), (36_165, 2), (10 * RATE, 7)])
def test_windows_cover_the_recording_and_each_frame_is_kept_once(task: AudioToNotes, samples: int, passes: int) -> None:
    sound = np.zeros(samples)
    places = np.arange(1000, samples, 9000)
    sound[places] = 0.1 + np.arange(len(places)) / 100
    _, frames, count = played(task, sound)
    assert count == passes
    heard = frames["contours"][:, 0]
    # The frames of a window are 188 samples longer than its step, so that the last one may hear what the next window begins with.
    values, first = np.unique(heard[heard > 0], return_index=True)
    assert values.tolist() == pytest.approx(sound[places].tolist())
    seconds = np.flatnonzero(heard)[first] * HOP / RATE
    assert np.all(np.abs(seconds - places / RATE) <= (HOP + 188 * passes) / RATE)
    assert {name: len(array) for name, array in frames.items()} == dict.fromkeys(frames, len(heard))


def test_times_of_a_note_are_those_of_the_recording_in_any_window(task: AudioToNotes) -> None:
    sound = np.zeros(60 * RATE)
    for second in (0, 13, 31, 58):
        sound[second * RATE : (second + 1) * RATE] = 0.5
    answer, _, _ = played(task, sound)
    assert answer.duration_s == 60.0
    assert [one.start_s for one in answer.events] == pytest.approx([0, 13, 31, 58], abs=0.013)
    assert [one.end_s for one in answer.events] == pytest.approx([1, 14, 32, 59], abs=0.013)
    first = answer.events[0]
    assert (first.pitch, first.name, first.velocity) == (69, "A4", 64)
    assert first.amplitude == pytest.approx(0.5, abs=0.01)


def test_note_may_last_until_the_end(task: AudioToNotes) -> None:
    answer, _, _ = played(task, np.full(3 * RATE, 0.5))
    (only,) = answer.events
    assert (only.start_s, only.end_s) == pytest.approx((0.0, 3.0), abs=0.03)
    assert only.end_s <= answer.duration_s


def test_threshold_of_the_call_decides_what_a_note_is(task: AudioToNotes) -> None:
    assert len(played(task, np.full(RATE, 0.4))[0].events) == 1
    assert played(task, np.full(RATE, 0.4), Options(threshold=0.5))[0].events == ()
    assert played(task, np.zeros(RATE))[0] == NoteEvents((), 1.0)
    with pytest.raises(InvalidInput, match=r"expected 0.1..1, got 0.05"):
        task.check(Options(threshold=0.05))


def test_window_as_a_tensor_keeps_all_its_frames(task: AudioToNotes) -> None:
    item = task.row(TensorInstance({"samples": np.zeros((WINDOW, 1), np.float32)}), "t")
    row = loudness(item)
    assert task.next_item(item, row, Options()) is None
    assert task.shown(row, item)["notes"].shape == (FRAMES, 88)
    with pytest.raises(InvalidInput, match="expected finite samples, got NaN"):
        task.row(TensorInstance({"samples": np.full((WINDOW, 1), np.nan, np.float32)}), "t")


@pytest.mark.parametrize(
    ("instance", "says"),
    [
        (AudioInstance(b""), "is empty; expected a WAV, FLAC or OGG file"),
        (AudioInstance(b"MThd\0\0\0\6"), "expected a WAV, FLAC or OGG file"),
        (SamplesInstance(np.array([np.inf], np.float32), RATE), "expected finite samples"),
        (AudioInstance(encoded(np.zeros(601_000, np.float32), 1000, "FLAC")), "expected at most 600 seconds of sound"),
    ],
)
def test_input_that_is_no_sound_is_refused(task: AudioToNotes, instance: Any, says: str) -> None:
    outcome = one(task, instance)
    assert isinstance(outcome, InvalidInput)
    assert says in outcome.message


def test_golden_problem_names_what_was_heard(task: AudioToNotes) -> None:
    expect = CARD.golden[0].expect
    assert task.golden_problem(expect, played(task, np.full(RATE, 0.5))[0], {}) is None
    assert task.golden_problem(expect, NoteEvents((), 1.0), {}) == "expected A4 at 0 s; got none"


@pytest.mark.parametrize(("pitch", "name"), [(21, "A0"), (60, "C4"), (61, "C#4"), (69, "A4"), (108, "C8"), (0, "C-1")])
def test_names_of_pitches(pitch: int, name: str) -> None:
    assert (note_name(pitch), note_number(name)) == (name, pitch)
