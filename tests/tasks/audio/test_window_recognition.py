"""Tokens of a window become parts with times; the next window begins where the last complete part ends."""

from __future__ import annotations

import pytest

from model_zoo.cards.recipes import WindowDecoding
from service.tasks.audio.window_recognition import Part, parts_of

FIRST, STOP, FRAMES = 100, 0, 200
WINDOWS = WindowDecoding(
    prompt=(50,), first_timestamp=FIRST, timestamp_seconds=0.02, frame_seconds=0.01, stop_id=STOP, most_new_tokens=20
)


def at(step: int) -> int:
    return FIRST + step


@pytest.mark.parametrize(
    ("ids", "parts", "read"),
    [
        ([at(0), 5, 6, at(50), STOP], [((5, 6), 0.0, 1.0)], FRAMES),
        ([at(0), 5, at(20), at(20), 6, at(60), STOP], [((5,), 0.0, 0.4), ((6,), 0.4, 1.2)], FRAMES),
        ([at(0), 5, at(20), at(30), 6, 7], [((5,), 0.0, 0.4)], 40),
        ([at(0), 5, at(20), at(25)], [((5,), 0.0, 0.4)], 40),
        ([5, 6, STOP], [((5, 6), 0.0, 2.0)], FRAMES),
        ([at(0), 5, 6, STOP], [((5, 6), 0.0, 2.0)], FRAMES),
        ([STOP], [((), 0.0, 2.0)], FRAMES),
        ([], [((), 0.0, 2.0)], FRAMES),
    ],
)
def test_parts_and_the_frames_that_were_read(
    ids: list[int], parts: list[tuple[tuple[int, ...], float, float]], read: int
) -> None:
    found, frames = parts_of(ids, WINDOWS, 0, FRAMES)
    assert [(one.ids, pytest.approx(one.start_s), pytest.approx(one.end_s)) for one in found] == parts
    assert frames == read


def test_times_are_from_the_beginning_of_the_recording() -> None:
    found, _ = parts_of([at(10), 5, at(20), STOP], WINDOWS, 300, 150)
    assert found == [Part((5,), pytest.approx(3.0), pytest.approx(3.4))]


def test_a_window_always_reads_something() -> None:
    _, frames = parts_of([at(0), at(0), 5], WINDOWS, 0, 120)
    assert frames == 120
