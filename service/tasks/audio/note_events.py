"""Probabilities of notes, frame by frame → notes with a beginning and an end.

The rule is that of the package basic-pitch (Bittner et al., ICASSP 2022, arXiv:2203.09893). A note begins where the probability
of a beginning has a peak, and ends before 11 frames in which it is unlikely. What is likely and has no beginning becomes notes as
well, the likeliest first. A note takes the probabilities of its neighbouring pitches with it, since they are mostly its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

PAUSE_FRAMES = 11
"""Unlikely frames in a row that end a note."""
RISE_FRAMES = 2
"""Over which a rise of the probability of a note counts as a beginning."""

Frames = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class FrameNote:
    """A note: its first frame, the one after its last, its place among the pitches, and its mean probability."""

    start: int
    end: int
    pitch: int
    amplitude: float


def find_notes(
    notes: Frames, onsets: Frames, onset_threshold: float, note_threshold: float, least_frames: int
) -> list[FrameNote]:
    """Notes of more than `least_frames` frames, in order of their beginning and pitch.

    `notes`, `onsets`: probabilities `[frames, pitches]` that a note sounds, and that one begins.
    """
    count = len(notes)
    left = np.array(notes, np.float32)  # what belongs to no note yet
    found: list[FrameNote] = []

    def take(start: int, end: int, pitch: int) -> None:
        left[start:end, max(0, pitch - 1) : pitch + 2] = 0.0

    def keep(start: int, end: int, pitch: int) -> None:
        found.append(FrameNote(start, end, pitch, float(notes[start:end, pitch].mean())))

    starts, pitches = np.nonzero(_peaks(_with_rises(notes, onsets)) >= onset_threshold)
    for start, pitch in zip(starts[::-1].tolist(), pitches[::-1].tolist(), strict=True):
        if start >= count - 1:
            continue
        last, low = _walk(left[start + 1 : count - 1, pitch], note_threshold)
        end = start + 1 + last - low
        if end - start > least_frames:
            take(start, end, pitch)
            keep(start, end, pitch)
    likely = np.flatnonzero(left > note_threshold)
    for place in likely[np.argsort(-left.ravel()[likely], kind="stable")].tolist():
        middle, pitch = divmod(place, left.shape[1])
        if left[middle, pitch] <= note_threshold:  # a note has taken it
            continue
        left[middle, pitch] = 0.0
        ahead, low_after = _walk(left[middle + 1 : count - 1, pitch], note_threshold)
        take(middle + 1, middle + 1 + ahead, pitch)
        back, low_before = _walk(left[1:middle, pitch][::-1], note_threshold)
        take(middle - back, middle, pitch)
        start, end = middle - back + low_before, middle + ahead - low_after
        if end - start > least_frames:
            keep(start, end, pitch)
    return sorted(found, key=lambda note: (note.start, note.pitch))


def _walk(energy: Frames, threshold: float) -> tuple[int, int]:
    """How many frames there are until a pause has ended, or all frames, and how many of the last ones are unlikely."""
    low = 0
    for count, value in enumerate(energy, 1):
        low = low + 1 if value < threshold else 0
        if low == PAUSE_FRAMES:
            return count, low
    return len(energy), low


def _with_rises(notes: Frames, onsets: Frames) -> Frames:
    """Probabilities of beginnings, and where those of notes rise, as many as the greatest rise is as likely as the likeliest
    beginning."""
    if len(notes) <= RISE_FRAMES:
        return onsets
    rises = np.zeros_like(notes)
    before = [notes[RISE_FRAMES - n : -n] for n in range(1, RISE_FRAMES + 1)]
    rises[RISE_FRAMES:] = np.maximum(0.0, np.min([notes[RISE_FRAMES:] - one for one in before], axis=0))
    greatest = float(rises.max())
    return onsets if greatest == 0.0 else np.maximum(onsets, rises * (float(onsets.max()) / greatest))


def _peaks(values: Frames) -> Frames:
    """Values that are greater than those of the frame before and of the frame after; 0 elsewhere, and at both ends."""
    peaks = np.zeros_like(values)
    middle = values[1:-1]
    peaks[1:-1] = np.where((middle > values[:-2]) & (middle > values[2:]), middle, 0.0)
    return peaks
