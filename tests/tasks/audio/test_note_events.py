"""Probabilities of frames become notes by the published rule."""

import numpy as np
import pytest

from service.tasks.audio.note_events import FrameNote, find_notes

FRAMES, PITCHES = 120, 6
Arrays = tuple[np.ndarray, np.ndarray]


def silent() -> Arrays:
    return np.zeros((FRAMES, PITCHES), np.float32), np.zeros((FRAMES, PITCHES), np.float32)


def found(arrays: Arrays, threshold: float = 0.3) -> list[tuple[int, int, int]]:
    return [(one.start, one.end, one.pitch) for one in find_notes(*arrays, 0.5, threshold, 11)]


def test_note_reaches_from_its_beginning_to_the_pause_after_it() -> None:
    notes, onsets = silent()
    notes[20:60, 2], onsets[20, 2] = 0.5, 0.9
    notes[40:50, 2] = 0.0  # too short for a pause
    (one,) = find_notes(notes, onsets, 0.5, 0.3, 11)
    assert one == FrameNote(20, 60, 2, pytest.approx(0.5 * 30 / 40))
    notes[40:51, 2] = 0.0
    assert found((notes, onsets)) == [(20, 40, 2)]  # the rest is too short for a note


def test_likely_frames_without_a_beginning_are_a_note_as_well() -> None:
    notes, onsets = silent()
    notes[:, 3] = np.linspace(0.2, 0.6, FRAMES)  # it rises so slowly that no frame is a beginning
    assert [(start, pitch) for start, _, pitch in found((notes, onsets))] == [(30, 3)]


def test_beginning_is_also_where_a_note_rises() -> None:
    notes, onsets = silent()
    onsets[20, 1] = 0.9
    notes[20:60, 1] = notes[60:100, 4] = 0.6
    assert found((notes, onsets)) == [(20, 60, 1), (60, 100, 4)]


def test_neighbouring_pitches_belong_to_a_note_and_others_do_not() -> None:
    notes, onsets = silent()
    notes[:60, 1:6], onsets[20, (2, 4)] = 0.5, 0.9
    assert [one for one in found((notes, onsets)) if one[0] == 20] == [(20, 60, 2), (20, 60, 4)]


def test_short_notes_are_dropped_and_a_higher_threshold_leaves_fewer() -> None:
    notes, onsets = silent()
    notes[20:31, 1], notes[20:32, 4] = 0.5, 0.5
    onsets[20] = 0.9
    assert found((notes, onsets)) == [(20, 32, 4)]
    assert found((notes, onsets), 0.6) == []


def test_notes_are_in_order_of_their_beginning_and_pitch() -> None:
    notes, onsets = silent()
    for start, pitch in ((60, 1), (20, 4), (20, 0)):
        notes[start : start + 30, pitch], onsets[start, pitch] = 0.5, 0.9
    assert found((notes, onsets)) == [(20, 50, 0), (20, 50, 4), (60, 90, 1)]


@pytest.mark.parametrize("frames", [0, 1, 2, 3])
def test_hardly_any_frames_are_no_notes(frames: int) -> None:
    full = np.ones((frames, PITCHES), np.float32)
    assert find_notes(full, full, 0.5, 0.3, 11) == []


def test_frames_that_are_all_alike_have_no_beginning() -> None:
    notes, onsets = silent()
    assert found((notes + 0.2, onsets + 0.2)) == []
    assert len(found((notes + 0.2, onsets + 0.2), 0.1)) == PITCHES // 2  # each takes its neighbour along
