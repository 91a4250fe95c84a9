"""One answer from the parts of a recording."""

import torch
from torch import Tensor

__all__ = ["logit_of_mean", "mean_of_real"]

LEAST = 1e-7
"""A probability nearer to 0 or 1 is taken as this near; its logit stays finite."""


def logit_of_mean(logits: Tensor, mask: Tensor) -> Tensor:
    """Logits of parts (B, N, classes) and (B, N), 1 for parts and 0 for padding → float32 logits of their mean probability,
    (B, classes)."""
    return torch.logit(mean_of_real(logits.float().sigmoid(), mask), eps=LEAST)


def mean_of_real(vectors: Tensor, mask: Tensor) -> Tensor:
    """(B, N, D) and (B, N) → (B, D). Padding may hold any value, even NaN."""
    real = mask.bool().unsqueeze(2)
    return torch.where(real, vectors, 0.0).sum(dim=1) / real.sum(dim=1)
