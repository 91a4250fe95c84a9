"""Repositories of transformers: ``config.json`` with a ``model_type``, safetensors, and the files of a processor."""

import re
from typing import Any

import torch

from model_zoo.architectures import transformers_auto
from model_zoo.errors import NotDerivable
from model_zoo.references.card_plan import CardPlan, Given
from model_zoo.references.common_fields import class_names, common_fields, family_of, parameters_of, positive
from model_zoo.references.image_fields import IMAGE_BATCHING, image_signature
from model_zoo.references.image_processor import PROCESSOR, image_recipe
from model_zoo.references.repository import Repository
from model_zoo.references.text_fields import TOKENIZER_FILES, text_batching, text_inputs, text_recipe
from model_zoo.references.weight_files import weight_files

__all__ = ["architecture_fields", "built", "plan_transformers"]

_HEADS = {
    "ForSequenceClassification": ("AutoModelForSequenceClassification", "text-classification"),
    "ForImageClassification": ("AutoModelForImageClassification", "image-classification"),
}
"""Endings of the classes that ``architectures`` names → the automatic class, and the task."""

_NOT_NEEDED = ("architectures", "_name_or_path", "transformers_version", "torch_dtype", "dtype", "id2label", "label2id")


def plan_transformers(repository: Repository, config: dict[str, Any], given: Given) -> CardPlan:
    """The plan of a classifier of images or texts. Raises NotDerivable."""
    named = config.get("architectures")
    kind = str(named[0]) if isinstance(named, list) and named else ""
    auto_class, task = next((found for end, found in _HEADS.items() if kind.endswith(end)), ("", ""))
    if not auto_class:
        raise NotDerivable(
            repository.name,
            f"its config.json names the network {kind[:80]!r}; Zoo takes "
            f"those that end in {' and '.join(_HEADS)}, and encoders with modules.json of sentence-transformers",
        )
    if config.get("problem_type") not in (None, "single_label_classification"):
        raise NotDerivable(
            repository.name, f"its problem_type is {str(config['problem_type'])[:50]}, which Zoo does not have"
        )
    found = _names(config)
    count = len(found) or positive(repository, config.get("num_labels", 2), "num_labels in config.json")
    if count < 2:
        raise NotDerivable(repository.name, "its network gives one number, not classes")
    names = class_names(repository, found, count, given)
    architecture = architecture_fields(repository, auto_class, {**config, "num_labels": count})
    network = built(repository, architecture["arguments"])
    fields = common_fields(repository, task, f"{kind} of transformers, as {repository.name} publishes it.")
    fields |= {
        "family": family_of(network),
        "parameters": parameters_of(network),
        "weights": {"format": "safetensors", "mapping": "library"},
        "architecture": architecture,
        "canonical": "raw",
        "labels": "labels.txt",
        "class_names": names,
        "tolerance": {"max_abs_error": 0.001},
    }
    roles = {**weight_files(repository), "config": "config.json"}
    if task == "image-classification":
        recipe = image_recipe(repository, config)
        fields |= {
            "raw_input": "image",
            "signature": image_signature(tuple(recipe["size"]), count, True),
            "recipe": recipe,
            "batching": IMAGE_BATCHING,
        }
        return CardPlan("transformers", fields, roles, (PROCESSOR,))
    recipe = text_recipe(repository, config, given)
    fields |= {
        "raw_input": "text",
        "signature": {
            "inputs": text_inputs(),
            "outputs": [{"name": "logits", "datatype": "FP32", "shape": (-1, count)}],
        },
        "recipe": recipe,
        "batching": text_batching(recipe["max_tokens"]),
    }
    extra = tuple(name for name in TOKENIZER_FILES if name in repository.files)
    return CardPlan("transformers", fields, {**roles, "tokenizer": "tokenizer.json"}, extra)


def architecture_fields(repository: Repository, auto_class: str, config: dict[str, Any]) -> dict[str, Any]:
    """The architecture of a card. Raises NotDerivable for a type of model that the library does not know."""
    kept = {name: value for name, value in config.items() if name not in _NOT_NEEDED}
    arguments = {"auto_class": auto_class, "config": kept}
    try:
        transformers_auto.config_of(arguments)
    except Exception as error:  # its checks of fields raise errors of their own
        kind = str(config.get("model_type"))[:80]
        raise NotDerivable(repository.name, f"transformers cannot read its config.json of the type {kind!r}") from error
    return {"builder": "transformers_auto", "arguments": arguments}


def built(repository: Repository, arguments: dict[str, Any]) -> torch.nn.Module:
    """The network without memory for its weights. Raises NotDerivable if the library cannot build it."""
    try:
        with torch.device("meta"):
            return transformers_auto.build(arguments)
    except Exception as error:  # a contradiction may show anywhere in the library
        raise NotDerivable(repository.name, "transformers cannot build the network by its config.json") from error


def _names(config: dict[str, Any]) -> tuple[str, ...]:
    """``id2label`` in the order of the classes; empty where it is missing or has gaps."""
    found = config.get("id2label")
    if not isinstance(found, dict):
        return ()
    by_number = {int(key): str(name) for key, name in found.items() if re.fullmatch("[0-9]{1,6}", str(key))}
    return tuple(by_number[i] for i in range(len(found))) if by_number.keys() == set(range(len(found))) else ()
