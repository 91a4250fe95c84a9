"""Three LSTMs over a mel spectrogram: an embedding of the speaker's voice.

After "Generalized End-to-End Loss for Speaker Verification" (Wan et al., ICASSP 2018, arXiv:1710.10467) as Resemblyzer by
Resemble AI implements it (Apache-2.0).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["SpeakerLstm"]


class SpeakerLstm(nn.Module):
    """Windows of a recording → one vector of unit length."""

    def __init__(self, mels: int = 40, hidden: int = 256, layers: int = 3, width: int = 256) -> None:
        super().__init__()
        self.lstm = nn.LSTM(mels, hidden, layers, batch_first=True)
        self.linear = nn.Linear(hidden, width)

    def forward(self, windows: Tensor, mask: Tensor) -> Tensor:
        """(B, W, frames, mels) and (B, W), 1 for windows and 0 for padding → (B, width): the mean direction of the windows."""
        batch, count, frames, mels = windows.shape
        each = self.embed(windows.reshape(batch * count, frames, mels)).reshape(batch, count, -1)
        # Not multiplied by the mask: the embedding of padding may be any value, even NaN.
        real = torch.where(mask.bool().unsqueeze(2), each, 0.0)
        return functional.normalize(real.sum(dim=1), dim=1)

    def embed(self, windows: Tensor) -> Tensor:
        """(N, frames, mels) → (N, width), each of unit length, without negative values."""
        _, (hidden, _) = self.lstm(windows)
        return functional.normalize(functional.relu(self.linear(hidden[-1])), dim=1)
