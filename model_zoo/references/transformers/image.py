"""Networks of transformers for images."""

from model_zoo.references.card_plan import CardPlan
from model_zoo.references.image_fields import IMAGE_BATCHING, image_signature
from model_zoo.references.image_processor import PROCESSOR, image_recipe
from model_zoo.references.transformers.classes import class_fields
from model_zoo.references.transformers.network_class import NetworkClass
from model_zoo.references.weight_files import weight_files

__all__ = ["PLANNERS", "TASKS", "plan_image_classifier"]


def plan_image_classifier(network: NetworkClass) -> CardPlan:
    """The plan of a classifier of images. Raises NotDerivable."""
    count, classes = class_fields(network)
    fields, _ = network.fields("image-classification", "AutoModelForImageClassification", num_labels=count)
    roles = {**weight_files(network.repository), "config": "config.json"}
    recipe = image_recipe(network.repository, network.config)
    fields |= {
        **classes,
        "raw_input": "image",
        "signature": image_signature(tuple(recipe["size"]), count, True),
        "recipe": recipe,
        "batching": IMAGE_BATCHING,
    }
    return CardPlan("transformers", fields, roles, (PROCESSOR,))


PLANNERS = {"ForImageClassification": plan_image_classifier}
TASKS = ("image-classification",)
