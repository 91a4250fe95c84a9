"""Task `feature-extraction` of sounds: a recording → a vector."""

from __future__ import annotations

from service.tasks.audio.spectrogram import SpectrogramInput
from service.tasks.embedding import Embeds


class AudioFeatureExtraction(Embeds, SpectrogramInput):
    """Vectors for sounds."""
