"""A card and its files → the torch module that is served.

Nothing is downloaded here and no pickle is read: the library builds the architecture from the arguments on the card,
and the state comes from ``model.safetensors``, strictly by name. Every network takes the signature's inputs as keyword
tensors and returns a dict of the signature's outputs. Each is a backbone and a head: ``features`` stops after the
backbone, which is where a tuned head attaches. Weights are float32 on the CPU; moving and casting them is the
runtime's business.
"""

from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from model_zoo.card import AdapterSpec, Card, HeadSpec, TextRecipe
from model_zoo.errors import ConversionFailed
from model_zoo.store import Materialised

__all__ = [
    "Head",
    "ImageClassifier",
    "Network",
    "SentenceEncoder",
    "SpeechDetector",
    "TunedNetwork",
    "add_adapter",
    "build_network",
    "load_network",
]


class Network(nn.Module):
    """What all served networks have in common.

    Attributes:
        backbone: the library's own module; the safetensors hold its state dict, under its names.
    """

    backbone: nn.Module

    def features(self, **inputs: Tensor) -> Tensor:
        """Output of the backbone, (B, D); the input of a head."""
        raise NotImplementedError

    def drop_own_head(self) -> None:
        """Forgets the weights that `features` does not need, if there are any."""


class Head(nn.Module):
    """What a fine-tune job puts on a backbone: standardise, then a linear layer or a small perceptron.

    Attributes:
        mean, scale: of the features on the training data, (D); subtracted and divided by before anything else.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, spec: HeadSpec) -> None:
        super().__init__()
        self.spec = spec
        self.register_buffer("mean", torch.zeros(spec.inputs))
        self.register_buffer("scale", torch.ones(spec.inputs))
        self.hidden = nn.Linear(spec.inputs, spec.hidden or 1) if spec.kind == "mlp" else None
        self.out = nn.Linear(spec.hidden if spec.kind == "mlp" and spec.hidden else spec.inputs, spec.outputs)

    def forward(self, features: Tensor) -> Tensor:
        """(B, D) → (B, outputs)."""
        x = (features - self.mean) / self.scale
        if self.hidden is not None:
            x = functional.relu(self.hidden(x))
        out: Tensor = self.out(x)
        return out


class TunedNetwork(Network):
    """A base's backbone and a head of its own. Its state is ``base.backbone.…`` and ``head.…``."""

    def __init__(self, base: Network, head: Head) -> None:
        super().__init__()
        base.drop_own_head()
        self.base = base
        self.head = head

    def features(self, **inputs: Tensor) -> Tensor:
        """Those of the base, and behind them the row's ``columns`` where the head takes them."""
        columns = inputs.pop("columns", None)
        features = self.base.features(**inputs)
        return features if columns is None else torch.cat([features, columns], dim=1)

    def forward(self, **inputs: Tensor) -> dict[str, Tensor]:
        """The base's inputs → the head's output, (B, outputs)."""
        return {self.head.spec.output: self.head(self.features(**inputs))}


class ImageClassifier(Network):
    """A timm classifier."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone

    def features(self, **inputs: Tensor) -> Tensor:
        """``pixel_values`` (B, 3, H, W) → pooled features (B, D) in front of the classifier."""
        backbone: Any = self.backbone
        pooled: Tensor = backbone.forward_head(backbone.forward_features(inputs["pixel_values"]), pre_logits=True)
        return pooled

    def drop_own_head(self) -> None:
        """Without the classifier."""
        backbone: Any = self.backbone
        backbone.reset_classifier(0)

    def forward(self, pixel_values: Tensor) -> dict[str, Tensor]:
        """``pixel_values`` (B, 3, H, W) → ``logits`` (B, classes)."""
        return {"logits": self.backbone(pixel_values)}


class SentenceEncoder(Network):
    """A transformers encoder whose token vectors are averaged over the mask (Sentence-BERT, arXiv:1908.10084)."""

    def __init__(self, backbone: nn.Module, normalize: bool) -> None:
        super().__init__()
        self.backbone = backbone
        self.normalize = normalize

    def features(self, **inputs: Tensor) -> Tensor:
        """``input_ids``, ``attention_mask`` (B, T) → embedding (B, D)."""
        ids, mask = inputs["input_ids"], inputs["attention_mask"]
        tokens: Tensor = self.backbone(input_ids=ids, attention_mask=mask).last_hidden_state  # (B, T, D)
        weights = mask.unsqueeze(-1).to(tokens.dtype)
        # At least 1: a row that is all padding gives zeros, not NaN.
        mean = (tokens * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1.0)
        return functional.normalize(mean, dim=1) if self.normalize else mean

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> dict[str, Tensor]:
        """``input_ids``, ``attention_mask`` (B, T), mask 1 for tokens and 0 for padding → ``embedding`` (B, D)."""
        return {"embedding": self.features(input_ids=input_ids, attention_mask=attention_mask)}


class SpeechDetector(Network):
    """Silero VAD. The task pads samples to whole frames before, and adds the output ``frames`` after."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone

    def features(self, **inputs: Tensor) -> Tensor:
        """``samples`` (B, F * 512) → states (B, F, 128)."""
        backbone: Any = self.backbone
        states: Tensor = backbone.features(inputs["samples"])
        return states

    def forward(self, samples: Tensor) -> dict[str, Tensor]:
        """``samples`` (B, F * 512) → ``probabilities`` (B, F)."""
        return {"probabilities": self.backbone(samples)}


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


def load_network(card: Card, materialised: Materialised, base: Materialised | None = None) -> Network:
    """The network of a card with its weights: in evaluation mode, without gradients, float32, on the CPU.

    Args:
        base: the files of the base, for a version that was tuned by ``head`` or ``lora`` and holds only what it adds.

    Raises:
        ConversionFailed: the file and the architecture do not fit, which happens when a library has changed an
            architecture since the file was written, or when the file is damaged.
    """
    network = build_network(card)
    try:
        own = load_file(materialised.weights)
        if not isinstance(network, TunedNetwork):
            network.backbone.load_state_dict(own, strict=True)
        elif base is None:
            network.load_state_dict(own, strict=True)
        else:
            backbone = network.base.backbone
            wanted = backbone.state_dict().keys()
            stored = load_file(base.weights)
            backbone.load_state_dict({name: stored[name] for name in wanted}, strict=True)
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


def add_adapter(backbone: nn.Module, spec: AdapterSpec) -> None:
    """Puts low-rank updates beside the linear layers that `spec` names, in place; they begin as no change at all."""
    from peft import LoraConfig, inject_adapter_in_model

    config = LoraConfig(r=spec.rank, lora_alpha=spec.alpha, target_modules=list(spec.targets), lora_dropout=0.0)
    inject_adapter_in_model(config, backbone)


def _build(card: Card) -> Network:
    network = _build_base(card)
    return network if card.head is None else TunedNetwork(network, Head(card.head))


def _build_base(card: Card) -> Network:
    arguments = dict(card.architecture.arguments)
    match card.architecture.builder:
        case "timm":
            import timm

            return ImageClassifier(timm.create_model(arguments.pop("model_name"), pretrained=False, **arguments))
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
    raise ValueError(f"nobody wrote a builder for {card.architecture.builder}")
