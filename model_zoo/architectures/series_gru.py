"""A recurrent network that forecasts time series: gated recurrent units beside a linear layer, on scaled numbers.

It combines three published ideas. The context is scaled by its own mean and spread and the forecast is scaled back, so that the
network need not learn the level of a series and takes and gives raw numbers (Kim et al., Reversible Instance Normalization,
ICLR 2022). A linear layer over the steps runs beside the recurrent layers and models periodic and smooth parts (Lai et al.,
LSTNet, SIGIR 2018, arXiv:1703.07015). Both only correct the seasonal naive forecast, which repeats the last season: their last
layers start at zero, so that training starts from the naive forecast.
"""

from typing import Literal

import torch
from torch import Tensor, nn

__all__ = ["SeriesGru"]

_CONSTANT = 1e-6
"""A context is constant if its spread is less than this share of its largest number; the rest is rounding."""


class SeriesGru(nn.Module):
    """Steps of one or more channels → the next steps."""

    def __init__(
        self,
        context: int,
        horizon: int,
        channels: int = 1,
        season: int = 1,
        width: int = 64,
        depth: int = 1,
        dropout: float = 0.0,
        cell: Literal["gru", "lstm"] = "gru",
    ) -> None:
        """Build the network; untrained it gives the seasonal naive forecast.

        Args:
            context: steps of the input.
            horizon: steps of the forecast.
            season: period of the series in steps; 1 repeats the last step.
            width: of the recurrent state.
            depth: recurrent layers; ``dropout`` is applied between them and before the last layer.
            cell: a long short-term memory (Hochreiter and Schmidhuber, Neural Computation 1997) may take the place of the gated
                recurrent unit; its layers are named ``gru`` too.

        Raises:
            ValueError: a season is longer than the context.
        """
        super().__init__()
        if season > context:
            raise ValueError("a season is longer than the context")
        self.horizon = horizon
        self.channels = channels
        self.season = season
        recurrence = {"gru": nn.GRU, "lstm": nn.LSTM}[cell]
        self.gru = recurrence(channels, width, depth, batch_first=True, dropout=dropout if depth > 1 else 0.0)
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(width, horizon * channels)
        self.linear = nn.Linear(context, horizon)  # shared by the channels
        for layer in (self.out, self.linear):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    @staticmethod
    def scale(context: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and spread of every channel over its steps, both (B, 1, C); the spread of a constant channel is 0."""
        mean = context.mean(dim=1, keepdim=True)
        spread = (context - mean).square().mean(dim=1, keepdim=True).sqrt()
        constant = spread <= _CONSTANT * context.abs().amax(dim=1, keepdim=True)
        return mean, torch.where(constant, torch.zeros_like(spread), spread)

    def scaled(self, context: Tensor) -> tuple[Tensor, Tensor]:
        """The scaled context (B, T, C), zero in constant channels; and the spread, (B, 1, C)."""
        mean, spread = self.scale(context)
        varies = spread > 0
        x = torch.where(varies, (context - mean) / torch.where(varies, spread, torch.ones_like(spread)), 0.0)
        return x, spread

    def features(self, context: Tensor) -> Tensor:
        """The recurrent state after the last step, (B, width)."""
        return self._state(self.scaled(context)[0])

    def forward(self, context: Tensor) -> Tensor:
        """``context`` (B, T, C) in the units of the data → forecast (B, horizon, C) in the same units."""
        x, spread = self.scaled(context)
        recurrent = self.out(self.dropout(self._state(x))).unflatten(1, (self.horizon, self.channels))
        linear = self.linear(x.transpose(1, 2)).transpose(1, 2)  # (B, horizon, C)
        forecast: Tensor = self._naive(context) + (recurrent + linear) * spread
        return forecast

    def _state(self, x: Tensor) -> Tensor:
        states, _ = self.gru(x)  # (B, T, width)
        last: Tensor = states[:, -1]
        return last

    def _naive(self, context: Tensor) -> Tensor:
        """The last season, repeated, (B, horizon, C)."""
        last = context[:, context.shape[1] - self.season :]
        times = -(-self.horizon // self.season)
        repeated: Tensor = last.repeat(1, times, 1)[:, : self.horizon]
        return repeated
