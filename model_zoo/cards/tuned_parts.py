"""The parts of a card that only a fine-tuned version has: head, adapter and the scales of its predictions."""

from typing import Literal

from pydantic import Field

from model_zoo.cards.part import CardPart

__all__ = [
    "AdapterSpec",
    "ForecastScale",
    "HeadSpec",
    "TargetScale",
]


class HeadSpec(CardPart):
    """The head of a fine-tuned network: standardised features → linear, or → linear, ReLU, linear."""

    kind: Literal["linear", "mlp"]
    inputs: int = Field(gt=0)
    """Number of inputs: the features of the backbone, followed by `columns`."""
    outputs: int = Field(gt=0)
    """Number of classes, or of predicted numbers."""
    hidden: int | None = Field(default=None, gt=0)
    """Width of the hidden layer of an mlp."""
    output: str = "logits"
    """Name of the output tensor."""
    per_token: bool = False
    """Whether the head answers for each token of a text, from the vectors of tokens, rather than for the whole of it."""
    columns: int = Field(default=0, ge=0)
    """Number of values of a table's row that are inputs beside the features, as the input ``columns``."""


class AdapterSpec(CardPart):
    """Low-rank updates of a Transformer's weights (Hu et al., LoRA, arXiv:2106.09685)."""

    rank: int = Field(gt=0)
    alpha: int = Field(gt=0)
    targets: tuple[str, ...] = Field(min_length=1)
    """Last parts of the names of the linear layers with an update."""


class TargetScale(CardPart):
    """Predicted number = output × std + mean; and the interval of 80 % of the errors."""

    mean: float
    std: float = Field(gt=0)
    lower: float | None = None
    """Lower end of (target - prediction), in the target's units; a tenth of the errors is lower."""
    upper: float | None = None
    """Upper end; a tenth of the errors is higher."""


class ForecastScale(CardPart):
    """The interval of 80 % of a forecast's errors, in spreads of the context: [steps ahead][channels]."""

    lower: tuple[tuple[float, ...], ...]
    """Lower end of (actual - forecast) ÷ standard deviation of the channel over the context."""
    upper: tuple[tuple[float, ...], ...]
    """Upper end."""
