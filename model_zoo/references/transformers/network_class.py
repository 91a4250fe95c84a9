"""The class of network that a repository of transformers names, and what planners of its card share."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from model_zoo.architectures.transformers import auto_classes
from model_zoo.errors import NotDerivable
from model_zoo.references.card_plan import CardPlan, Given
from model_zoo.references.common_fields import common_fields, family_of, parameters_of
from model_zoo.references.repository import Repository

__all__ = ["NetworkClass", "Planner", "architecture_fields", "built", "listed_names"]

_NOT_NEEDED = ("architectures", "_name_or_path", "transformers_version", "torch_dtype", "dtype", "id2label", "label2id")


@dataclass(frozen=True)
class NetworkClass:
    """A class of network in a repository.

    Attributes:
        config: the content of ``config.json``.
        kind: the name of the class, the first of ``architectures``.
    """

    repository: Repository
    config: dict[str, Any]
    given: Given
    kind: str

    def fields(
        self, task: str, auto_class: str, *, part: str = "", **config: Any
    ) -> tuple[dict[str, Any], torch.nn.Module]:
        """Fields of a card that do not depend on the task's inputs, and the network without memory for its weights.

        Args:
            part: of the network, for `transformers_auto.build`; empty for all of it.
            config: fields of the configuration that differ from those in the repository.

        Raises:
            NotDerivable: the library cannot build the network.
        """
        architecture = architecture_fields(self.repository, auto_class, {**self.config, **config})
        if part:
            architecture["arguments"]["part"] = part
        network = built(self.repository, architecture["arguments"])
        fields = common_fields(
            self.repository, task, f"{self.kind} of transformers, as {self.repository.name} publishes it."
        )
        fields |= {
            "family": family_of(network),
            "parameters": parameters_of(network),
            "weights": {"format": "safetensors", "mapping": "library"},
            "architecture": architecture,
            "canonical": "raw",
            "tolerance": {"max_abs_error": 0.001},
        }
        return fields, network

    def refuse(self, reason: str, option: str = "") -> NotDerivable:
        """The error for a repository that makes no card."""
        return NotDerivable(self.repository.name, reason, option)


Planner = Callable[[NetworkClass], CardPlan]
"""Raises NotDerivable."""


def architecture_fields(repository: Repository, auto_class: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """The architecture of a card. Raises NotDerivable for a type of model that the library does not know."""
    kept = {name: value for name, value in config.items() if name not in _NOT_NEEDED}
    arguments: dict[str, Any] = {"auto_class": auto_class, "config": kept}
    try:
        if auto_classes.has_several(arguments) and config.get("architectures"):
            kept["architectures"] = config["architectures"]
    except Exception as error:  # its checks of fields raise errors of their own
        kind = str(config.get("model_type"))[:80]
        raise NotDerivable(repository.name, f"transformers cannot read its config.json of the type {kind!r}") from error
    return {"builder": "transformers_auto", "arguments": arguments}


def built(repository: Repository, arguments: dict[str, Any]) -> torch.nn.Module:
    """The network without memory for its weights. Raises NotDerivable if the library cannot build it."""
    try:
        with torch.device("meta"):
            return auto_classes.build(arguments)
    except Exception as error:  # a contradiction may show anywhere in the library
        raise NotDerivable(repository.name, "transformers cannot build the network by its config.json") from error


def listed_names(config: dict[str, Any]) -> tuple[str, ...]:
    """``id2label`` in the order of the classes; empty where it is missing or has gaps."""
    found = config.get("id2label")
    if not isinstance(found, dict):
        return ()
    by_number = {int(key): str(name) for key, name in found.items() if re.fullmatch("[0-9]{1,6}", str(key))}
    return tuple(by_number[i] for i in range(len(found))) if by_number.keys() == set(range(len(found))) else ()
