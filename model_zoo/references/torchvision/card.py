"""The card of weights that torchvision publishes."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from model_zoo.architectures.torchvision_classifier import build, last_linear
from model_zoo.cards.web_address import file_name_of
from model_zoo.errors import NotDerivable
from model_zoo.references.card_plan import CardPlan, Given
from model_zoo.references.common_fields import class_names, common_fields, family_of, parameters_of
from model_zoo.references.image_fields import IMAGE_BATCHING, image_signature
from model_zoo.references.torchvision.published import TASK, TorchvisionWeights

__all__ = ["plan_torchvision"]

_NOT_STATED = "not stated"


def plan_torchvision(repository: TorchvisionWeights, given: Given) -> CardPlan:
    """The plan of an image classifier. Raises NotDerivable."""
    meta, member = repository.meta, repository.member
    labels = tuple(str(name) for name in meta["categories"])
    arguments = _arguments(repository.network, meta, len(labels))
    network = _network(repository, arguments)
    recipe = _recipe(repository)
    fields = common_fields(repository, TASK, f"{repository.network} of torchvision, with the weights {member}.")
    fields |= {
        "provenance": f"The file {repository.url}, as torchvision publishes it. Trained by {meta.get('recipe') or _NOT_STATED}.",
        "family": "cnn" if network is None else family_of(network),
        "parameters": int(meta["num_params"]) if network is None else parameters_of(network),
        "weights": {"format": "torch_state_dict", "mapping": "library"},
        "architecture": {"builder": "torchvision", "arguments": arguments},
        "raw_input": "image",
        "canonical": "raw",
        "signature": image_signature(tuple(recipe["size"]), len(labels), True),
        "recipe": recipe,
        "labels": "labels.txt",
        "class_names": class_names(repository, labels, len(labels), given),
        "batching": IMAGE_BATCHING,
        "tolerance": {"max_abs_error": 0.001},
    }
    return CardPlan("torchvision", fields, {"weights": file_name_of(repository.url)})


def _arguments(network: str, meta: Mapping[str, Any], classes: int) -> dict[str, Any]:
    """What torchvision's own builder gives the network for these weights."""
    found: dict[str, Any] = {"model_name": network, "num_classes": classes}
    if network.startswith("vit_"):
        found["image_size"] = int(meta["min_size"][0])
    if network in ("googlenet", "inception_v3"):
        found["transform_input"] = True
    return found


def _network(repository: TorchvisionWeights, arguments: Mapping[str, Any]) -> nn.Module | None:
    """The network without memory for its weights; None where torchvision cannot build it so (RegNet, which computes its widths
    with tensors). Raises NotDerivable where Zoo cannot serve it."""
    try:
        with torch.device("meta"):
            network = build(arguments)
        last_linear(network)
    except NotImplementedError:
        return None
    except ValueError as error:
        raise NotDerivable(repository.name, str(error)) from error
    return network


def _recipe(repository: TorchvisionWeights) -> dict[str, Any]:
    """torchvision's preset: the shorter side resized, the centre cropped. Photos are resized by Pillow on both sides, which
    always smooths (``antialias``)."""
    transform = repository.member.transforms()
    interpolation = str(getattr(transform.interpolation, "value", transform.interpolation))
    if type(transform).__name__ != "ImageClassification" or interpolation not in ("bicubic", "bilinear"):
        raise NotDerivable(repository.name, "their images are prepared in a way that Zoo does not have")
    (size,), (shorter,) = transform.crop_size, transform.resize_size
    return {
        "kind": "image",
        "size": (size, size),
        "resize_shorter": shorter,
        "interpolation": interpolation,
        "mean": tuple(transform.mean),
        "std": tuple(transform.std),
    }
