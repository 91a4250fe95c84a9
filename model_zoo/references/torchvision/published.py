"""Weights that torchvision publishes, as a repository: the installed library says what they are, and the web has their file."""

import difflib
import re
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from model_zoo.cards.web_address import file_name_of
from model_zoo.errors import NotDerivable, SourceUnavailable
from model_zoo.references.repository import MOST_CONFIG_BYTES, ListedFile
from model_zoo.sources.url import TORCHVISION_HOST, size_at

__all__ = ["TorchvisionWeights", "network_name"]

TASK = "image-classification"
"""The one task of torchvision's networks that Zoo takes."""
_DIGITS = re.compile(r"-([0-9a-f]{8,64})\.pth")
"""The beginning of the file's sha256, in its name."""
_NOT_STATED = "not stated"


class TorchvisionWeights:
    """One set of weights as a repository with a single file (see ``Repository``). Its size is asked of the web server."""

    task = TASK

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

    def start(self, path: str, count: int) -> bytes:
        """See Repository. Nothing is read of a checkpoint before it is fetched."""
        return self.read(path, count)


def network_name(weights: Any) -> str:
    """Name of the classifier of images to which weights of torchvision belong; empty if they are of another network."""
    from torchvision import models

    for name in models.list_models(module=models):
        if models.get_model_weights(name) is type(weights):
            return str(name)
    return ""


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
