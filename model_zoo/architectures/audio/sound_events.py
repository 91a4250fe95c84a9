"""A deep feed-forward sequential memory network: which kinds of sound a recording holds.

After "Deep-FSMN for Large Vocabulary Continuous Speech Recognition" (Zhang et al., ICASSP 2018, arXiv:1803.05030) as FireRedVAD
builds it: linear layers, and between them a memory that reads each channel's neighbouring frames.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["SoundEvents"]


class Memory(nn.Module):
    """A frame, plus a weighted sum of it and the frames before it, plus one of the frames after it; each channel by itself."""

    def __init__(self, width: int, reach: int) -> None:
        """`reach`: frames of each of the two sums."""
        super().__init__()
        self.back = nn.Conv1d(width, width, reach, groups=width, bias=False)
        self.ahead = nn.Conv1d(width, width, reach, groups=width, bias=False)
        self.reach = reach

    def forward(self, x: Tensor, real: Tensor) -> Tensor:
        """(B, T, width) and bool (B, T, 1) → (B, T, width). Padding counts as zeros, like frames beyond the ends."""
        x = torch.where(real, x, 0.0)
        channels = x.transpose(1, 2)
        before = self.back(functional.pad(channels, (self.reach - 1, 0)))
        after = self.ahead(functional.pad(channels, (0, self.reach))[..., 1:])
        memory: Tensor = x + (before + after).transpose(1, 2)
        return memory


class Block(nn.Module):
    """Two linear layers and a memory, around which the input passes."""

    def __init__(self, width: int, hidden: int, reach: int) -> None:
        super().__init__()
        self.rise = nn.Linear(width, hidden)
        self.fall = nn.Linear(hidden, width, bias=False)
        self.memory = Memory(width, reach)

    def forward(self, x: Tensor, real: Tensor) -> Tensor:
        """(B, T, width) and bool (B, T, 1) → (B, T, width)."""
        remembered: Tensor = self.memory(self.fall(functional.relu(self.rise(x))), real)
        return x + remembered


class SoundEvents(nn.Module):
    """Log mel bands of a recording → logits of each kind of sound, frame by frame."""

    mean: Tensor
    scale: Tensor

    def __init__(self, mels: int, width: int, hidden: int, reach: int, blocks: int, classes: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(mels))
        self.register_buffer("scale", torch.ones(mels))
        self.rise = nn.Linear(mels, hidden)
        self.fall = nn.Linear(hidden, width)
        self.memory = Memory(width, reach)
        self.blocks = nn.ModuleList(Block(width, hidden, reach) for _ in range(blocks))
        self.last = nn.Linear(width, hidden)
        self.output = nn.Linear(hidden, classes)

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        """(B, T, mels) and (B, T), 1 for frames and 0 for padding → logits of each frame, (B, T, classes)."""
        logits: Tensor = self.output(self.vectors(features, mask))
        return logits

    def vectors(self, features: Tensor, mask: Tensor) -> Tensor:
        """(B, T, mels) and (B, T) → a vector of each frame before the last layer, (B, T, hidden)."""
        real = mask.bool().unsqueeze(2)
        x = (features - self.mean) * self.scale
        x = self.memory(functional.relu(self.fall(functional.relu(self.rise(x)))), real)
        for block in self.blocks:
            x = block(x, real)
        return functional.relu(self.last(x))
