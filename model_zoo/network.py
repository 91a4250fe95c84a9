"""A card and its files → the torch module that is served.

Nothing is downloaded here and no pickle is read: the library builds the architecture from the arguments on the card,
and the state comes from ``model.safetensors``, strictly by name. Every network takes the signature's inputs as keyword
tensors and returns a dict of the signature's outputs. Each is a backbone and a head: ``features`` stops after the
backbone, which is where a tuned head attaches. Weights are float32 on the CPU; moving and casting them is the
runtime's business.
"""

from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from model_zoo.architectures.tuned import Head, TunedNetwork
from model_zoo.architectures.wrappers import (
    CharacterModel,
    ImageClassifier,
    ImageEncoder,
    Network,
    SentenceEncoder,
    SeriesForecaster,
    SpeakerEncoder,
    SpeechDetector,
    TabularNetwork,
)
from model_zoo.cards.card import Card
from model_zoo.cards.recipes import TextRecipe
from model_zoo.cards.tuned_parts import AdapterSpec
from model_zoo.errors import ConversionFailed
from model_zoo.materialised import Materialised
from model_zoo.shared_weights import shared_weights

__all__ = ["add_adapter", "build_network", "load_network"]


def build_network(card: Card) -> Network:
    """The network of a card with unspecified weights, for those who bring their own state. No file is read.

    Raises:
        ConversionFailed: the library on this machine does not know the architecture, or not these arguments.
    """
    try:
        return _build(card)
    except (ImportError, RuntimeError, TypeError, ValueError) as error:
        reason = f"{card.architecture.builder} cannot build the architecture on its card ({type(error).__name__})"
        raise ConversionFailed(card.name, reason) from error


def load_network(
    card: Card, materialised: Materialised, base: Materialised | None = None, *, share: bool = False
) -> Network:
    """The network of a card with its weights: in evaluation mode, without gradients, float32, on the CPU.

    Args:
        base: the files of the base, for a version that was tuned by ``head`` or ``lora`` and holds only what it adds.
        share: whether the base's weights of a Transformer are in memory once for all networks that share them. Only for those
            that nobody trains; the network then has the attribute ``shared``.

    Raises:
        ConversionFailed: the file and the architecture do not fit, which happens when a library has changed an
            architecture since the file was written, or when the file is damaged.
    """
    network = build_network(card)
    share = share and card.architecture.builder == "transformers"
    try:
        if not isinstance(network, TunedNetwork):
            _load_backbone(network, network.backbone, materialised, share)
        elif base is None:
            network.load_state_dict(load_file(materialised.weights), strict=True)
        else:
            own = load_file(materialised.weights)
            backbone = network.base.backbone
            _load_backbone(network, backbone, base, share)
            if card.adapter is not None:
                add_adapter(backbone, card.adapter)
            # What the base brought is the rest; whatever else is missing, or too much, is an error.
            found = network.load_state_dict(own, strict=False)
            lacking = [n for n in found.missing_keys if n.startswith("head.") or ".lora_" in n]
            if lacking or found.unexpected_keys:
                raise RuntimeError("tensors are missing or too many")
    except (RuntimeError, KeyError, SafetensorError, OSError) as error:
        reason = "its safetensors do not fit the architecture, or cannot be read; verify the store"
        raise ConversionFailed(card.name, reason) from error
    return network.eval().requires_grad_(False)


def _load_backbone(network: Network, backbone: nn.Module, files: Materialised, share: bool) -> None:
    """The base's weights, as far as its backbone has a place for them: all, unless it is a tuned one without its own head."""
    if share:
        network.shared = shared_weights(files.digest, files.weights)
    stored = network.shared.tensors if network.shared is not None else load_file(files.weights)
    if isinstance(network, TunedNetwork):
        stored = {name: stored[name] for name in backbone.state_dict()}
    backbone.load_state_dict(stored, strict=True, assign=share)


def add_adapter(backbone: nn.Module, spec: AdapterSpec) -> None:
    """Puts low-rank updates beside the linear layers that `spec` names, in place; they begin as no change at all."""
    from peft import LoraConfig, inject_adapter_in_model

    config = LoraConfig(r=spec.rank, lora_alpha=spec.alpha, target_modules=list(spec.targets), lora_dropout=0.0)
    inject_adapter_in_model(config, backbone)


def _build(card: Card) -> Network:
    base = _build_base(card)
    network, within = (base, "") if card.head is None else (TunedNetwork(base, Head(card.head)), "base.")
    network.keep_in_fp32 = tuple(f"{within}backbone.{name}" for name in card.keep_in_fp32)
    return network


def _build_base(card: Card) -> Network:
    arguments = dict(card.architecture.arguments)
    match card.architecture.builder:
        case "timm":
            import timm

            module = timm.create_model(arguments.pop("model_name"), pretrained=False, **arguments)
            return ImageEncoder(module) if arguments.get("num_classes") == 0 else ImageClassifier(module)
        case "transformers":
            import transformers

            config: Any = transformers.AutoConfig.for_model(arguments.pop("model_type"), **arguments)
            auto: Any = transformers.AutoModel  # untyped upstream
            backbone = auto.from_config(config, add_pooling_layer=False)
            recipe = card.recipe
            return SentenceEncoder(backbone, normalize=isinstance(recipe, TextRecipe) and recipe.normalize)
        case "silero_vad":
            from model_zoo.architectures.silero_vad import SileroVad

            return SpeechDetector(SileroVad(**arguments))
        case "speaker_lstm":
            from model_zoo.architectures.speaker_lstm import SpeakerLstm

            return SpeakerEncoder(SpeakerLstm(**arguments))
        case "char_lstm":
            from model_zoo.architectures.char_lstm import CharLstm

            return CharacterModel(CharLstm(**arguments))
        case "tabular_mlp":
            from model_zoo.architectures.tabular_mlp import TabularMlp

            return TabularNetwork(TabularMlp(**arguments), card.signature.outputs[0].name)
        case "series_gru":
            from model_zoo.architectures.series_gru import SeriesGru

            return SeriesForecaster(SeriesGru(**arguments))
    raise ValueError(f"nobody wrote a builder for {card.architecture.builder}")
