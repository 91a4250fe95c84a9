"""The backbone's inputs when features are computed, prepared alike in the server and in a worker. No torch here."""

from __future__ import annotations

from model_zoo.cards.card import Card
from model_zoo.cards.recipes import TextRecipe
from model_zoo.materialised import Materialised
from service.datasets.dataset import DatasetInfo, Example
from service.tasks.base import Task
from service.tasks.table import task_for
from service.training.failures import CannotTrain
from service.types import Instance, RecordInstance


def features_task(base: Card, files: Materialised, dataset: DatasetInfo) -> Task:
    """The task that prepares examples as the tuned version will."""
    return task_for(features_card(base, dataset), files)


def features_card(base: Card, dataset: DatasetInfo) -> Card:
    """The base's card as it prepares the examples of a data set.

    It is the base's own, except for a base that generates text: a classifier reads a whole text, a generator only its end.
    Pairs of texts are joined by the base's tokenizer, whether the base itself reads pairs or not.
    """
    if base.task == "text-generation":
        base = base.model_copy(update={"task": "text-classification", "labels": None})
    recipe = pair_recipe(base, dataset)
    return base if recipe is None else base.model_copy(update={"recipe": recipe})


def pair_recipe(base: Card, dataset: DatasetInfo) -> TextRecipe | None:
    """The recipe that reads the pairs of a data set; None for data without pairs."""
    if not dataset.columns.text_pair or not isinstance(base.recipe, TextRecipe):
        return None
    return base.recipe.model_copy(update={"pairs": True, "pairs_only": True})


def check_pairs(base: Card, files: Materialised | None, dataset: DatasetInfo) -> None:
    """Raises CannotTrain for pairs of texts that the base's tokenizer joins without a mark between them."""
    recipe = pair_recipe(base, dataset)
    if recipe is None or files is None:
        return
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(files.files[recipe.tokenizer]))
    if tokenizer.num_special_tokens_to_add(True) <= tokenizer.num_special_tokens_to_add(False):
        raise CannotTrain(
            f"the tokenizer of {base.name!r} puts no mark between two texts, so pairs cannot be learned; use another base"
        )


def base_instance(example: Example) -> Instance:
    """The part of an example that the backbone sees: the image of a record, otherwise the whole example."""
    instance = example.instance
    return instance.parts["image"] if isinstance(instance, RecordInstance) else instance
