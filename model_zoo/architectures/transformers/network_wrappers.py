"""The wrappers of networks of transformers, one class for each automatic class of the library; `WRAPPERS` lists them."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from model_zoo.architectures.transformers.generation import TextGenerator
from model_zoo.architectures.transformers.image_text import ImageTextMatcher, ImageTower, TextTower
from model_zoo.architectures.transformers.mask_filler import MaskFiller
from model_zoo.architectures.transformers.sound import SoundClassifier, SoundEncoder, SoundFrames
from model_zoo.architectures.transformers.window_transcriber import WindowTranscriber
from model_zoo.architectures.wrappers import Network, SentenceEncoder, masked_mean
from model_zoo.cards.card import Card
from model_zoo.cards.recipes import ImageRecipe, SoundRecipe, TextRecipe
from model_zoo.cards.signature import FEATURES

__all__ = [
    "WRAPPERS",
    "TransformersDetector",
    "TransformersImageClassifier",
    "TransformersImageEncoder",
    "TransformersSegmenter",
    "TransformersTextClassifier",
]


class TransformersTextClassifier(Network):
    """A transformers network for sequence or token classification."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone

    def features(self, **inputs: Tensor) -> Tensor:
        """``input_ids``, ``attention_mask`` and perhaps ``token_type_ids`` (B, T) → mean of the last token vectors over the mask
        (B, D)."""
        return masked_mean(self.token_features(**inputs), inputs["attention_mask"])

    def token_features(self, **inputs: Tensor) -> Tensor:
        """``input_ids``, ``attention_mask`` and perhaps ``token_type_ids`` (B, T) → (B, T, D)."""
        base: Any = self.backbone
        tokens: Tensor = base.base_model(**inputs).last_hidden_state
        return tokens

    def forward(self, **inputs: Tensor) -> dict[str, Tensor]:
        """``input_ids``, ``attention_mask`` (B, T), mask 1 for tokens and 0 for padding, and perhaps ``token_type_ids`` (B, T), 1
        for the second text of a pair → ``logits`` (B, classes), or (B, T, classes) where each token is classified, and
        the features (B, D) beside them."""
        found = self.backbone(**inputs, output_hidden_states=True)
        return {"logits": found.logits, FEATURES: masked_mean(found.hidden_states[-1], inputs["attention_mask"])}


class TextScorer(TransformersTextClassifier):
    """A transformers network for sequence classification with one class, whose score says how well two texts go together."""

    def __init__(self, backbone: nn.Module, sigmoid: bool) -> None:
        super().__init__(backbone)
        self.sigmoid = sigmoid

    def forward(self, **inputs: Tensor) -> dict[str, Tensor]:
        """As the text classifier → ``score`` (B, 1), in 0..1 where the makers apply a sigmoid, and the features (B, D)."""
        found = super().forward(**inputs)
        logits = found["logits"].float()
        return {"score": torch.sigmoid(logits) if self.sigmoid else logits, FEATURES: found[FEATURES]}


class TransformersImageClassifier(Network):
    """A transformers network for image classification."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone

    def features(self, **inputs: Tensor) -> Tensor:
        """``pixel_values`` (B, 3, H, W) → mean of the last hidden states over all places (B, D)."""
        found = self.backbone(pixel_values=inputs["pixel_values"], output_hidden_states=True)
        return _mean_over_places(found.hidden_states[-1])

    def forward(self, pixel_values: Tensor) -> dict[str, Tensor]:
        """``pixel_values`` (B, 3, H, W) → ``logits`` (B, classes), and the features (B, D) beside them."""
        found = self.backbone(pixel_values=pixel_values, output_hidden_states=True)
        return {"logits": found.logits, FEATURES: _mean_over_places(found.hidden_states[-1])}


class TransformersDetector(Network):
    """A transformers network for object detection; it has no features for a head."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, pixel_values: Tensor) -> dict[str, Tensor]:
        """``pixel_values`` (B, 3, H, W) → ``logits`` (B, queries, classes) and ``pred_boxes`` (B, queries, 4)."""
        found = self.backbone(pixel_values=pixel_values)
        return {"logits": found.logits, "pred_boxes": found.pred_boxes}


