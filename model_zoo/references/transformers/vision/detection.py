"""Networks of transformers that detect objects: those that give a fixed number of boxes, of which none has to be suppressed."""

from typing import Any

from model_zoo.references.card_plan import CardPlan
from model_zoo.references.common_fields import class_names, positive
from model_zoo.references.image_processor import PROCESSOR, detection_recipe
from model_zoo.references.repository import config_of
from model_zoo.references.transformers.network_class import NetworkClass, listed_names
from model_zoo.references.weight_files import weight_files

__all__ = ["PLANNERS", "TASKS", "plan_detector"]

_IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
_SCALED = {"size": {"shortest_edge": 800, "longest_edge": 1333}, "max_size": 1333, **_IMAGENET}
_SOFTMAX, _BEST_HUNDRED = {"scores": "softmax"}, {"scores": "sigmoid", "candidates": 100}

_PROCESSORS: dict[str, tuple[dict[str, Any], dict[str, Any], int]] = {
    "ConditionalDetr": (_BEST_HUNDRED, _SCALED, 1),
    "DeformableDetr": (_BEST_HUNDRED, _SCALED, 1),
    "Detr": (_SOFTMAX, _SCALED, 1),
    "RTDetr": (
        {"scores": "sigmoid"},
        {"size": {"height": 640, "width": 640}, "do_normalize": False, **_IMAGENET},
        1,
    ),
    "Yolos": (_SOFTMAX, _SCALED, 16),
}
"""Processors of the library by name: how each scores boxes, its defaults for fields that a repository leaves out, and the number
of pixels of which the sides of a scaled image are multiples."""

_BATCHING = {"max_batch_size": 8, "cpu_batch_size": 4}


def plan_detector(network: NetworkClass) -> CardPlan:
    """The plan of a detector of objects. Raises NotDerivable."""
    repository = network.repository
    rule, defaults, multiple = _PROCESSORS[_processor(network)]
    fields, built = network.fields("object-detection", "AutoModelForObjectDetection", **_labels(network))
    found = listed_names(network.config)
    settings: Any = built.config
    count = len(found) or positive(repository, settings.num_labels, "num_labels in config.json")
    queries = getattr(settings, "num_queries", None) or getattr(settings, "num_detection_tokens", None)
    queries = positive(repository, queries, "the number of boxes in config.json")
    recipe = detection_recipe(repository, network.config, defaults, multiple)
    size = recipe.get("size", (-1, -1))
    fields |= {
        "labels": "labels.txt",
        "class_names": class_names(repository, found, count, network.given),
        "raw_input": "image",
        "signature": {
            "inputs": [{"name": "pixel_values", "datatype": "FP32", "shape": (-1, 3, *size)}],
            "outputs": [
                {
                    "name": "logits",
                    "datatype": "FP32",
                    "shape": (-1, queries, count + 1 if rule is _SOFTMAX else count),
                },
                {"name": "pred_boxes", "datatype": "FP32", "shape": (-1, queries, 4)},
            ],
        },
        "recipe": recipe,
        "boxes": rule,
        "batching": _BATCHING,
    }
    return CardPlan("transformers", fields, {**weight_files(repository), "config": "config.json"}, (PROCESSOR,))


def _processor(network: NetworkClass) -> str:
    """The name of the library's processor, without what its names have in common. Raises NotDerivable for one that Zoo lacks."""
    found = config_of(network.repository, PROCESSOR)
    named = str(found.get("image_processor_type") or found.get("feature_extractor_type") or "")
    name = named
    for end in ("Fast", "Pil", "ImageProcessor", "FeatureExtractor"):
        name = name.removesuffix(end)
    if name not in _PROCESSORS:
        known = ", ".join(f"{one}ImageProcessor" for one in _PROCESSORS)
        raise network.refuse(f"its boxes are read by {named[:80] or 'no processor that it names'}; Zoo has {known}")
    return name


def _labels(network: NetworkClass) -> dict[str, Any]:
    """The number of classes as the library counts them: by their names, where there are any."""
    found = listed_names(network.config)
    return {"num_labels": len(found)} if found else {}


PLANNERS = {"ForObjectDetection": plan_detector}
TASKS = ("object-detection",)
