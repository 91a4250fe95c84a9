"""Which task serves which card."""

from __future__ import annotations

from pathlib import Path

from model_zoo.cards.card import Card
from model_zoo.cards.recipes import (
    AudioRecipe,
    CharacterRecipe,
    ImageRecipe,
    RecordRecipe,
    RowRecipe,
    SeriesRecipe,
    SpectrogramRecipe,
    TextRecipe,
)
from model_zoo.materialised import Materialised
from service.tasks.audio.audio_classification import AudioClassification
from service.tasks.audio.audio_feature_extraction import AudioFeatureExtraction
from service.tasks.audio.voice_activity_detection import VoiceActivityDetection
from service.tasks.base import Task
from service.tasks.image.image_classification import ImageClassification
from service.tasks.image.image_feature_extraction import ImageFeatureExtraction
from service.tasks.image.image_tabular_regression import ImageTabularRegression
from service.tasks.regression import AudioRegression, CharacterTextRegression, ImageRegression, TextRegression
from service.tasks.series.time_series_forecasting import TimeSeriesForecasting
from service.tasks.tabular.tabular_prediction import TabularClassification, TabularRegression
from service.tasks.text.text_classification import CharacterTextClassification, TextClassification
from service.tasks.text.text_feature_extraction import FeatureExtraction
from service.tasks.text.text_generation import TextGeneration

TASKS: dict[tuple[str, type], type[Task]] = {
    ("image-classification", ImageRecipe): ImageClassification,
    ("image-feature-extraction", ImageRecipe): ImageFeatureExtraction,
    ("feature-extraction", TextRecipe): FeatureExtraction,
    ("feature-extraction", SpectrogramRecipe): AudioFeatureExtraction,
    ("voice-activity-detection", AudioRecipe): VoiceActivityDetection,
    ("text-classification", TextRecipe): TextClassification,
    ("text-classification", CharacterRecipe): CharacterTextClassification,
    ("text-generation", CharacterRecipe): TextGeneration,
    ("audio-classification", SpectrogramRecipe): AudioClassification,
    ("tabular-classification", RowRecipe): TabularClassification,
    ("tabular-regression", RowRecipe): TabularRegression,
    ("image-tabular-regression", RecordRecipe): ImageTabularRegression,
    ("time-series-forecasting", SeriesRecipe): TimeSeriesForecasting,
    ("regression", ImageRecipe): ImageRegression,
    ("regression", TextRecipe): TextRegression,
    ("regression", CharacterRecipe): CharacterTextRegression,
    ("regression", SpectrogramRecipe): AudioRegression,
}
"""By the card's task, a Hugging Face id, and by its recipe."""


def task_for(card: Card, materialised: Materialised) -> Task:
    """The task of `card` with the files it needs. Raises KeyError for a task that nobody wrote for such an input."""
    return TASKS[card.task, type(card.recipe)](card, read_labels(card, materialised.folder), materialised.files)


def read_labels(card: Card, folder: Path) -> tuple[str, ...]:
    """Class names in the order of the logits; empty where the model has none.

    Only a line feed ends a name: Python knows ten more characters that end lines, and each would shift the names behind it.
    """
    if card.labels is None:
        return ()
    text = (folder / card.labels).read_bytes().decode()
    return tuple(text.removesuffix("\n").split("\n")) if text else ()
