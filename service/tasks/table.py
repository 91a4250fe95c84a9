"""The task of each card, by the card's task and recipe."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from model_zoo.cards.card import Card
from model_zoo.cards.recipes import (
    AudioRecipe,
    CharacterRecipe,
    FilterBankRecipe,
    ImageRecipe,
    LabelledImageRecipe,
    NotesRecipe,
    PromptRecipe,
    RecordRecipe,
    RowRecipe,
    ScaledImageRecipe,
    SeriesRecipe,
    SoundRecipe,
    SpectrogramRecipe,
    SubwordRecipe,
    TensorsRecipe,
    TextRecipe,
    VideoRecipe,
    VolumeRecipe,
    WholeImageRecipe,
)
from model_zoo.materialised import Materialised
from service.tasks.audio.audio_to_notes import AudioToNotes
from service.tasks.audio.ctc_recognition import CtcRecognition
from service.tasks.audio.filter_bank import FilterBankInput
from service.tasks.audio.sound_input import sound_task
from service.tasks.audio.spectrogram import SpectrogramInput
from service.tasks.audio.voice_activity_detection import VoiceActivityDetection
from service.tasks.audio.window_recognition import WindowRecognition
from service.tasks.base import NO_FILES, Task
from service.tasks.classification import LabelAnswers
from service.tasks.composed import ComposedTask, SequenceTask
from service.tasks.embedding import EmbeddingAnswers
from service.tasks.image.image_input import ImageInput
from service.tasks.image.image_segmentation import SegmentationAnswers
from service.tasks.image.image_tabular_regression import ImageTabularRegression
from service.tasks.image.image_to_image import ImageToImage
from service.tasks.image.keypoint_detection import KeypointAnswers
from service.tasks.image.object_detection import DetectionAnswers
from service.tasks.image.scaled_images import ScaledImages
from service.tasks.image.zero_shot_image_classification import ZeroShotImageClassification
from service.tasks.regression import NumberAnswers
from service.tasks.series.time_series_forecasting import TimeSeriesForecasting
from service.tasks.tabular.tabular_prediction import TabularPrediction
from service.tasks.tensors import TensorsTask
from service.tasks.text.character_input import CharacterInput
from service.tasks.text.fill_mask import FillMaskAnswers, MaskedTokenInput
from service.tasks.text.prompted_generation import PromptedGeneration
from service.tasks.text.subword_input import SubwordInput
from service.tasks.text.text_generation import TextGeneration
from service.tasks.text.text_ranking import RankingAnswers
from service.tasks.text.token_classification import EntityAnswers, SpannedTokenInput
from service.tasks.text.token_input import TokenInput
from service.tasks.text.zero_shot_classification import ZeroShotAnswers
from service.tasks.video.video_segmentation import VideoSegmentation
from service.tasks.volume.image_segmentation_3d import ImageSegmentation3d

TaskFactory = Callable[[Card, Sequence[str], Mapping[str, Path]], Task]


def _recognition(card: Card, labels: Sequence[str] = (), files: Mapping[str, Path] = NO_FILES) -> Task:
    """By the way in which the network transcribes."""
    windows = isinstance(card.recipe, SoundRecipe) and card.recipe.windows is not None
    return (WindowRecognition if windows else CtcRecognition)(card, labels, files)


TASKS: dict[tuple[str, type], TaskFactory] = {
    ("image-classification", ImageRecipe): partial(ComposedTask, ImageInput, LabelAnswers),
    ("image-feature-extraction", ImageRecipe): partial(ComposedTask, ImageInput, EmbeddingAnswers),
    ("image-segmentation", ImageRecipe): partial(ComposedTask, ImageInput, SegmentationAnswers),
    ("image-segmentation-3d", VolumeRecipe): ImageSegmentation3d,
    ("image-to-image", WholeImageRecipe): ImageToImage,
    ("keypoint-detection", ImageRecipe): partial(ComposedTask, ImageInput, KeypointAnswers),
    ("object-detection", ImageRecipe): partial(ComposedTask, ImageInput, DetectionAnswers),
    ("object-detection", ScaledImageRecipe): partial(ScaledImages, DetectionAnswers),
    ("video-segmentation", VideoRecipe): VideoSegmentation,
    ("feature-extraction", TextRecipe): partial(SequenceTask, TokenInput, EmbeddingAnswers),
    ("feature-extraction", SoundRecipe): partial(sound_task, EmbeddingAnswers),
    ("feature-extraction", SpectrogramRecipe): partial(SequenceTask, SpectrogramInput, EmbeddingAnswers),
    ("audio-to-notes", NotesRecipe): AudioToNotes,
    ("voice-activity-detection", AudioRecipe): VoiceActivityDetection,
    ("text-classification", TextRecipe): partial(SequenceTask, TokenInput, LabelAnswers),
    ("text-classification", CharacterRecipe): partial(SequenceTask, CharacterInput, LabelAnswers),
    ("text-classification", SubwordRecipe): partial(SequenceTask, SubwordInput, LabelAnswers),
    ("text-ranking", TextRecipe): partial(SequenceTask, TokenInput, RankingAnswers),
    ("zero-shot-classification", TextRecipe): partial(SequenceTask, TokenInput, ZeroShotAnswers),
    ("fill-mask", TextRecipe): partial(SequenceTask, MaskedTokenInput, FillMaskAnswers),
    ("token-classification", TextRecipe): partial(SequenceTask, SpannedTokenInput, EntityAnswers),
    ("text-generation", CharacterRecipe): TextGeneration,
    ("text-generation", PromptRecipe): PromptedGeneration,
    ("text2text-generation", PromptRecipe): PromptedGeneration,
    ("automatic-speech-recognition", SoundRecipe): _recognition,
    ("audio-classification", SoundRecipe): partial(sound_task, LabelAnswers),
    ("audio-classification", FilterBankRecipe): partial(SequenceTask, FilterBankInput, LabelAnswers),
    ("audio-classification", SpectrogramRecipe): partial(SequenceTask, SpectrogramInput, LabelAnswers),
    ("tabular-classification", RowRecipe): partial(TabularPrediction, LabelAnswers),
    ("tabular-regression", RowRecipe): partial(TabularPrediction, NumberAnswers),
    ("image-tabular-regression", RecordRecipe): ImageTabularRegression,
    ("time-series-forecasting", SeriesRecipe): TimeSeriesForecasting,
    ("regression", ImageRecipe): partial(ComposedTask, ImageInput, NumberAnswers),
    ("regression", TextRecipe): partial(SequenceTask, TokenInput, NumberAnswers),
    ("regression", CharacterRecipe): partial(SequenceTask, CharacterInput, NumberAnswers),
    ("regression", SoundRecipe): partial(sound_task, NumberAnswers),
    ("regression", FilterBankRecipe): partial(SequenceTask, FilterBankInput, NumberAnswers),
    ("regression", SpectrogramRecipe): partial(SequenceTask, SpectrogramInput, NumberAnswers),
    ("zero-shot-image-classification", LabelledImageRecipe): ZeroShotImageClassification,
    ("other", TensorsRecipe): TensorsTask,
}
"""Factories by the card's task, which is a Hugging Face id, and by the type of its recipe."""


def task_for(card: Card, materialised: Materialised) -> Task:
    """The task of `card` with the files it needs. Raises KeyError for a task that is not implemented for such an input."""
    return TASKS[card.task, type(card.recipe)](card, read_labels(card, materialised.folder), materialised.files)


def read_labels(card: Card, folder: Path) -> tuple[str, ...]:
    """Class names in the order of the logits; empty for a model without classes.

    Only a line feed ends a name: Python treats ten more characters as line ends, and each would shift the names after it.
    """
    if card.labels is None:
        return ()
    text = (folder / card.labels).read_bytes().decode()
    return tuple(text.removesuffix("\n").split("\n")) if text else ()
