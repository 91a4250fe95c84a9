"""Task `text-classification`: a text → the best labels. By tokens or by characters, as the base reads."""

from __future__ import annotations

from service.tasks.characters import CharacterInput
from service.tasks.classification import Classifying
from service.tasks.tokens import TokenInput


class TextClassification(Classifying, TokenInput):
    """Labels for texts, best first."""


class CharacterTextClassification(Classifying, CharacterInput):
    """Labels for texts that are read character by character, best first."""
