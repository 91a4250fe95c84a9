"""Task `audio-classification`: a recording → the best labels."""

from __future__ import annotations

from service.tasks.audio.spectrogram import SpectrogramInput
from service.tasks.classification import Classifying


class AudioClassification(Classifying, SpectrogramInput):
    """Labels for sounds, best first."""
