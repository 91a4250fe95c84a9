"""Repositories of timm: ``config.json`` with an architecture and a ``pretrained_cfg``, and ``model.safetensors``."""

import math
from typing import Any

import torch

from model_zoo.architectures.timm_arguments import forbidden
from model_zoo.errors import NotDerivable
from model_zoo.references.card_plan import CardPlan, Given
from model_zoo.references.common_fields import class_names, common_fields, family_of, parameters_of, positive
from model_zoo.references.image_fields import IMAGE_BATCHING, image_signature
from model_zoo.references.repository import Repository
from model_zoo.references.weight_files import weight_files

__all__ = ["plan_timm"]

_DATASETS = ("in1k", "in12k", "in21k", "in22k")
"""Parts of a tag that say on which classes of ImageNet a network was trained."""


def plan_timm(repository: Repository, config: dict[str, Any], given: Given) -> CardPlan:
    """The plan of an image classifier, or of an image encoder where the network has no classes. Raises NotDerivable."""
    import timm

    timm_data: Any = timm.data  # untyped upstream
    architecture, pretrained = config.get("architecture"), config["pretrained_cfg"]
    if not isinstance(architecture, str) or not timm.is_model(architecture) or not isinstance(pretrained, dict):
        raise NotDerivable(
            repository.name,
            f"timm {timm.__version__} has no network {str(architecture)[:80]!r}, which its config.json names",
        )
    classes = config.get("num_classes", pretrained.get("num_classes"))
    if classes != 0:
        classes = positive(repository, classes, "num_classes in config.json")
    arguments = {**_model_arguments(repository, config), "model_name": architecture, "num_classes": classes}
    try:
        with torch.device("meta"):
            network: Any = timm.create_model(pretrained=False, **arguments)
    except Exception as error:  # a contradiction may show anywhere in the library
        raise NotDerivable(repository.name, "timm cannot build the network by its config.json") from error
    data = timm_data.resolve_data_config(pretrained_cfg=pretrained, model=network)
    recipe = _recipe(repository, data)
    size = tuple(recipe["size"])
    task = "image-classification" if classes else "image-feature-extraction"
    fields = common_fields(repository, task, f"{architecture} of timm, as {repository.name} publishes it.")
    names = class_names(repository, _names(config, architecture, classes), classes, given) if classes else ()
    fields |= {
        "family": family_of(network),
        "parameters": parameters_of(network),
        "weights": {"format": "safetensors", "mapping": "by_name"},
        "architecture": {"builder": "timm", "arguments": arguments},
        "raw_input": "image",
        "canonical": "raw",
        "signature": image_signature(size, classes or int(network.num_features), bool(classes)),
        "recipe": recipe,
        "labels": "labels.txt" if names else None,
        "class_names": names,
        "batching": IMAGE_BATCHING,
        "tolerance": {"max_abs_error": 0.001},
    }
    return CardPlan("timm", fields, {**weight_files(repository), "config": "config.json"})


def _model_arguments(repository: Repository, config: dict[str, Any]) -> dict[str, Any]:
    found = config.get("model_args") or {}
    if not isinstance(found, dict):
        raise NotDerivable(repository.name, "model_args in config.json is not an object")
    if "model_name" in found or forbidden({**found, "model_name": "network"}):
        wrong = "model_name" if "model_name" in found else forbidden({**found, "model_name": "network"})
        raise NotDerivable(repository.name, f"model_args in config.json has {wrong}, which is no argument of a network")
    pool = config.get("global_pool")
    return {**found, **({"global_pool": pool} if isinstance(pool, str) and "global_pool" not in found else {})}


def _recipe(repository: Repository, data: dict[str, Any]) -> dict[str, Any]:
    """timm's evaluation transform: the shorter side, or the whole image squeezed, to the crop's size ÷ ``crop_pct``; then the
    centre."""
    channels, height, width = data["input_size"]
    mode = data.get("crop_mode", "center")
    if channels != 3:
        raise NotDerivable(repository.name, f"its network takes {channels} channels; Zoo feeds three")
    if data["interpolation"] not in ("bicubic", "bilinear") or mode not in ("center", "squash"):
        raise NotDerivable(
            repository.name,
            f"its images are resized by {data['interpolation']} and crop mode {mode}, which Zoo does not have",
        )
    squeezed = (math.floor(height / data["crop_pct"]), math.floor(width / data["crop_pct"]))
    if mode == "squash" and min(squeezed) < max(height, width):
        raise NotDerivable(
            repository.name, f"its images are squeezed to {squeezed[0]} × {squeezed[1]} pixels, less than its crop"
        )
    crops = mode == "squash" and squeezed != (height, width)
    stretch = not crops and (mode == "squash" or (height != width and data["crop_pct"] == 1.0))
    if height != width and not (stretch or crops):
        raise NotDerivable(
            repository.name, f"its network takes crops of {height} × {width} pixels, which are not square"
        )
    scaled = max(height, int(height / data["crop_pct"]))
    return {
        "kind": "image",
        "size": (height, width),
        "resize_shorter": min(squeezed) if crops else max(height, width) if stretch else scaled,
        "stretch": stretch,
        **({"stretch_to": squeezed} if crops else {}),
        "interpolation": data["interpolation"],
        "mean": tuple(data["mean"]),
        "std": tuple(data["std"]),
    }


def _names(config: dict[str, Any], architecture: str, classes: int) -> tuple[str, ...]:
    """Of the repository itself, else of ImageNet where the tag says that the network was trained on it."""
    import timm

    timm_data: Any = timm.data  # untyped upstream
    listed, described = config.get("label_names"), config.get("label_descriptions")
    if isinstance(listed, list):
        shown = described if isinstance(described, dict) else {}
        return tuple(str(shown.get(name, name)) for name in listed)
    tag = str(config["pretrained_cfg"].get("tag") or "")
    if not any(dataset in tag for dataset in _DATASETS):
        return ()
    subset = timm_data.infer_imagenet_subset(
        {**config["pretrained_cfg"], "num_classes": classes, "architecture": architecture}
    )
    info = timm_data.ImageNetInfo(subset) if subset else None
    return () if info is None else tuple(info.index_to_description(index) for index in range(info.num_classes()))
