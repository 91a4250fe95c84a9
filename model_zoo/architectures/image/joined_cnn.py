"""A picture and the row of a table → a number: a small convolutional network whose features, followed by the columns, go
through a feed-forward network.

The joint network over both kinds of input is that of Ngiam et al., Multimodal Deep Learning, ICML 2011: each kind has
layers of its own, and shared layers follow. An output may so depend on a product of both, which a sum of two separate
networks cannot.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from model_zoo.architectures.feed_forward import FeedForward
from model_zoo.architectures.small_cnn import SmallCnn

__all__ = ["JoinedCnn"]


class JoinedCnn(nn.Module):
    """Pictures with standardised columns → numbers."""

    def __init__(
        self,
        columns: int,
        channels: Sequence[int] = (16, 32, 64),
        hidden: Sequence[int] = (64, 32),
        outputs: int = 1,
        colours: int = 3,
    ) -> None:
        """Build the network with random weights.

        Args:
            columns: numbers of a row; with 0 the picture alone decides.
            channels: of each convolution.
            hidden: width of each hidden layer behind both.
            outputs: numbers to predict.
            colours: channels of the pictures.
        """
        super().__init__()
        self.picture = SmallCnn(0, channels, colours)
        self.joined = FeedForward(self.picture.width + columns, hidden, outputs, "relu")

    def forward(self, pixel_values: Tensor, columns: Tensor | None = None) -> Tensor:
        """``pixel_values`` (B, colours, H, W) and ``columns`` (B, columns), None without any → (B, outputs)."""
        out: Tensor = self.joined(self._both(pixel_values, columns))
        return out

    def features(self, pixel_values: Tensor, columns: Tensor | None = None) -> Tensor:
        """The last hidden layer, (B, width)."""
        return self.joined.features(self._both(pixel_values, columns))

    def _both(self, pixel_values: Tensor, columns: Tensor | None) -> Tensor:
        found: Tensor = self.picture(pixel_values)
        return found if columns is None else torch.cat([found, columns], dim=1)
