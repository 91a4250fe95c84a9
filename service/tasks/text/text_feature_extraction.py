"""Task `feature-extraction` of texts: a text → a vector."""

from __future__ import annotations

from service.tasks.embedding import Embeds
from service.tasks.text.token_input import TokenInput


class FeatureExtraction(Embeds, TokenInput):
    """Vectors for texts."""
