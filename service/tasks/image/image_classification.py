"""Task `image-classification`: a photo → the best labels."""

from __future__ import annotations

from service.tasks.classification import Classifying
from service.tasks.image.image_input import ImageInput


class ImageClassification(Classifying, ImageInput):
    """Labels for photos, best first."""
