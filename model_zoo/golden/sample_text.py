"""A text that a network takes, where not every sentence is one."""

from __future__ import annotations

from model_zoo.cards.card import Card
from model_zoo.cards.recipes import TextRecipe


def sample_text(card: Card) -> str:
    """A sentence with the card's own mask, or, of a network that reads symbols such as residues, the text of a golden case; empty
    for a network that takes any sentence."""
    if not isinstance(card.recipe, TextRecipe) or not (card.recipe.mask_token or card.recipe.symbols):
        return ""
    known = next((case.input.text for case in card.golden if case.input.text is not None), "")
    return known if card.recipe.symbols and known else f"any {card.recipe.mask_token} sentence"
