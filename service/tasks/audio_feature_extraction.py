"""Task `feature-extraction` of sounds: a recording → a vector."""

from __future__ import annotations

from service.tasks.embedding import Embeds
from service.tasks.spectrogram import SpectrogramInput


class AudioFeatureExtraction(Embeds, SpectrogramInput):
    """Vectors for sounds."""
