"""Notes are drawn as bars in a picture of bounded size."""

from service.cli.rendering.sounds.piano_roll import KEY_PIXELS, MARGIN, MOST_PIXELS, SECOND_PIXELS, piano_roll
from service.client import NoteEvent, NoteEvents
from service.types import Timing


def roll(duration_s: float, *events: NoteEvent) -> NoteEvents:
    return NoteEvents(model="m", version=1, timing=Timing(), events=events, duration_s=duration_s)


def test_bar_of_a_note_is_at_its_time_and_pitch_and_darker_for_a_louder_one() -> None:
    image = piano_roll(roll(4.0, NoteEvent(1, 2, 62, "D4", 0.9, 114), NoteEvent(2, 3, 62, "D4", 0.4, 51)))
    height = 24 * KEY_PIXELS  # two octaves from C4
    assert image.size == (MARGIN + 4 * SECOND_PIXELS + 8, height + MARGIN)
    middle = height - 2 * KEY_PIXELS - KEY_PIXELS // 2
    before, loud, quiet = (image.getpixel((MARGIN + int(second * SECOND_PIXELS), middle)) for second in (0.5, 1.5, 2.5))
    assert before == (255, 255, 255)
    assert isinstance(loud, tuple)
    assert isinstance(quiet, tuple)
    assert loud[2] == quiet[2] == 200
    assert loud[0] < quiet[0] < 200


def test_long_piece_and_all_pitches_are_a_picture_of_bounded_size() -> None:
    image = piano_roll(roll(600.0, NoteEvent(0, 600, 0, "C-1", 1.0, 127), NoteEvent(0, 0, 127, "G9", 0.0, 1)))
    assert image.width <= MARGIN + MOST_PIXELS + 8
    assert image.height == 132 * KEY_PIXELS + MARGIN


def test_piece_without_notes_is_an_empty_roll() -> None:
    assert piano_roll(roll(0.00001)).height == 24 * KEY_PIXELS + MARGIN
