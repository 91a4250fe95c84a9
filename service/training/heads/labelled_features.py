"""Fixed features with their targets: what the heads are fitted on."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class LabelledFeatures:
    """n examples."""

    x: Tensor
    """Features, `(n, D)`."""
    y: Tensor
    """Class indices, or numbers in spreads of the target, `(n,)`; of several classes 1 for each and 0 for the others, `(n,
    classes)`."""

    def joined(self, other: LabelledFeatures) -> LabelledFeatures:
        """The examples of both, these first."""
        return LabelledFeatures(torch.cat([self.x, other.x]), torch.cat([self.y, other.y]))
