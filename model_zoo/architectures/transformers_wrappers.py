"""The wrappers of networks of transformers, one class for each automatic class of the library; `WRAPPERS` lists them."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from model_zoo.architectures.generation import TextGenerator
from model_zoo.architectures.sound import SoundClassifier
from model_zoo.architectures.wrappers import Network, SentenceEncoder, masked_mean
from model_zoo.cards.card import Card
from model_zoo.cards.recipes import SoundRecipe, TextRecipe
from model_zoo.cards.signature import FEATURES

__all__ = ["WRAPPERS", "TransformersDetector", "TransformersImageClassifier", "TransformersTextClassifier"]


class TransformersTextClassifier(Network):
    """A transformers network for sequence classification."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone

    def features(self, **inputs: Tensor) -> Tensor:
        """``input_ids``, ``attention_mask`` (B, T) → mean of the last token vectors over the mask (B, D)."""
        base: Any = self.backbone
        tokens: Tensor = base.base_model(**inputs).last_hidden_state
        return masked_mean(tokens, inputs["attention_mask"])

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> dict[str, Tensor]:
        """``input_ids``, ``attention_mask`` (B, T), mask 1 for tokens and 0 for padding → ``logits`` (B, classes), and the
        features (B, D) beside them."""
        found = self.backbone(input_ids=input_ids, attention_mask=attention_mask, output_hidden_states=True)
        return {"logits": found.logits, FEATURES: masked_mean(found.hidden_states[-1], attention_mask)}


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


def _sentence_encoder(backbone: nn.Module, card: Card) -> Network:
    recipe = card.recipe
    assert isinstance(recipe, TextRecipe)
    return SentenceEncoder(backbone, recipe.normalize, recipe.pooling == "cls")


def _sound_classifier(backbone: nn.Module, card: Card) -> Network:
    recipe = card.recipe
    assert isinstance(recipe, SoundRecipe)
    return SoundClassifier(backbone, recipe.masked)


def _text_generator(backbone: nn.Module, card: Card) -> Network:
    return TextGenerator(backbone, card.architecture.arguments["generation"])


def _mean_over_places(states: Tensor) -> Tensor:
    """(B, T, D) of tokens, or (B, D, H, W) of a map → (B, D)."""
    return states.mean(dim=1) if states.dim() == 3 else states.mean(dim=(2, 3))


WRAPPERS: Mapping[str, Callable[[nn.Module, Card], Network]] = {
    "AutoModel": _sentence_encoder,
    "AutoModelForAudioClassification": _sound_classifier,
    "AutoModelForCausalLM": _text_generator,
    "AutoModelForImageClassification": lambda backbone, card: TransformersImageClassifier(backbone),
    "AutoModelForObjectDetection": lambda backbone, card: TransformersDetector(backbone),
    "AutoModelForSeq2SeqLM": _text_generator,
    "AutoModelForSequenceClassification": lambda backbone, card: TransformersTextClassifier(backbone),
}
"""By automatic class, which is one of `transformers_auto.AUTO_CLASSES`."""
