"""Which task serves which card."""

from __future__ import annotations

from model_zoo.card import Card, TextRecipe
from model_zoo.store import Materialised
from service.tasks.base import Task
from service.tasks.feature_extraction import FeatureExtraction
from service.tasks.image_classification import ImageClassification
from service.tasks.voice_activity_detection import VoiceActivityDetection


def task_for(card: Card, materialised: Materialised) -> Task:
    """The task of `card`, by its Hugging Face id, with the files it needs. Raises KeyError for a task nobody wrote."""
    match card.task:
        case "image-classification":
            return ImageClassification(card, read_labels(card, materialised))
        case "feature-extraction":
            assert isinstance(card.recipe, TextRecipe)
            return FeatureExtraction(card, materialised.files[card.recipe.tokenizer])
        case "voice-activity-detection":
            return VoiceActivityDetection(card)
    raise KeyError(card.task)


def read_labels(card: Card, materialised: Materialised) -> tuple[str, ...]:
    """Class names in the order of the logits; empty where the model has none."""
    if card.labels is None:
        return ()
    return tuple((materialised.folder / card.labels).read_text(encoding="utf-8").splitlines())
