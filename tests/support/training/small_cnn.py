"""A small convolutional network with everything that could break an exact resume."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional


class SmallCnn(nn.Module):
    """Convolutions, batch norm with running means, dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 16, 3, stride=2), nn.ReLU()
        )
        self.head = nn.Linear(16 * 9, 10)

    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        x = functional.dropout(self.blocks(pixels).flatten(1), 0.2, self.training)
        return {"logits": self.head(x)}
