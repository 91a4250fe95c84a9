"""Networks of the library transformers by its automatic classes: built from a configuration, or read from its files."""

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import nn

from model_zoo.cards.network_config import config_fault

__all__ = ["AUTO_CLASSES", "build", "config_of", "has_several", "read"]

AUTO_CLASSES = (
    "AutoModel",
    "AutoModelForAudioClassification",
    "AutoModelForCTC",
    "AutoModelForCausalLM",
    "AutoModelForImageClassification",
    "AutoModelForMaskedLM",
    "AutoModelForObjectDetection",
    "AutoModelForSemanticSegmentation",
    "AutoModelForSeq2SeqLM",
    "AutoModelForSequenceClassification",
    "AutoModelForSpeechSeq2Seq",
    "AutoModelForTokenClassification",
    "AutoModelForZeroShotImageClassification",
)
"""Those that cards may name. No other class of the library can be built by a card."""


def config_of(arguments: Mapping[str, Any]) -> Any:
    """The library's configuration from a card's arguments. Raises ValueError for a type of model that it does not know,
    for sizes that no network has, and for computation by fetched code."""
    if fault := config_fault(arguments["config"]):
        raise ValueError(fault)
    config = dict(arguments["config"])
    found: Any = transformers.AutoConfig.for_model(config.pop("model_type"), **config)
    return found


def has_several(arguments: Mapping[str, Any]) -> bool:
    """Whether an automatic class stands for several classes for this type of model, of which ``architectures`` names one, as of
    DeiT with and without a teacher. Raises ValueError for a type of model that the library does not know."""
    mapping: Any = _auto_class(arguments)._model_mapping
    kind = type(config_of(arguments))
    return kind in mapping and isinstance(mapping[kind], tuple)


def build(arguments: Mapping[str, Any]) -> nn.Module:
    """A network with random weights.

    Args:
        arguments: ``auto_class``, one of ``AUTO_CLASSES``; ``config``, the fields of the configuration with its ``model_type``;
            ``part``, ``encoder`` for the encoder alone of a network that has a decoder too.

    Raises:
        ValueError: the class or the type of model is unknown.
    """
    config = config_of(arguments)
    auto: Any = _auto_class(arguments)
    return _part(arguments, auto.from_config(config, **_without_pooler(auto, config)))


def read(arguments: Mapping[str, Any], folder: Path) -> tuple[nn.Module, dict[str, str]]:
    """A network with the weights of a folder in the library's own layout, in float32, and what is wrong with the tensors of the
    folder: a phrase by the name of each that is missing or has another shape.

    No code of the folder is run, and nothing is fetched. Raises OSError, ValueError, RuntimeError for files that do not fit.
    """
    library: Any = transformers  # untyped upstream
    library.utils.logging.disable_progress_bar()
    library.utils.logging.set_verbosity_error()  # its report of what it loads names paths
    config = config_of(arguments)
    auto: Any = _auto_class(arguments)
    network, report = auto.from_pretrained(
        folder,
        config=config,
        local_files_only=True,
        trust_remote_code=False,
        use_safetensors=True,
        dtype=torch.float32,
        output_loading_info=True,
        ignore_mismatched_sizes=True,  # they are reported, and the library's own error would not say which
        **_without_pooler(auto, config),
    )
    missing = {name: f"{name} is missing" for name in sorted(report["missing_keys"])}
    return _part(arguments, network), {
        **missing,
        **{
            name: f"{name} is {list(stored)} in the files and {list(wanted)} by the configuration"
            for name, stored, wanted in sorted(report["mismatched_keys"])
        },
    }


def _part(arguments: Mapping[str, Any], network: Any) -> nn.Module:
    part = arguments.get("part", "")
    if part not in ("", "encoder"):
        raise ValueError(f"no network has a part {part}")
    found: nn.Module = network.get_encoder() if part else network
    return found


def _auto_class(arguments: Mapping[str, Any]) -> Any:
    name = arguments["auto_class"]
    if name not in AUTO_CLASSES:
        raise ValueError(f"no network is built by {name}")
    return getattr(transformers, name)


def _without_pooler(auto: Any, config: Any) -> dict[str, bool]:
    """Leaves out the layer on the first token of a text, which an encoder's own pooling does not use and many repositories lack.
    Of an image, its output is the embedding."""
    if auto is not transformers.AutoModel:
        return {}
    mapped: Any = transformers.MODEL_MAPPING[type(config)]
    kind: Any = mapped[0] if isinstance(mapped, tuple) else mapped
    if kind.main_input_name == "pixel_values":
        return {}
    return {"add_pooling_layer": False} if "add_pooling_layer" in inspect.signature(kind).parameters else {}