class TransformersSegmenter(Network):
    """A transformers network for semantic segmentation; it has no features for a head."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, pixel_values: Tensor) -> dict[str, Tensor]:
        """``pixel_values`` (B, 3, H, W) → ``logits`` (B, classes, h, w)."""
        return {"logits": self.backbone(pixel_values=pixel_values).logits}


class TransformersImageEncoder(Network):
    """A transformers network for images without a head, that pools what it finds."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone

    def features(self, **inputs: Tensor) -> Tensor:
        """``pixel_values`` (B, 3, H, W) → pooled features (B, D)."""
        pooled: Tensor = self.backbone(pixel_values=inputs["pixel_values"]).pooler_output
        return pooled.flatten(1)

    def forward(self, pixel_values: Tensor) -> dict[str, Tensor]:
        """``pixel_values`` (B, 3, H, W) → ``embedding`` (B, D)."""
        return {"embedding": self.features(pixel_values=pixel_values)}


def _encoder(backbone: nn.Module, card: Card) -> Network:
    recipe = card.recipe
    if isinstance(recipe, ImageRecipe):
        return TransformersImageEncoder(backbone)
    if isinstance(recipe, SoundRecipe):
        return SoundEncoder(backbone, recipe.masked)
    assert isinstance(recipe, TextRecipe)
    return SentenceEncoder(backbone, recipe.normalize, recipe.pooling == "cls")


def _image_text(backbone: nn.Module, card: Card) -> Network:
    recipe = card.recipe
    if isinstance(recipe, ImageRecipe):
        return ImageTower(backbone)
    if isinstance(recipe, TextRecipe):
        arguments = card.architecture.arguments
        return TextTower(backbone, recipe.pad_id, arguments.get("tokens"), bool(arguments.get("masked")))
    return ImageTextMatcher(backbone)


def _sound_classifier(backbone: nn.Module, card: Card) -> Network:
    recipe = card.recipe
    assert isinstance(recipe, SoundRecipe)
    return SoundClassifier(backbone, recipe.masked)


def _sound_frames(backbone: nn.Module, card: Card) -> Network:
    recipe = card.recipe
    assert isinstance(recipe, SoundRecipe)
    return SoundFrames(backbone, recipe.masked)


def _window_transcriber(backbone: nn.Module, card: Card) -> Network:
    arguments, recipe = card.architecture.arguments, card.recipe
    assert isinstance(recipe, SoundRecipe)
    assert recipe.windows is not None
    return WindowTranscriber(backbone, arguments["generation"], recipe.windows)


def _text_generator(backbone: nn.Module, card: Card) -> Network:
    return TextGenerator(backbone, card.architecture.arguments["generation"])


def _mean_over_places(states: Tensor) -> Tensor:
    """(B, T, D) of tokens, or (B, D, H, W) of a map → (B, D)."""
    return states.mean(dim=1) if states.dim() == 3 else states.mean(dim=(2, 3))


def _sequence_classifier(backbone: nn.Module, card: Card) -> Network:
    if card.signature.outputs[0].name == "score":
        return TextScorer(backbone, card.activation == "sigmoid")
    return TransformersTextClassifier(backbone)


WRAPPERS: Mapping[str, Callable[[nn.Module, Card], Network]] = {
    "AutoModel": _encoder,
    "AutoModelForAudioClassification": _sound_classifier,
    "AutoModelForCTC": _sound_frames,
    "AutoModelForCausalLM": _text_generator,
    "AutoModelForImageClassification": lambda backbone, card: TransformersImageClassifier(backbone),
    "AutoModelForMaskedLM": MaskFiller,
    "AutoModelForObjectDetection": lambda backbone, card: TransformersDetector(backbone),
    "AutoModelForSemanticSegmentation": lambda backbone, card: TransformersSegmenter(backbone),
    "AutoModelForSeq2SeqLM": _text_generator,
    "AutoModelForSpeechSeq2Seq": _window_transcriber,
    "AutoModelForSequenceClassification": _sequence_classifier,
    "AutoModelForTokenClassification": lambda backbone, card: TransformersTextClassifier(backbone),
    "AutoModelForZeroShotImageClassification": _image_text,
}
"""By automatic class, which is one of `auto_classes.AUTO_CLASSES`."""
