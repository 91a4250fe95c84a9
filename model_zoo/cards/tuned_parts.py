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
    """What stands on the backbone of a fine-tuned network: features, standardised, → linear, or → linear, ReLU, linear."""

    kind: Literal["linear", "mlp"]
    inputs: int = Field(gt=0)
    """Numbers it takes: those of the backbone and, behind them, `columns`."""
    outputs: int = Field(gt=0)
    """Classes, or numbers that it predicts."""
    hidden: int | None = Field(default=None, gt=0)
    """Of an mlp."""
    output: str = "logits"
    """Name of the output tensor."""
    columns: int = Field(default=0, ge=0)
    """Numbers of a table's row that come beside the backbone's features, as the input ``columns``."""


class AdapterSpec(CardPart):
    """Low-rank updates beside a Transformer's weights (Hu et al., LoRA, arXiv:2106.09685)."""

    rank: int = Field(gt=0)
    alpha: int = Field(gt=0)
    targets: tuple[str, ...] = Field(min_length=1)
    """Last parts of the names of the linear layers that have one."""


class TargetScale(CardPart):
    """Number that was learned = output × std + mean; and between what 80 % of the errors are to lie."""

    mean: float
    std: float = Field(gt=0)
    lower: float | None = None
    """Lower end of (target - prediction), in the target's units; a tenth lies below."""
    upper: float | None = None
    """Upper end; a tenth lies above."""


class ForecastScale(CardPart):
    """Between what 80 % of a forecast's errors are to lie, in spreads of the context: [steps ahead][channels]."""

    lower: tuple[tuple[float, ...], ...]
    """Lower end of (what came - forecast) ÷ standard deviation of the channel over the context."""
    upper: tuple[tuple[float, ...], ...]
    """Upper end."""
