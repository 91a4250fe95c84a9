"""Networks of transformers for texts."""

from model_zoo.references.card_plan import CardPlan
from model_zoo.references.text_fields import TOKENIZER_FILES, text_batching, text_inputs, text_recipe
from model_zoo.references.transformers.classes import class_fields
from model_zoo.references.transformers.network_class import NetworkClass
from model_zoo.references.weight_files import weight_files

__all__ = ["PLANNERS", "TASKS", "plan_text_classifier"]


def plan_text_classifier(network: NetworkClass) -> CardPlan:
    """The plan of a classifier of texts. Raises NotDerivable."""
    repository = network.repository
    count, classes = class_fields(network)
    fields, _ = network.fields("text-classification", "AutoModelForSequenceClassification", num_labels=count)
    roles = {**weight_files(repository), "config": "config.json", "tokenizer": "tokenizer.json"}
    recipe = text_recipe(repository, network.config, network.given)
    fields |= {
        **classes,
        "raw_input": "text",
        "signature": {
            "inputs": text_inputs(),
            "outputs": [{"name": "logits", "datatype": "FP32", "shape": (-1, count)}],
        },
        "recipe": recipe,
        "batching": text_batching(recipe["max_tokens"]),
    }
    extra = tuple(name for name in TOKENIZER_FILES if name in repository.files)
    return CardPlan("transformers", fields, roles, extra)


PLANNERS = {"ForSequenceClassification": plan_text_classifier}
TASKS = ("text-classification",)
