"""Task `text-classification`: a text → the best labels. By tokens or by characters, as the base reads."""

from __future__ import annotations

from service.tasks.classification import Classifying
from service.tasks.text.character_input import CharacterInput
from service.tasks.text.token_input import TokenInput


class TextClassification(Classifying, TokenInput):
    """Labels for texts, best first."""


class CharacterTextClassification(Classifying, CharacterInput):
    """Labels for texts that are read character by character, best first."""
