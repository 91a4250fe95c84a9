"""Networks of transformers for texts."""

from typing import Any

from model_zoo.architectures.transformers.mask_filler import MOST_CANDIDATES, SCORES
from model_zoo.cards.recipes import TextRecipe
from model_zoo.cards.signature import RANKED_IDS
from model_zoo.references.card_plan import CardPlan
from model_zoo.references.common_fields import positive
from model_zoo.references.text_fields import (
    TOKENIZER_FILES,
    has_token_types,
    mask_fields,
    text_batching,
    text_inputs,
    text_recipe,
)
from model_zoo.references.transformers.classes import class_fields
from model_zoo.references.transformers.network_class import NetworkClass, listed_names
from model_zoo.references.transformers.ranker import RANKING, is_cross_encoder, plan_ranker
from model_zoo.references.weight_files import weight_files

__all__ = ["PLANNERS", "TASKS"]

ZERO_SHOT = "zero-shot-classification"
_MASKS = TextRecipe.model_fields["max_masks"].default
_MOST_LOGITS = 16_000_000
"""Of a batch that finds masked tokens: 64 MB."""


def _sequence_classifier(network: NetworkClass) -> CardPlan:
    """A class for each text, or pair of texts; a score of pairs; or classes that a caller names."""
    wanted = network.given.task or network.repository.task
    names = listed_names(network.config)
    if wanted == RANKING or (not network.given.task and is_cross_encoder(network)):
        return plan_ranker(network, _text_plan)
    count, classes = class_fields(network)
    fields, built = network.fields("text-classification", "AutoModelForSequenceClassification", num_labels=count)
    types = has_token_types(network.repository, network.config, built)
    plan = _text_plan(network, {**fields, **classes}, [_output("logits", count)], pairs=True, types=types)
    if wanted != ZERO_SHOT:
        return plan
    if not any(name.lower().startswith("entail") for name in names):
        raise network.refuse("none of its classes is called entailment, so that no labels can be weighed by it")
    changed = {**plan.fields, "task": ZERO_SHOT, "recipe": {**plan.fields["recipe"], "truncation": "only_first"}}
    return CardPlan(plan.library, changed, plan.roles, plan.extra)


def _token_classifier(network: NetworkClass) -> CardPlan:
    """A class for each token of a text."""
    count, classes = class_fields(network)
    fields, _ = network.fields("token-classification", "AutoModelForTokenClassification", num_labels=count)
    return _text_plan(network, {**fields, **classes}, [_output("logits", -1, count)])


def _mask_filler(network: NetworkClass) -> CardPlan:
    """The likeliest tokens for each mask of a text."""
    repository, config = network.repository, network.config
    fields, _ = network.fields("fill-mask", "AutoModelForMaskedLM")
    mask = mask_fields(repository, config)
    vocabulary = positive(repository, config.get("vocab_size"), "vocab_size in config.json")
    candidates = min(MOST_CANDIDATES, vocabulary)
    outputs = [_output(SCORES, -1, candidates), _output(RANKED_IDS, -1, candidates, datatype="INT64")]
    plan = _text_plan(network, fields, outputs)
    rows = max(1, min(plan.fields["batching"]["max_batch_size"], _MOST_LOGITS // (_MASKS * vocabulary)))
    batching = {**plan.fields["batching"], "max_batch_size": rows, "cpu_batch_size": min(16, rows)}
    changed = {**plan.fields, "recipe": {**plan.fields["recipe"], **mask}, "batching": batching}
    return CardPlan(plan.library, changed, plan.roles, plan.extra)


def _text_plan(
    network: NetworkClass,
    fields: dict[str, Any],
    outputs: list[dict[str, Any]],
    *,
    pairs: bool = False,
    types: bool = False,
) -> CardPlan:
    """The plan of a network for texts.

    Args:
        fields: those of its task.
        outputs: of its signature.
        pairs: whether it takes two texts; ``types``: whether it numbers them.
    """
    repository = network.repository
    recipe = text_recipe(repository, network.config, network.given) | ({"pairs": True} if pairs else {})
    fields = {
        **fields,
        "raw_input": "text",
        "signature": {"inputs": text_inputs(types), "outputs": outputs},
        "recipe": recipe,
        "batching": text_batching(recipe["max_tokens"]),
    }
    roles = {**weight_files(repository), "config": "config.json", "tokenizer": "tokenizer.json"}
    extra = tuple(name for name in TOKENIZER_FILES if name in repository.files)
    return CardPlan("transformers", fields, roles, extra)


def _output(name: str, *sizes: int, datatype: str = "FP32") -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": (-1, *sizes)}


PLANNERS = {
    "ForMaskedLM": _mask_filler,
    "ForSequenceClassification": _sequence_classifier,
    "ForTokenClassification": _token_classifier,
}
TASKS = ("fill-mask", RANKING, "text-classification", "token-classification", ZERO_SHOT)
