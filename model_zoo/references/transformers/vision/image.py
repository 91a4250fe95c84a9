"""Networks of transformers for images."""

import math
from typing import Any

import torch

from model_zoo.references.card_plan import CardPlan
from model_zoo.references.image_fields import IMAGE_BATCHING, image_signature
from model_zoo.references.image_processor import PROCESSOR, image_recipe
from model_zoo.references.transformers.classes import class_fields
from model_zoo.references.transformers.network_class import NetworkClass
from model_zoo.references.weight_files import weight_files

__all__ = ["PLANNERS", "TASKS", "outputs_without_memory", "plan_image_classifier", "plan_image_encoder"]


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


def plan_image_encoder(network: NetworkClass) -> CardPlan:
    """The plan of an encoder of images whose network pools what it finds, such as ViT, DINOv2, Swin. Raises NotDerivable."""
    repository = network.repository
    fields, built = network.fields("image-feature-extraction", "AutoModel")
    if getattr(built, "main_input_name", "") != "pixel_values":
        raise network.refuse(
            f"its config.json names the network {network.kind[:80]!r} without a head, which Zoo takes for images, and for "
            "texts with modules.json of sentence-transformers"
        )
    recipe = image_recipe(repository, network.config)
    pooled = getattr(outputs_without_memory(network, built, tuple(recipe["size"])), "pooler_output", None)
    if pooled is None:
        raise network.refuse("its network does not pool what it finds in an image into one embedding")
    fields |= {
        "raw_input": "image",
        "signature": image_signature(tuple(recipe["size"]), math.prod(pooled.shape[1:]), False),
        "recipe": recipe,
        "batching": IMAGE_BATCHING,
    }
    return CardPlan("transformers", fields, {**weight_files(repository), "config": "config.json"}, (PROCESSOR,))


def outputs_without_memory(network: NetworkClass, built: Any, size: tuple[int, int]) -> Any:
    """What a network that was built without memory gives for one image: its outputs have shapes only. Raises NotDerivable."""
    try:
        with torch.device("meta"), torch.inference_mode():
            return built.eval()(pixel_values=torch.empty(1, 3, *size))
    except Exception as error:  # a contradiction may show anywhere in the library
        raise network.refuse("transformers cannot run the network on images of the size in its files") from error


PLANNERS = {
    "ForImageClassification": plan_image_classifier,
    "ForImageClassificationWithTeacher": plan_image_classifier,
    "Model": plan_image_encoder,
}
TASKS = ("image-classification", "image-feature-extraction")
