"""The wrappers of the served networks, one class for each kind of input.

Every network takes the inputs of the signature as keyword tensors and returns a dict of the signature's outputs. It is a backbone
and a head: ``features`` returns the output of the backbone, to which a tuned head attaches.
"""

from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from model_zoo.architectures.audio.pooling import logit_of_mean, mean_of_real
from model_zoo.cards.signature import FEATURES
from model_zoo.shared_weights import SharedWeights

__all__ = [
    "CharacterModel",
    "ImageClassifier",
    "ImageEncoder",
    "ImageSegmenter",
    "ImageToImage",
    "KeypointFinder",
    "Network",
    "ObjectDetector",
    "SentenceEncoder",
    "SeriesForecaster",
    "ShotDetector",
    "SoundClassifier",
    "SpeakerEncoder",
    "SpeechDetector",
    "SubwordModel",
    "TabularNetwork",
    "WordClassifier",
    "masked_mean",
]


class Network(nn.Module):
    """The base class of all served networks.

    Attributes:
        backbone: the library's own module; the safetensors hold its state dict, under its names.
        shared: the weights that other networks use as well, in memory once; None if there are none.
        keep_in_fp32: names of the modules that stay in fp32 when the rest is cast.
    """

    backbone: nn.Module
    shared: SharedWeights | None = None
    keep_in_fp32: tuple[str, ...] = ()

    def features(self, **inputs: Tensor) -> Tensor:
        """Output of the backbone, (B, D); the input of a head."""
        raise NotImplementedError

    def token_features(self, **inputs: Tensor) -> Tensor:
        """Vectors of the tokens of a text, (B, T, D); the input of a head for each token. Only encoders of texts have them."""
        raise NotImplementedError

    def drop_own_head(self) -> None:
        """Remove the weights that `features` does not need, if there are any."""


class ImageClassifier(Network):
    """A classifier with the methods of timm's networks."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone

    def features(self, **inputs: Tensor) -> Tensor:
        """``pixel_values`` (B, 3, H, W) → pooled features (B, D) in front of the classifier."""
        backbone: Any = self.backbone
        pooled: Tensor = backbone.forward_head(backbone.forward_features(inputs["pixel_values"]), pre_logits=True)
        return pooled

    def drop_own_head(self) -> None:
        """Remove the classifier."""
        backbone: Any = self.backbone
        backbone.reset_classifier(0)

    def forward(self, pixel_values: Tensor) -> dict[str, Tensor]:
        """``pixel_values`` (B, 3, H, W) → ``logits`` (B, classes), and the features (B, D) behind them."""
        backbone: Any = self.backbone
        features = self.features(pixel_values=pixel_values)
        return {"logits": backbone.get_classifier()(features), FEATURES: features}


class ImageEncoder(Network):
    """A timm network without a classifier."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone

    def features(self, **inputs: Tensor) -> Tensor:
        """``pixel_values`` (B, 3, H, W) → pooled features (B, D)."""
        pooled: Tensor = self.backbone(inputs["pixel_values"])
        return pooled

    def forward(self, pixel_values: Tensor) -> dict[str, Tensor]:
        """``pixel_values`` (B, 3, H, W) → ``embedding`` (B, D)."""
        return {"embedding": self.features(pixel_values=pixel_values)}


class ObjectDetector(Network):
    """A detector of objects that gives a box at each place of its maps; it has no features for a head."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, pixel_values: Tensor) -> dict[str, Tensor]:
        """``pixel_values`` (B, 3, H, W) → ``logits`` (B, places, classes) and ``pred_boxes`` (B, places, 4)."""
        logits, boxes = self.backbone(pixel_values)
        return {"logits": logits, "pred_boxes": boxes}


class ShotDetector(Network):
    """A detector of cuts in windows of a video; it has no features for a head."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, frames: Tensor) -> dict[str, Tensor]:
        """``frames`` uint8 (B, T, H, W, 3) → ``cuts`` and ``transitions``, (B, frames with an answer) each, in 0..1."""
        cuts, transitions = self.backbone(frames)
        return {"cuts": cuts, "transitions": transitions}


