"""Weights that torchvision publishes: network, classes, transform and address by the installed library, the file by the web."""

import difflib
import re
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import torch
from torch import nn

from model_zoo.architectures.torchvision_classifier import build, last_linear
from model_zoo.cards.web_address import file_name_of
from model_zoo.errors import NotDerivable, SourceUnavailable
from model_zoo.references.card_plan import CardPlan, Given
from model_zoo.references.common_fields import class_names, common_fields, family_of, parameters_of
from model_zoo.references.image_fields import IMAGE_BATCHING, image_signature
from model_zoo.references.repository import MOST_CONFIG_BYTES, ListedFile
from model_zoo.sources.url import TORCHVISION_HOST, size_at

__all__ = ["TorchvisionWeights", "network_name", "plan_torchvision"]

_TASK = "image-classification"
_DIGITS = re.compile(r"-([0-9a-f]{8,64})\.pth")
"""The beginning of the file's sha256, in its name."""
_NOT_STATED = "not stated"


class TorchvisionWeights:
    """One set of weights as a repository with a single file (see ``Repository``). Its size is asked of the web server."""

    task = _TASK

    def __init__(self, weights: str) -> None:
        """
        Args:
            weights: torchvision's name of them, such as ``ResNet50_Weights.IMAGENET1K_V2``.

        Raises:
            NotDerivable: torchvision is not installed, has no such weights, or has them for another task.
        """
        self.name = f"torchvision:{weights}"
        self.member = _member(self.name, weights)
        self.network = network_name(self.member)
        if not self.network or not self.member.meta.get("categories"):
            raise NotDerivable(
                self.name, "they are not for classes of images, which alone Zoo takes of torchvision's networks"
            )
        self.url = str(self.member.url)
        match = _DIGITS.search(self.url)
        if match is None or not self.url.startswith(TORCHVISION_HOST):
            raise NotDerivable(self.name, "torchvision states no digest of their file")
        self.digits = match[1]
        self.meta: Mapping[str, Any] = self.member.meta

    @cached_property
    def files(self) -> Mapping[str, ListedFile]:
        """See Repository. Raises SourceUnavailable where the server does not answer."""
        name = file_name_of(self.url)
        return {name: ListedFile(size_at(self.url, name))}

    @property
    def licence(self) -> str:
        """See Repository. torchvision states one for few of its weights."""
        return str(self.meta.get("license") or _NOT_STATED)

    def read(self, path: str, most: int = MOST_CONFIG_BYTES) -> bytes:
        """See Repository. There are no small files."""
        raise SourceUnavailable(f"{path} of {self.name}", "there is no such file")


def network_name(weights: Any) -> str:
    """Name of the classifier of images to which weights of torchvision belong; empty if they are of another network."""
    from torchvision import models

    for name in models.list_models(module=models):
        if models.get_model_weights(name) is type(weights):
            return str(name)
    return ""


def plan_torchvision(repository: TorchvisionWeights, given: Given) -> CardPlan:
    """The plan of an image classifier. Raises NotDerivable."""
    meta, member = repository.meta, repository.member
    labels = tuple(str(name) for name in meta["categories"])
    arguments = _arguments(repository.network, meta, len(labels))
    network = _network(repository, arguments)
    recipe = _recipe(repository)
    fields = common_fields(repository, _TASK, f"{repository.network} of torchvision, with the weights {member}.")
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


def _member(shown: str, weights: str) -> Any:
    """The entry of torchvision's table. Raises NotDerivable."""
    try:
        import torchvision
        from torchvision import models
    except ImportError as error:
        raise NotDerivable(
            shown, "torchvision is not installed; install it as `pip install torchvision` does"
        ) from error
    try:
        return models.get_weight(weights)
    except (ValueError, KeyError) as error:
        known = [str(one) for name in models.list_models(module=models) for one in models.get_model_weights(name)]
        near = difflib.get_close_matches(weights, known, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise NotDerivable(shown, f"torchvision {torchvision.__version__} has no such weights{hint}") from error


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
