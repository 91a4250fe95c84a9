"""Tones of golden cases have their pitches, decay, and are the same each time."""

import numpy as np
import pytest

from model_zoo.golden.tones import LOUDNESS, Tones, plucked


def test_chord_has_its_pitches_and_decays() -> None:
    samples = plucked(Tones(chords=((60, 64, 67),), seconds=1.0, decay=3.0), 16_000)
    strength = np.abs(np.fft.rfft(samples))
    assert sorted(np.argsort(strength)[-3:]) == pytest.approx([261.6, 329.6, 392.0], abs=0.7)
    parts = [np.abs(part).max() for part in np.split(samples, 4)]
    assert parts == sorted(parts, reverse=True)
    assert 0.5 * LOUDNESS < parts[0] < 1.0


def test_chords_follow_each_other_and_an_empty_one_is_a_rest() -> None:
    samples = plucked(Tones(chords=((69,), (), (57,)), seconds=0.5), 8_000)
    assert (samples.dtype, len(samples)) == (np.float32, 12_000)
    first, rest, last = np.split(samples, 3)
    assert not rest.any()
    assert [np.abs(np.fft.rfft(part)).argmax() * 2 for part in (first, last)] == [440, 220]


@pytest.mark.parametrize(
    ("chords", "words"),
    [
        ([[60], [62]], "2 plucked notes of 1 s each"),
        ([[60, 64]], "a plucked chord of 1 s"),
        ([[60]], "a plucked note of 1 s"),
    ],
)
def test_tones_are_told_in_words(chords: list[list[int]], words: str) -> None:
    assert Tones.model_validate({"chords": chords, "seconds": 1}).in_words == words
