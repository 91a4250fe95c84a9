"""A card and its files → the torch module that is served.

Nothing is downloaded here and no pickle is read: the library builds the architecture from the arguments on the card, or a module
of Zoo that equals the library's, and the state is read from ``model.safetensors``, strictly by name.
``architectures/wrappers.py`` defines the inputs and outputs of networks. Weights are float32 on the CPU; the runtime moves and
casts them.
"""

from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from model_zoo.architectures.image.efficientnet_lite import EfficientNetLite, is_efficientnet_lite
from model_zoo.architectures.text.bert_encoder import BertEncoder, is_plain_bert
from model_zoo.architectures.tuned import Head, TunedNetwork
from model_zoo.architectures.wrappers import (
    CharacterModel,
    ImageClassifier,
    ImageEncoder,
    ImageSegmenter,
    ImageToImage,
    KeypointFinder,
    Network,
    ObjectDetector,
    SentenceEncoder,
    SeriesForecaster,
    ShotDetector,
    SoundClassifier,
    SpeakerEncoder,
    SpeechDetector,
    SubwordModel,
    TabularNetwork,
    VolumeSegmenter,
    WordClassifier,
)
from model_zoo.cards.card import Card
from model_zoo.cards.recipes import TextRecipe
from model_zoo.cards.tuned_parts import AdapterSpec
from model_zoo.errors import ConversionFailed
from model_zoo.formats.shared_tensors import with_tied
from model_zoo.materialised import Materialised
from model_zoo.shared_weights import shared_weights

__all__ = ["add_adapter", "build_network", "load_network"]


def build_network(card: Card) -> Network:
    """The network of a card with unspecified weights; the caller loads its own state. No file is read.

    Raises:
        ConversionFailed: the library on this machine does not know the architecture or its arguments.
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
        base: the files of the base, for a version of the methods ``head`` or ``lora``, which holds only the weights that it adds.
        share: whether the base weights of a Transformer are in memory once for all networks that share them. The network must not
            be trained; its attribute ``shared`` is set.

    Raises:
        ConversionFailed: the file does not fit the architecture, because the library has changed the architecture since the file
            was written, or the file is damaged.
    """
    network = build_network(card)
    share = share and card.architecture.builder in ("transformers", "transformers_auto")
    try:
        if not isinstance(network, TunedNetwork):
            _load_backbone(network, network.backbone, materialised, share)
        elif base is None:
            network.load_state_dict(load_file(materialised.weights), strict=True)
        else:
            added = load_file(materialised.weights)
            backbone = network.base.backbone
            _load_backbone(network, backbone, base, share)
            if card.adapter is not None:
                add_adapter(backbone, card.adapter)
            # The base has loaded the rest; any other missing or unexpected tensor is an error.
            result = network.load_state_dict(added, strict=False)
            missing = [n for n in result.missing_keys if n.startswith("head.") or ".lora_" in n]
            if missing or result.unexpected_keys:
                raise RuntimeError("tensors are missing or too many")
    except (RuntimeError, KeyError, SafetensorError, OSError) as error:
        reason = "its safetensors do not fit the architecture, or cannot be read; verify the store"
        raise ConversionFailed(card.name, reason) from error
    return network.eval().requires_grad_(False)


def _load_backbone(network: Network, backbone: nn.Module, files: Materialised, share: bool) -> None:
    """Load the weights of the base into its backbone: all of them, or those that remain without the base's own head."""
    if share:
        network.shared = shared_weights(files.digest, files.weights)
    stored = network.shared.tensors if network.shared is not None else load_file(files.weights)
    stored = with_tied(stored, backbone)
    if isinstance(network, TunedNetwork):
        stored = {name: stored[name] for name in backbone.state_dict()}
    backbone.load_state_dict(stored, strict=True, assign=share)


def add_adapter(backbone: nn.Module, spec: AdapterSpec) -> None:
    """Add low-rank updates to the linear layers that `spec` names, in place; they start at zero."""
    from peft import LoraConfig, inject_adapter_in_model

    config = LoraConfig(r=spec.rank, lora_alpha=spec.alpha, target_modules=list(spec.targets), lora_dropout=0.0)
    inject_adapter_in_model(config, backbone)


def _build(card: Card) -> Network:
    base = _build_base(card)
    network, prefix = (base, "") if card.head is None else (TunedNetwork(base, Head(card.head)), "base.")
    network.keep_in_fp32 = tuple(f"{prefix}backbone.{name}" for name in card.keep_in_fp32)
    return network