class ImageSegmenter(Network):
    """A network that gives a class to each pixel; it has no features for a head."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, pixel_values: Tensor) -> dict[str, Tensor]:
        """``pixel_values`` (B, 3, H, W) → ``logits`` (B, classes, h, w)."""
        return {"logits": self.backbone(pixel_values)}


class KeypointFinder(Network):
    """A network that finds points of a body; it has no features for a head."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, pixel_values: Tensor) -> dict[str, Tensor]:
        """``pixel_values`` (B, 3, H, W) → ``keypoints`` (B, points, 3): x and y as shares of the input, and the score."""
        return {"keypoints": self.backbone(pixel_values)}


class SentenceEncoder(Network):
    """An encoder of texts, called as those of transformers, whose token vectors are pooled: their mean over the mask
    (Sentence-BERT, arXiv:1908.10084), or the first one."""

    def __init__(self, backbone: nn.Module, normalize: bool, first_token: bool = False) -> None:
        super().__init__()
        self.backbone = backbone
        self.normalize = normalize
        self.first_token = first_token

    def features(self, **inputs: Tensor) -> Tensor:
        """``input_ids``, ``attention_mask`` (B, T) → embedding (B, D)."""
        tokens = self.token_features(**inputs)
        pooled = tokens[:, 0] if self.first_token else masked_mean(tokens, inputs["attention_mask"])
        return functional.normalize(pooled, dim=1) if self.normalize else pooled

    def token_features(self, **inputs: Tensor) -> Tensor:
        """``input_ids``, ``attention_mask`` (B, T) → (B, T, D)."""
        ids, mask = inputs["input_ids"], inputs["attention_mask"]
        tokens: Tensor = self.backbone(input_ids=ids, attention_mask=mask).last_hidden_state
        return tokens

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> dict[str, Tensor]:
        """``input_ids``, ``attention_mask`` (B, T), mask 1 for tokens and 0 for padding → ``embedding`` (B, D)."""
        return {"embedding": self.features(input_ids=input_ids, attention_mask=attention_mask)}


class CharacterModel(Network):
    """A language model over characters; it also gives features of a whole text."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone

    def features(self, **inputs: Tensor) -> Tensor:
        """``input_ids``, ``attention_mask`` (B, T) → features of the whole text (B, D)."""
        backbone: Any = self.backbone
        features: Tensor = backbone.features(inputs["input_ids"], inputs["attention_mask"])
        return features

    def drop_own_head(self) -> None:
        """Remove the weights that predict the next character."""
        backbone: Any = self.backbone
        backbone.attention, backbone.output = None, None

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> dict[str, Tensor]:
        """``input_ids``, ``attention_mask`` (B, T), mask 1 for characters → ``logits`` (B, symbols) of the next one, and the
        features (B, D) of the whole text."""
        backbone: Any = self.backbone
        states = backbone.states(input_ids)
        return {
            "logits": backbone.next_logits(states, attention_mask),
            FEATURES: backbone.summary(states, attention_mask),
        }


class WordClassifier(Network):
    """A recurrent network that tells the class of a text."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone

    def features(self, **inputs: Tensor) -> Tensor:
        """``input_ids``, ``attention_mask`` (B, T) → the state after the last word (B, D)."""
        backbone: Any = self.backbone
        state: Tensor = backbone.features(inputs["input_ids"], inputs["attention_mask"])
        return state

    def drop_own_head(self) -> None:
        """Remove the classifier."""
        backbone: Any = self.backbone
        backbone.output = None

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> dict[str, Tensor]:
        """``input_ids``, ``attention_mask`` (B, T), mask 1 for words → ``logits`` (B, classes), and the features (B, D) behind
        them."""
        backbone: Any = self.backbone
        features = self.features(input_ids=input_ids, attention_mask=attention_mask)
        return {"logits": backbone.output(features), FEATURES: features}


