"""Task `regression`: a photo, a text or a recording → a number, and how far off it usually is.

The network's output is in the units in which it has learned, `value` `[1]`; the card's TargetScale leads back.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from model_zoo.golden.golden_case import Expectation
from service.tasks.answers import number_of
from service.tasks.audio.spectrogram import SpectrogramInput
from service.tasks.base import Task
from service.tasks.image.image_input import ImageInput
from service.tasks.text.character_input import CharacterInput
from service.tasks.text.token_input import TokenInput
from service.types import Answer, Item, Options, Tensors


class Regresses(Task):
    """Gives a number."""

    light_rows: ClassVar[int] = 64

    def postprocess(self, row: Tensors, item: Item, options: Options) -> Answer:
        """`[1]` → the number in the data's units, between the ends of where 80 % of held-out targets lay."""
        return number_of(row[self.card.signature.outputs[0].name], self.card.target)

    def golden_problem(self, expect: Expectation, answer: Answer, answer_of: Mapping[str, Answer]) -> str | None:
        """Numbers are learned from a user's data; a published card has none to expect."""
        return "nothing is known of what it should answer"


class ImageRegression(Regresses, ImageInput):
    """A number for a photo."""


class TextRegression(Regresses, TokenInput):
    """A number for a text."""


class CharacterTextRegression(Regresses, CharacterInput):
    """A number for a text that is read character by character."""


class AudioRegression(Regresses, SpectrogramInput):
    """A number for a sound."""
