"""Task `audio-classification`: a recording → the best labels."""

from __future__ import annotations

from service.tasks.classification import Classifying
from service.tasks.spectrogram import SpectrogramInput


class AudioClassification(Classifying, SpectrogramInput):
    """Labels for sounds, best first."""
