"""The recipes by the names of their cards. A recipe's libraries are imported when it is asked for."""

from importlib import import_module
from typing import Any

from model_zoo.errors import UnknownRecipe
from model_zoo.training_recipes.recipe import Recipe

__all__ = ["RECIPES", "recipe_for"]

RECIPES = {
    "austen_gru": "austen_gru",
    "fashion_cnn": "fashion_cnn",
    "fashion_price": "fashion_price",
    "house_linear": "houses",
    "house_mlp": "houses",
    "mood_gru": "mood_gru",
    "series_lstm": "series_lstm",
}
"""Name of a model → module of this package that makes it."""


def recipe_for(name: str) -> Recipe:
    """The recipe of a model.

    Raises:
        UnknownRecipe: there is none.
    """
    if name not in RECIPES:
        raise UnknownRecipe(name, list(RECIPES))
    module: Any = import_module(f"{__package__}.{RECIPES[name]}")
    found: Recipe = next(recipe for recipe in module.RECIPES if recipe.name == name)
    return found
