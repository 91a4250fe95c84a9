"""Networks of transformers that give each pixel of an image a class (semantic segmentation)."""

from typing import Any

from model_zoo.references.card_plan import CardPlan
from model_zoo.references.image_processor import PROCESSOR, image_recipe
from model_zoo.references.transformers.classes import class_fields
from model_zoo.references.transformers.network_class import NetworkClass
from model_zoo.references.transformers.vision.image import outputs_without_memory
from model_zoo.references.weight_files import weight_files

__all__ = ["MOST_VALUES", "PLANNERS", "TASKS", "plan_segmenter"]

MOST_VALUES = 2_000_000_000
"""Pixels of an image × classes: each pixel of the answer is the best of all classes. 150 classes allow 13 million pixels."""
MOST_PIXELS = 50_000_000
MOST_CLASSES = 1 << 16
"""A mask has 16 bits a pixel at most."""

_BATCHING = {"max_batch_size": 8, "cpu_batch_size": 4}


def plan_segmenter(network: NetworkClass) -> CardPlan:
    """The plan of a network for semantic segmentation. Raises NotDerivable."""
    repository = network.repository
    count, classes = class_fields(network)
    if count > MOST_CLASSES:
        raise network.refuse(f"it has {count:,} classes; a mask has at most {MOST_CLASSES:,}")
    fields, built = network.fields("image-segmentation", "AutoModelForSemanticSegmentation", num_labels=count)
    recipe = image_recipe(repository, network.config)
    if not recipe["stretch"]:
        raise network.refuse("its images are cropped, so that a part of the image would have no class")
    recipe |= {"max_pixels": min(MOST_PIXELS, MOST_VALUES // count)}
    fields |= {
        **classes,
        "raw_input": "image",
        "signature": {
            "inputs": [{"name": "pixel_values", "datatype": "FP32", "shape": (-1, 3, *recipe["size"])}],
            "outputs": [
                {"name": "logits", "datatype": "FP32", "shape": (-1, *_shape(network, built, recipe["size"], count))}
            ],
        },
        "recipe": recipe,
        "batching": _BATCHING,
    }
    return CardPlan("transformers", fields, {**weight_files(repository), "config": "config.json"}, (PROCESSOR,))


def _shape(network: NetworkClass, built: Any, size: tuple[int, int], count: int) -> tuple[int, int, int]:
    """(classes, height, width) of the logits for one image. Raises NotDerivable."""
    shape = tuple(outputs_without_memory(network, built, size).logits.shape)
    if len(shape) != 4 or shape[1] != count:
        raise network.refuse(f"it gives logits of the shape {list(shape)}, and has {count:,} classes")
    return count, shape[2], shape[3]


PLANNERS = {"ForSemanticSegmentation": plan_segmenter}
TASKS = ("image-segmentation",)
