"""A CNN over windows of a mel spectrogram that tags music, as musicnn builds its VGG (Pons and Serra, 2019, arXiv:1909.06654)."""

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["MelVgg"]

POOLS = (((4, 1), 2), ((2, 2), 2), ((2, 2), 2), ((2, 2), 2), ((4, 4), 4))
"""Size (frames, mels) and step of the pooling after each convolution."""
EPSILON = 1e-3
"""Of batch normalisation: TensorFlow's default."""
GAIN = 10_000.0


class FixedNorm(nn.Module):
    """Batch normalisation by the statistics of the weights, also where the network is tuned."""

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) → the same."""
        return functional.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=EPSILON)


class MelVgg(nn.Module):
    """Five convolutions, each followed by batch normalisation and pooling, and a linear layer."""

    def __init__(self, frames: int, mels: int, filters: int, classes: int) -> None:
        super().__init__()
        self.entry = FixedNorm(1)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(1 if i == 0 else filters, filters, 3, padding=1) for i in range(len(POOLS))
        )
        self.norms = nn.ModuleList(FixedNorm(filters) for _ in POOLS)
        for size, step in POOLS:
            frames, mels = (frames - size[0]) // step + 1, (mels - size[1]) // step + 1
        self.output = nn.Linear(frames * mels * filters, classes)

    def forward(self, windows: Tensor, mask: Tensor) -> Tensor:
        """Power (B, W, frames, mels) and (B, W), 1 for windows and 0 for padding → logits of each window, (B, W, classes)."""
        logits: Tensor = self.output(self.vectors(windows, mask))
        return logits

    def vectors(self, windows: Tensor, mask: Tensor) -> Tensor:
        """(B, W, frames, mels) and (B, W) → a vector of each window before the last layer, (B, W, D)."""
        batch, count, frames, mels = windows.shape
        power = windows.reshape(batch * count, 1, frames, mels)
        x = self.entry(torch.log10(GAIN * power.clamp(min=0.0) + 1.0))
        for convolution, norm, (size, step) in zip(self.convolutions, self.norms, POOLS, strict=True):
            x = functional.max_pool2d(norm(functional.relu(convolution(x))), size, step)
        # TensorFlow's order: the channels of one place are neighbours.
        vectors: Tensor = x.permute(0, 2, 3, 1).reshape(batch, count, -1)
        return vectors
