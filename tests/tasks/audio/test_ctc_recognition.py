"""Frames become text as CTC says, and long recordings are read in chunks whose frames follow one another."""

from __future__ import annotations

import numpy as np
import pytest

from model_zoo.cards.recipes import CtcDecoding
from service.tasks.audio.ctc_recognition import chunks_of, transcribed
from service.types import Transcript, TranscriptChunk

TOKENS = ("-", "|", "A", "B", "c", ".")
CTC = CtcDecoding(blank=0, delimiter="|", frame_samples=10, chunk_seconds=1.0, overlap_seconds=0.2)


def test_repetitions_are_one_letter_unless_a_blank_is_between_them() -> None:
    assert transcribed([2, 2, 0, 2, 3, 3], TOKENS, CTC, 0.1).text == "AAB"


def test_words_have_the_times_of_their_frames() -> None:
    found = transcribed([0, 2, 2, 3, 1, 1, 0, 4, 0], TOKENS, CTC, 0.5)
    assert found == Transcript("AB c", (TranscriptChunk("AB", 0.5, 2.0), TranscriptChunk("c", 3.5, 4.0)))


def test_silence_is_an_empty_text() -> None:
    assert transcribed([0, 0, 1, 0], TOKENS, CTC, 0.1) == Transcript("", ())
    assert transcribed([], TOKENS, CTC, 0.1) == Transcript("", ())


def test_text_is_finished_as_its_tokenizer_says() -> None:
    lower = CTC.model_copy(update={"lower": True, "clean_up": True})
    assert transcribed([2, 1, 5], TOKENS, lower, 0.1).text == "a."


@pytest.mark.parametrize("count", [1000, 1001, 1599, 1600, 1601, 1650, 5000])
def test_chunks_of_a_recording_leave_no_frame_out_and_none_twice(count: int) -> None:
    """Each sample's frame is told by its first sample; a network without convolutions has a frame every ten samples."""
    samples = np.arange(count, dtype=np.float32)
    read = [c.samples[::10][c.first : c.until] for c in chunks_of(samples, CTC, 1000, 25)]
    assert np.concatenate(read).tolist() == samples[::10].tolist()
    assert all(len(chunk.samples) <= 1000 for chunk in chunks_of(samples, CTC, 1000, 25))


def test_short_recording_is_one_chunk() -> None:
    (chunk,) = chunks_of(np.zeros(7, np.float32), CTC, 1000, 5)
    assert (len(chunk.samples), chunk.first, chunk.until) == (7, 0, None)


def test_chunks_must_advance() -> None:
    with pytest.raises(ValueError, match="more than twice"):
        CtcDecoding(blank=0, frame_samples=10, chunk_seconds=1.0, overlap_seconds=0.5)
