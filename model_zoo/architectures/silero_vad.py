"""Silero VAD for 16 kHz: a short-time spectrum, four convolutions and one LSTM.

After the network published by the Silero Team as "Silero VAD: pre-trained enterprise-grade Voice Activity Detector" (MIT; code
and weights, no paper), version 6. The original takes one frame and its state at a time. This one takes whole recordings,
because only the LSTM depends on time: spectrum and convolutions read one frame and the end of the frame before it.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["CONTEXT_SAMPLES", "FRAME_SAMPLES", "SileroVad"]

FRAME_SAMPLES = 512
"""Samples behind one probability: 32 ms at 16 kHz."""
CONTEXT_SAMPLES = 64
"""Samples of the preceding frame that are read again with each frame; zeros before the first."""

_WINDOW = 256
_HOP = 128
_BINS = _WINDOW // 2 + 1
_REFLECTED = 64  # samples mirrored at the end of a frame, so that it holds four windows
_HIDDEN = 128
_ENCODED_AT_ONCE = 2048  # frames; limits the memory of the convolutions to some 30 MB for audio of any length


class _Spectrum(nn.Module):
    """Magnitudes of a short-time Fourier transform, as a convolution with a fixed basis."""

    basis: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("basis", torch.zeros(2 * _BINS, 1, _WINDOW))

    def forward(self, frames: Tensor) -> Tensor:
        """(N, 576) samples → (N, 129, 4) magnitudes."""
        padded = functional.pad(frames, (0, _REFLECTED), mode="reflect")
        spectrum = functional.conv1d(padded.unsqueeze(1), self.basis, stride=_HOP)  # (N, 258, 4)
        real, imaginary = spectrum[:, :_BINS], spectrum[:, _BINS:]
        return torch.sqrt(real.square() + imaginary.square())


class SileroVad(nn.Module):
    """Speech probability of every frame of a batch of recordings.

    Causal: later frames and padding do not change the probability of a frame. Each recording of a padded batch therefore gets
    the same probabilities as alone.
    """

    def __init__(self) -> None:
        super().__init__()
        self.spectrum = _Spectrum()
        self.encoder = nn.Sequential(
            nn.Conv1d(_BINS, 128, 3, padding=1),
            nn.ReLU(),
            nn.Conv1d(128, 64, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv1d(64, 64, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv1d(64, _HIDDEN, 3, padding=1),
            nn.ReLU(),
        )  # (N, 129, 4) → (N, 128, 1)
        self.recurrence = nn.LSTM(_HIDDEN, _HIDDEN, batch_first=True)
        self.head = nn.Conv1d(_HIDDEN, 1, 1)

    def forward(self, samples: Tensor) -> Tensor:
        """Probabilities of speech.

        Args:
            samples: (B, F * 512), mono, 16 kHz, -1..1, already padded to whole frames.

        Returns:
            (B, F), each in 0..1.

        Raises:
            ValueError: the length is not a positive multiple of 512.
        """
        return self.classify(self.features(samples))

    def features(self, samples: Tensor) -> Tensor:
        """State of the LSTM after every frame: (B, F * 512) → (B, F, 128)."""
        batch, length = samples.shape
        if length == 0 or length % FRAME_SAMPLES:
            raise ValueError(f"samples must fill whole frames of {FRAME_SAMPLES}, but there are {length}")
        # A view, not a copy: neighbouring frames share their 64 samples of context.
        frames = functional.pad(samples, (CONTEXT_SAMPLES, 0)).unfold(
            1, FRAME_SAMPLES + CONTEXT_SAMPLES, FRAME_SAMPLES
        )  # (B, F, 576)
        step = max(1, _ENCODED_AT_ONCE // batch)
        encoded = torch.cat([self._encode(piece) for piece in torch.split(frames, step, dim=1)], dim=1)  # (B, F, 128)
        states: Tensor = self.recurrence(encoded)[0]
        return states

    def classify(self, features: Tensor) -> Tensor:
        """(B, F, 128) → (B, F) probabilities."""
        logits = self.head(functional.relu(features).transpose(1, 2))  # (B, 1, F)
        return torch.sigmoid(logits.squeeze(1))

    def _encode(self, frames: Tensor) -> Tensor:
        batch, count, width = frames.shape
        encoded: Tensor = self.encoder(self.spectrum(frames.reshape(batch * count, width)))  # (B * F, 128, 1)
        return encoded.reshape(batch, count, _HIDDEN)
