"""Task `image-feature-extraction`: a photo → a vector."""

from __future__ import annotations

from service.tasks.embedding import Embeds
from service.tasks.image.image_input import ImageInput


class ImageFeatureExtraction(Embeds, ImageInput):
    """Vectors for photos."""