class SpeakerEncoder(Network):
    """A voice as a vector, averaged over the windows of a recording."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone

    def features(self, **inputs: Tensor) -> Tensor:
        """``windows`` (B, W, frames, mels), ``mask`` (B, W) → embedding (B, D) of unit length."""
        embedding: Tensor = self.backbone(inputs["windows"], inputs["mask"])
        return embedding

    def forward(self, windows: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """``windows`` (B, W, frames, mels), ``mask`` (B, W), 1 for windows and 0 for padding → ``embedding`` (B, D)."""
        return {"embedding": self.features(windows=windows, mask=mask)}


class SoundClassifier(Network):
    """A recording → logits of its classes."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone

    def features(self, **inputs: Tensor) -> Tensor:
        """The inputs of the backbone → its last hidden vector, a mean over the recording (B, width)."""
        backbone: Any = self.backbone
        return mean_of_real(backbone.vectors(**inputs), inputs["mask"])

    def drop_own_head(self) -> None:
        """Remove the last layer."""
        backbone: Any = self.backbone
        backbone.output = None

    def forward(self, **inputs: Tensor) -> dict[str, Tensor]:
        """Frames or windows (B, N, …) and ``mask`` (B, N), 1 for them and 0 for padding → ``logits`` (B, classes) of their mean
        probabilities, float32, and the features (B, width) behind them."""
        backbone: Any = self.backbone
        vectors, mask = backbone.vectors(**inputs), inputs["mask"]
        return {"logits": logit_of_mean(backbone.output(vectors), mask), FEATURES: mean_of_real(vectors, mask)}


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


class SubwordModel(Network):
    """A linear classifier over the mean vector of a text's words and their parts."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone

    def features(self, **inputs: Tensor) -> Tensor:
        """``input_ids``, ``attention_mask`` (B, T) → the mean vector (B, D)."""
        backbone: Any = self.backbone
        features: Tensor = backbone.features(inputs["input_ids"], inputs["attention_mask"])
        return features

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> dict[str, Tensor]:
        """``input_ids``, ``attention_mask`` (B, T), mask 1 for ids and 0 for padding → ``logits`` (B, classes), and the features
        (B, D) behind them."""
        backbone: Any = self.backbone
        features = self.features(input_ids=input_ids, attention_mask=attention_mask)
        return {"logits": backbone.classify(features), FEATURES: features}


class TabularNetwork(Network):
    """Columns of a table, perhaps with an image → the output that the card names: logits of classes, or a number."""

    def __init__(self, backbone: nn.Module, output: str) -> None:
        super().__init__()
        self.backbone = backbone
        self.output = output

    def features(self, **inputs: Tensor) -> Tensor:
        """The inputs of the backbone → its last hidden vector (B, width)."""
        backbone: Any = self.backbone
        hidden: Tensor = backbone.features(**inputs)
        return hidden

    def drop_own_head(self) -> None:
        """Remove the last layer."""
        backbone: Any = self.backbone
        backbone.out = None

    def forward(self, **inputs: Tensor) -> dict[str, Tensor]:
        """``numbers`` (B, n) and ``categories`` (B, m), of which one may be absent, or ``pixel_values`` (B, 3, H, W) and
        ``columns`` (B, c) → (B, outputs)."""
        return {self.output: self.backbone(**inputs)}


class SeriesForecaster(Network):
    """A time series → its next values, both in the units of the data."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone

    def features(self, **inputs: Tensor) -> Tensor:
        """``context`` (B, T, C) → the recurrent state after it (B, width)."""
        backbone: Any = self.backbone
        state: Tensor = backbone.features(inputs["context"])
        return state

    def forward(self, context: Tensor) -> dict[str, Tensor]:
        """``context`` (B, T, C) → ``forecast`` (B, horizon, C)."""
        return {"forecast": self.backbone(context)}


class ImageToImage(Network):
    """Pixels → the pixels of another image. It gives no features."""

    def __init__(self, backbone: nn.Module, output: str) -> None:
        super().__init__()
        self.backbone = backbone
        self.output = output

    def forward(self, **inputs: Tensor) -> dict[str, Tensor]:
        """``pixels`` uint8 (B, H, W, 3), and what the backbone takes beside them → uint8 (B, h, w, 3)."""
        return {self.output: self.backbone(**inputs)}


class VolumeSegmenter(Network):
    """A volume → the probability of an object in each voxel. It gives no features."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, volume: Tensor) -> dict[str, Tensor]:
        """``volume`` (B, 1, X, Y, Z) → ``probabilities`` (B, X, Y, Z), and ``box`` (B, 6), outside of which they are 0."""
        probabilities, box = self.backbone(volume)
        return {"probabilities": probabilities, "box": box}


def masked_mean(tokens: Tensor, mask: Tensor) -> Tensor:
    """(B, T, D) and (B, T) → (B, D). A row that is all padding gives zeros, not NaN."""
    weights = mask.unsqueeze(-1).to(tokens.dtype)
    return (tokens * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1.0)