def _build_base(card: Card) -> Network:
    arguments = dict(card.architecture.arguments)
    match card.architecture.builder:
        case "timm":
            module = _timm(arguments)
            return ImageEncoder(module) if arguments.get("num_classes") == 0 else ImageClassifier(module)
        case "segmenter":
            from model_zoo.architectures.image.segmenter import Segmenter

            return ImageSegmenter(Segmenter(_timm(arguments.pop("encoder")), **arguments))
        case "torchvision":
            from model_zoo.architectures import torchvision_classifier

            return torchvision_classifier.TorchvisionClassifier(torchvision_classifier.build(arguments))
        case "transformers":
            normalize = isinstance(card.recipe, TextRecipe) and card.recipe.normalize
            return SentenceEncoder(_text_encoder(arguments), normalize=normalize)
        case "transformers_auto":
            from model_zoo.architectures.transformers.auto_classes import build
            from model_zoo.architectures.transformers.network_wrappers import WRAPPERS

            return WRAPPERS[arguments["auto_class"]](build(arguments), card)
        case "silero_vad":
            from model_zoo.architectures.silero_vad import SileroVad

            return SpeechDetector(SileroVad(**arguments))
        case "speaker_lstm":
            from model_zoo.architectures.speaker_lstm import SpeakerLstm

            return SpeakerEncoder(SpeakerLstm(**arguments))
        case "sound_events":
            from model_zoo.architectures.audio.sound_events import SoundEvents

            return SoundClassifier(SoundEvents(**arguments))
        case "mel_vgg":
            from model_zoo.architectures.audio.mel_vgg import MelVgg

            return SoundClassifier(MelVgg(**arguments))
        case "char_lstm":
            from model_zoo.architectures.text.char_lstm import CharLstm

            return CharacterModel(CharLstm(**arguments))
        case "char_gru":
            from model_zoo.architectures.text.char_gru import CharGru

            return CharacterModel(CharGru(**arguments))
        case "word_gru":
            from model_zoo.architectures.text.word_gru import WordGru

            return WordClassifier(WordGru(**arguments))
        case "small_cnn":
            from model_zoo.architectures.small_cnn import SmallCnn

            return ImageClassifier(SmallCnn(**arguments))
        case "joined_cnn":
            from model_zoo.architectures.image.joined_cnn import JoinedCnn

            return TabularNetwork(JoinedCnn(**arguments), card.signature.outputs[0].name)
        case "tabular_mlp":
            from model_zoo.architectures.tabular_mlp import TabularMlp

            return TabularNetwork(TabularMlp(**arguments), card.signature.outputs[0].name)
        case "feed_forward":
            from model_zoo.architectures.feed_forward import FeedForward, FeedForwardNetwork

            return FeedForwardNetwork(FeedForward(**arguments), card.signature.outputs[0].name)
        case "series_gru":
            from model_zoo.architectures.series_gru import SeriesGru

            return SeriesForecaster(SeriesGru(**arguments))
        case "nanodet":
            from model_zoo.architectures.image.nanodet import NanoDet

            return ObjectDetector(NanoDet(**arguments))
        case "transnetv2":
            from model_zoo.architectures.video.transnetv2 import TransNetV2

            return ShotDetector(TransNetV2(**arguments))
        case "movenet":
            from model_zoo.architectures.image.movenet import MoveNet

            return KeypointFinder(MoveNet(**arguments))
        case "person_segmenter":
            from model_zoo.architectures.image.person_segmenter import PersonSegmenter

            return ImageSegmenter(PersonSegmenter(**arguments))
        case "subword_classifier":
            from model_zoo.architectures.text.subword_classifier import SubwordClassifier

            return SubwordModel(SubwordClassifier(**arguments))
        case "image_filter":
            from model_zoo.architectures.image.image_filter import ImageFilter

            return ImageToImage(ImageFilter(**arguments), card.signature.outputs[0].name)
        case "rdn":
            from model_zoo.architectures.image.rdn import ResidualDenseNetwork

            return ImageToImage(ResidualDenseNetwork(**arguments), card.signature.outputs[0].name)
        case "brain_extractor":
            from model_zoo.architectures.volume.brain_extractor import BrainExtractor

            return VolumeSegmenter(BrainExtractor(**arguments))
    raise ValueError(f"there is no builder for {card.architecture.builder}")


def _timm(arguments: dict[str, Any]) -> nn.Module:
    """A network under the names of timm."""
    if is_efficientnet_lite(arguments):  # the same network, without the seconds of timm's import
        return EfficientNetLite(**arguments)

    import timm

    from model_zoo.architectures.timm_arguments import forbidden

    if (wrong := forbidden(arguments)) != "":
        raise ValueError(f"a card may not give timm the argument {wrong}")
    module: nn.Module = timm.create_model(**arguments, pretrained=False)
    return module


def _text_encoder(arguments: dict[str, Any]) -> nn.Module:
    """An encoder under the names of transformers."""
    if is_plain_bert(arguments):  # the same network, without the seconds of the library's import
        return BertEncoder(
            **{name: value for name, value in arguments.items() if name not in ("model_type", "hidden_act")}
        )

    import transformers

    config: Any = transformers.AutoConfig.for_model(arguments.pop("model_type"), **arguments)
    auto: Any = transformers.AutoModel  # untyped upstream
    backbone: nn.Module = auto.from_config(config, add_pooling_layer=False)
    return backbone
